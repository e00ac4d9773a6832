"""Gaze over a video: the network of single eyes, and a causal mixer over its frames."""

from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from linsight.config import Config
from linsight.models.sequence import SequenceConfig, Stack
from linsight.models.vision.codecs import Outputs
from linsight.models.vision.gaze import GazeNetConfig

__all__ = ["GazeVideoNet", "GazeVideoNetConfig"]


@dataclass(frozen=True)
class GazeVideoNetConfig(Config):
    """The network of a single eye, and the stack over its frames."""

    kind: Literal["gaze_video_net"] = "gaze_video_net"
    eye: GazeNetConfig = field(default_factory=GazeNetConfig)
    over_time: SequenceConfig = field(default_factory=lambda: SequenceConfig(dim=64, layers=2, mlp_dim=128))
    """Any causal mixers; frames are their tokens."""

    def build(self) -> "GazeVideoNet":
        """The network."""
        return GazeVideoNet(self)


class GazeVideoNet(nn.Module):
    """Where an eye looks in each frame of a clip, by all frames up to it: `outputs, state = net(clips)`.

    Under the split law: a clip in pieces, the state carried, is the whole clip, and a live camera is a call a
    frame at a constant cost where the state does not grow. The features of a frame are those of `eye`, plus
    what the stack over time makes of all so far; the head is that of `eye`. What is added is 0 in a fresh
    network, which so says of each frame what `eye` does, trained weights of single pictures included:
    `net.eye.load_state_dict(...)`.

    Args:
        config: See `GazeVideoNetConfig`.

    Cost: that of `eye` for each frame, and of the mixers at as many tokens as frames.

    Example:
        >>> import torch
        >>> net = GazeVideoNetConfig().build().eval()
        >>> clip = torch.rand(1, 5, 1, 36, 60)
        >>> whole, _ = net.gaze(clip)
        >>> first, state = net.gaze(clip[:, :3])
        >>> rest, state = net.gaze(clip[:, 3:], state=state)
        >>> bool(torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-5))
        True
    """

    def __init__(self, config: GazeVideoNetConfig) -> None:
        super().__init__()
        self.config = config
        self.eye = config.eye.build()
        self.codec = self.eye.codec
        features, dim = config.eye.dim + 2 * config.eye.head_pose, config.over_time.dim
        self.into = nn.Linear(features, dim)
        self.stack = Stack(config.over_time, causal=True)
        self.out = nn.Linear(dim, features)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        clips: Float[Tensor, "batch frames channels height width"],
        head: Float[Tensor, "batch frames 2"] | None = None,
        state: Any = None,
    ) -> tuple[Outputs, Any]:
        """The codec's outputs of all frames, clip by clip as one batch, and the state after the last.

        Args:
            clips: Pictures in [0, 1], as `GazeNet` takes them.
            head: Pitch and yaw of the head at each frame in radians, where `eye` has `head_pose`.
            state: What the frames before have left; None at the beginning.

        Raises:
            ValueError: What `GazeNet` refuses; a state of another depth.
        """
        poses = None if head is None else head.flatten(0, 1)
        still = self.eye.features(clips.flatten(0, 1), poses).unflatten(0, clips.shape[:2])
        moved, state = self.stack(self.into(still), state)
        return self.eye.head((still + self.out(moved)).flatten(0, 1)), state

    def gaze(
        self,
        clips: Float[Tensor, "batch frames channels height width"],
        head: Float[Tensor, "batch frames 2"] | None = None,
        state: Any = None,
    ) -> tuple[Float[Tensor, "batch frames 2"], Any]:
        """Pitch and yaw of each frame in radians, and the state; arguments and errors as of `forward`."""
        outputs, state = self(clips, head, state)
        return self.codec.decode(outputs).xy[:, 0].unflatten(0, clips.shape[:2]), state
