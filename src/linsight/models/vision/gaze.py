"""A network of gaze: the picture of an eye to the outputs of a codec of directions."""

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight.config import Config
from linsight.models.vision.backbone import PyramidConfig
from linsight.models.vision.codecs import Codec, Directions, Keypoints, Outputs, codec_from_words
from linsight.models.vision.residual import ResidualConfig

__all__ = ["GazeNet", "GazeNetConfig"]


@dataclass(frozen=True)
class GazeNetConfig(Config):
    """A backbone, the codec of the direction, and a layer between that knows where a feature is."""

    kind: Literal["gaze_net"] = "gaze_net"
    size: tuple[int, int] = (36, 60)
    """Height and width of the pictures in pixels."""
    codec: str = "rle_exact"
    """NAME, or NAME OPTION=VALUE ..., of `linsight.models.vision.codecs`: one that takes directions."""
    residual: Literal["tangent", "angles"] = "tangent"
    """What errors are: see `Directions`."""
    unit: float = 1.0
    """Radians that errors and sigmas are counted in."""
    jacobian: bool = False
    """Whether -log p is reported per steradian."""
    backbone: ResidualConfig | PyramidConfig = field(default_factory=lambda: ResidualConfig(in_channels=1))
    """Convolutions, or a pyramid with any mixer; 1 channel is grey."""
    dim: int = 64
    """Features that the direction is read from."""
    narrow: int = 32
    """Channels of the coarsest map before the layer that makes them."""
    head_pose: bool = False
    """Whether pitch and yaw of the head stand beside the features."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name in ("dim", "narrow"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size: expected height and width of at least 1, got {self.size}")
        self.build_codec()

    def build_codec(self) -> Codec:
        """The codec of one direction a picture.

        Raises:
            ValueError: One that does not know directions; what the codec refuses.
        """
        space = Directions(self.residual, self.unit, self.jacobian)
        try:
            return codec_from_words(self.codec, space)
        except TypeError as error:
            raise ValueError(f"codec {self.codec!r}: {error}") from None

    def build(self) -> "GazeNet":
        """The network."""
        return GazeNet(self)


class GazeNet(nn.Module):
    """Where an eye looks: `outputs = net(images, head)`, read by `net.codec`; `net.gaze(images)` does both.

    Each picture is taken less its own mean and over its own deviation, so that exposure changes nothing. The
    features are those of a layer over all places of the coarsest map: where the iris is tells the direction.
    The pose of the head joins them before the last layer, as in Zhang et al. 2015 (arXiv 1504.02863).

    The codec is part of the network, so that what it learns itself, as RLE's flow, reaches the optimiser;
    neither `forward` nor `gaze` uses that.

    Args:
        config: See `GazeNetConfig`.

    Cost: that of the backbone, linear in pixels.

    Example:
        >>> net = GazeNetConfig(codec="nll_gauss").build()
        >>> found = net.gaze(torch.rand(2, 1, 36, 60))
        >>> found.xy.shape, found.sigma.shape
        (torch.Size([2, 1, 2]), torch.Size([2, 1, 2]))
    """

    def __init__(self, config: GazeNetConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.codec = config.build_codec()
        channels, stride = config.backbone.channels[-1], config.backbone.strides[-1]
        rows, columns = (-(-side // stride) for side in config.size)
        self.narrow = nn.Conv2d(channels, config.narrow, 1)
        self.read = nn.Linear(config.narrow * rows * columns, config.dim)
        self.head = self.codec.head(config.dim + 2 * config.head_pose, 1)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        head: Float[Tensor, "batch 2"] | None = None,
    ) -> Outputs:
        """The codec's outputs of pictures in [0, 1], for one direction each.

        Args:
            images: Of the configuration's size and channels.
            head: Pitch and yaw of the head in radians, where the configuration has `head_pose`; ignored
                elsewhere.

        Raises:
            ValueError: Pictures of another size or other channels; no head where one is needed.
        """
        return self.head(self.features(images, head))

    def features(
        self,
        images: Float[Tensor, "batch channels height width"],
        head: Float[Tensor, "batch 2"] | None = None,
    ) -> Float[Tensor, "batch features"]:
        """What the last layer reads; arguments and errors as of `forward`."""
        height, width = images.shape[2:]
        if (height, width) != tuple(self.config.size):
            raise ValueError(
                f"images: expected height and width {tuple(self.config.size)}, got {(height, width)}; "
                "crop them to that"
            )
        if self.config.head_pose and head is None:
            raise ValueError("head: expected pitch and yaw (batch, 2) for a network with head_pose, got none")
        deviation, mean = torch.std_mean(images, dim=(1, 2, 3), correction=0, keepdim=True)
        coarsest = self.backbone((images - mean) / (deviation + 1e-3)).maps[-1]
        features = F.gelu(self.read(self.narrow(coarsest).flatten(1)))
        if self.config.head_pose and head is not None:
            features = torch.cat([features, head.to(features.dtype)], 1)
        return features

    def gaze(
        self,
        images: Float[Tensor, "batch channels height width"],
        head: Float[Tensor, "batch 2"] | None = None,
        *,
        flip: bool = False,
    ) -> Keypoints:
        """What the codec reads from the outputs: `xy` (batch, 1, 2) are pitch and yaw in radians.

        Args:
            images, head: As `forward`.
            flip: The outputs are the mean of those for the picture and, mirrored back, for its mirror image
                (the flip test), at twice the cost.
        """
        outputs = self(images, head)
        if flip:
            outputs = self.codec.average(outputs, self.mirrored(images, head))
        return self.codec.decode(outputs)

    def mirrored(
        self,
        images: Float[Tensor, "batch channels height width"],
        head: Float[Tensor, "batch 2"] | None = None,
    ) -> Outputs:
        """The outputs for the mirror images, mirrored back: those of `forward` if the network has no side."""
        turned = None if head is None else head * head.new_tensor([1, -1])
        return self.codec.flip(self(images.flip(3), turned), ())
