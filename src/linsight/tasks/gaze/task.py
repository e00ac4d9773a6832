"""The task: the picture of an eye in, where it looks out; degrees on persons that were never seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from linsight.data import generated_fingerprint
from linsight.data.gaze import Eyes
from linsight.data.geometry import STILL, Augmentation
from linsight.data.noise_laws import AnyNoiseLaw, NoNoise
from linsight.models.vision import GazeNet, GazeNetConfig
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task, require_of_model
from linsight.tasks.exhibits import Evaluation, Exhibit
from linsight.tasks.gaze.evaluation import gaze_evaluation
from linsight.tasks.gaze.found import Found, find
from linsight.tasks.gaze.measures import errors_of
from linsight.tasks.gaze.roles import PersonRoles
from linsight.tasks.gaze.samples import EyesKept
from linsight.tasks.gaze.together import side_by_side

__all__ = ["GazeConfig", "GazeTask"]

_TARGET = "target."


@dataclass(frozen=True)
class GazeConfig(ComparedConfig):
    """Directions of eyes, by any codec, from labels whose noise has a known law.

    Args:
        data: The pictures. The law of their labels is `label_noise`, and none here.
        roles: Who is trained on, validated and tested, and on how many pictures.
        model: Backbone, codec, and what is between; the size and the channels of the pictures.
        label_noise: The law of the residuals of labels, training's and those that densities are held against,
            in radians of the tangent plane at the truth; its clarity is the share of the iris that is seen.
        augmentation: Turns, sizes and flips of training pictures, with gaze and head. A shift would leave the
            eye where another camera sees it, and its label with it would be wrong: keep it small. A flip
            makes eyes of the other side, which a network for mirrored right eyes never meets.
    """

    headline: ClassVar[str] = "degrees"
    headline_falls: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = (
        "degrees_p90",
        "degrees_ridge_5",
        "degrees_ridge_9",
        "coverage_50",
        "coverage_90",
        "label_nll_nats",
        "label_nll_of_law_nats",
        "sparsification_area",
        "head_parameters",
        "head_mega_multiply_adds",
        "milliseconds_per_picture",
    )
    heads: ClassVar[tuple[str, ...]] = (
        "regression_l1",
        "regression_l2",
        "angular",
        "bins outside=clip",
        "pinball",
        "nll_laplace",
        "nll_gauss",
        "vmf",
        "rle",
        "rle_exact",
    )
    """What `linsight compare gaze --over head` compares where nothing else is asked for."""
    shows_together: ClassVar[bool] = True

    kind: Literal["gaze"] = "gaze"
    data: Eyes = field(default_factory=Eyes)
    roles: PersonRoles = field(default_factory=PersonRoles)
    model: GazeNetConfig = field(default_factory=GazeNetConfig)
    label_noise: AnyNoiseLaw = field(default_factory=NoNoise)
    augmentation: Augmentation = STILL

    def __post_init__(self) -> None:
        """Refuse a law in the wrong place."""
        if self.data.law.kind != "none":
            raise ValueError(f"data.law: expected none, got {self.data.law.kind!r}; set label_noise to it")

    @property
    def num_tokens(self) -> int:
        """Places of a picture at the finest stride."""
        height, width = self.data.size
        stride = self.model.backbone.strides[0]
        return -(-height // stride) * -(-width // stride)

    @property
    def labelled(self) -> Eyes:
        """The data with noisy labels."""
        return replace(self.data, law=self.label_noise)

    def build(self) -> "GazeTask":
        """The task."""
        return GazeTask(self)


class GazeTask(Task[GazeNet]):
    """The codec's loss, degrees of persons who were never seen, calibration, coverage of noisy labels.

    The loss is the mean over the pictures of a batch.
    """

    def __init__(self, config: GazeConfig) -> None:
        self.config = config
        model = config.model
        needed = {
            "size": (tuple(model.size), tuple(config.data.size)),
            "backbone.in_channels": (model.backbone.in_channels, config.data.channels),
        }
        require_of_model("pictures", needed)
        with torch.random.fork_rng(devices=[]):
            self.codec = model.build_codec()
        self.eyes = EyesKept(config.labelled, *config.roles.rows("train"))

    @property
    def num_examples(self) -> int:
        """Pictures of an epoch; each has the same, moved in another way."""
        return len(self.eyes.persons)

    @property
    def fingerprint(self) -> str:
        """Of what describes pictures and labels, of the first pictures, and of who is trained on."""
        persons, items = self.config.roles.rows("train")
        first = self.eyes.data.samples(persons[:4], items[:4])
        parts = (first.image.numpy(), first.label.numpy(), persons, items)
        return generated_fingerprint(self.eyes.data, *parts)

    def build_model(self) -> GazeNet:
        """A fresh network."""
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """image `(batch, channels, height, width)`, head `(batch, 2)`, and targets as `target.NAME`."""
        moved = None if self.config.augmentation == STILL else self.config.augmentation
        images, labels, head = self.eyes.moved(indices, moved, seed=seed, epoch=epoch)
        seen = torch.ones(len(indices), 1, dtype=torch.int64)
        targets = self.codec.encode(labels.float()[:, None], seen)
        return {"image": images, "head": head.float(), **{f"{_TARGET}{k}": one for k, one in targets.items()}}

    def loss(self, model: GazeNet, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The codec's loss and its parts; `nll` is in nats a picture."""
        targets = {name.removeprefix(_TARGET): one for name, one in batch.items() if name.startswith(_TARGET)}
        loss, parts = model.codec.loss(model(batch["image"], batch["head"]), targets)
        names = {"nll": "nll_nats_per_picture", "clipped": "clipped_labels"}
        return loss, {names.get(name, f"{name}_loss"): one.detach() for name, one in parts.items()}

    def validate(self, model: GazeNet) -> dict[str, float]:
        """Degrees on the persons of validation, clean truth: mean over persons, and 90th percentile."""
        errors = errors_of(self.find(model, "valid", mirror=False))
        return {name: errors[name] for name in ("degrees", "degrees_p90")}

    def evaluate(
        self, model: GazeNet, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """Errors by person, calibration, mirror images, coverage, likelihood; tables, pictures, densities.

        The model is left on `device`, in evaluation mode.
        """
        found = self.find(model.to(device).eval(), split, progress=progress)
        config = self.config
        return gaze_evaluation(model, found, config.label_noise, split, config.roles.protocol)

    def shown_together(self, models: Mapping[str, GazeNet], *, device: torch.device) -> tuple[Exhibit, ...]:
        """The law of the labels beside what each model learnt of it; coverage; shares within an error."""
        config = self.config
        rows = config.roles.rows("test")
        return side_by_side(models, config.labelled, config.label_noise, *rows, device=device)

    def find(
        self, model: GazeNet, split: Split, *, mirror: bool = True, progress: Progress | None = None
    ) -> Found:
        """What the network says of the pictures of a split; see `find`."""
        persons, items = self.config.roles.rows(split)
        data = self.config.labelled
        return find(model, data, persons, items, mirror=mirror, what=f"{split} pictures", progress=progress)
