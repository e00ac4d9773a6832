"""The task: a clip of an eye in, where it looks at each frame out, by no frame that is still to come."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from linsight.data import generated_fingerprint
from linsight.data.gaze import EyeClips
from linsight.models.vision import GazeVideoNet, GazeVideoNetConfig
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task, require_of_model
from linsight.tasks.exhibits import Evaluation
from linsight.tasks.gaze import GazeConfig, PersonRoles
from linsight.tasks.gaze_video.evaluation import video_evaluation
from linsight.tasks.gaze_video.found import FoundClips, find_clips
from linsight.tasks.gaze_video.measures import errors_of
from linsight.tasks.kept import Kept

__all__ = ["GazeVideoConfig", "GazeVideoTask"]

_TARGET = "target."


@dataclass(frozen=True)
class GazeVideoConfig(ComparedConfig):
    """Directions of an eye over the frames of a clip, by a network with a memory of constant size.

    Args:
        data: The clips. The law of their labels is `data.eyes.law`; errors are against the truth.
        roles: Who is trained on, validated and tested; what it calls pictures are clips here.
        model: The network of a single eye, and the stack over time.
    """

    headline: ClassVar[str] = "degrees"
    headline_falls: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = (
        "degrees_alone",
        "degrees_pursuit",
        "degrees_fixation",
        "degrees_saccade",
        "degrees_landed",
        "degrees_hidden",
        "jitter_degrees",
        "milliseconds_per_frame_live",
        "state_bytes",
    )
    heads: ClassVar[tuple[str, ...]] = GazeConfig.heads

    kind: Literal["gaze_video"] = "gaze_video"
    data: EyeClips = field(default_factory=EyeClips)
    roles: PersonRoles = field(
        default_factory=lambda: PersonRoles(pictures=4, valid_pictures=4, test_pictures=6)
    )
    model: GazeVideoNetConfig = field(default_factory=GazeVideoNetConfig)

    @property
    def num_tokens(self) -> int:
        """Frames of a clip."""
        return self.data.frames

    def with_codec(self, words: str) -> "GazeVideoConfig":
        """The configuration with another codec, which is that of the single eye."""
        eye = replace(self.model.eye, codec=words)
        return replace(self, model=replace(self.model, eye=eye))

    def build(self) -> "GazeVideoTask":
        """The task."""
        return GazeVideoTask(self)


class GazeVideoTask(Task[GazeVideoNet]):
    """The codec's loss over all frames, degrees of persons who were never seen, what memory is good for."""

    def __init__(self, config: GazeVideoConfig) -> None:
        self.config = config
        eye, eyes = config.model.eye, config.data.eyes
        needed = {
            "eye.size": (tuple(eye.size), tuple(eyes.size)),
            "eye.backbone.in_channels": (eye.backbone.in_channels, eyes.channels),
        }
        require_of_model("clips", needed)
        with torch.random.fork_rng(devices=[]):
            self.codec = eye.build_codec()
        self._persons, self._items = config.roles.rows("train")
        self._clips = Kept(len(self._persons), self._rendered)

    @property
    def num_examples(self) -> int:
        """Clips of an epoch, the same in each."""
        return len(self._persons)

    @property
    def fingerprint(self) -> str:
        """Of what describes clips and labels, of the first clips, and of who is trained on."""
        first = self.config.data.samples(self._persons[:2], self._items[:2]).eyes
        parts = (first.image.numpy(), first.label.numpy(), self._persons, self._items)
        return generated_fingerprint(self.config.data, *parts)

    def build_model(self) -> GazeVideoNet:
        """A fresh network."""
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """image `(batch, frames, channels, height, width)`, head `(batch, frames, 2)`, and `target.NAME`.

        Clips are each rendered once and kept; they depend on neither seed nor epoch.
        """
        images, angles = self._clips.rows(indices)
        shape = images.shape[:2]
        labels, head = angles.float().unbind(2)
        seen = torch.ones(labels[..., 0].numel(), 1, dtype=torch.int64)
        targets = self.codec.encode(labels.flatten(0, 1)[:, None], seen)
        told = {f"{_TARGET}{name}": one.unflatten(0, shape) for name, one in targets.items()}
        return {"image": images.float() / 255, "head": head, **told}

    def loss(self, model: GazeVideoNet, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The codec's loss, the mean over all frames, and its parts; `nll` is in nats a frame."""
        targets = {
            name.removeprefix(_TARGET): one.flatten(0, 1)
            for name, one in batch.items()
            if name.startswith(_TARGET)
        }
        outputs, _ = model(batch["image"], batch["head"])
        loss, parts = model.codec.loss(outputs, targets)
        names = {"nll": "nll_nats_per_frame", "clipped": "clipped_labels"}
        return loss, {names.get(name, f"{name}_loss"): one.detach() for name, one in parts.items()}

    def validate(self, model: GazeVideoNet) -> dict[str, float]:
        """Degrees on the persons of validation: mean over persons, with memory and without."""
        errors = errors_of(self.find(model, "valid"), self.config.data.rate)
        return {name: errors[name] for name in ("degrees", "degrees_alone")}

    def evaluate(
        self, model: GazeVideoNet, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """Errors with memory and without, by motion, since a saccade, since the beginning; a live stream.

        The model is left on `device`, in evaluation mode.
        """
        found = self.find(model.to(device).eval(), split, progress=progress)
        return video_evaluation(model, found, self.config.data, split, self.config.roles.protocol)

    def find(self, model: GazeVideoNet, split: Split, *, progress: Progress | None = None) -> FoundClips:
        """What the network says of the clips of a split; see `find_clips`."""
        persons, items = self.config.roles.rows(split)
        return find_clips(model, self.config.data, persons, items, what=f"{split} clips", progress=progress)

    def _rendered(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Pictures of bytes, and labels and heads (clips, frames, 2, 2)."""
        data = self.config.data
        eyes = data.samples(self._persons[rows], self._items[rows]).eyes
        shape = (len(rows), data.frames)
        angles = torch.stack([eyes.label, eyes.head], 1)
        return eyes.image.unflatten(0, shape), angles.unflatten(0, shape)
