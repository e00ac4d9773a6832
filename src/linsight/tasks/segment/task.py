"""The task: an image in, the class of every pixel out; mIoU on scenes of held-out digits and textures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from linsight.data import Scene, Scenes, generated_fingerprint
from linsight.data.geometry import STILL, Augmentation
from linsight.data.scenes import IGNORED_PIXEL
from linsight.losses import coarse_cross_entropy, mask_loss, mask_loss_terms
from linsight.metrics import Segmentation
from linsight.models.vision import DenseConfig, DenseModel
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task, require_of_model
from linsight.tasks.exhibits import Evaluation, Exhibit
from linsight.tasks.segment.evaluation import evaluate_segmentation, predicted, side_by_side

__all__ = ["SegmentConfig", "SegmentTask"]

CLASSES = 11


@dataclass(frozen=True)
class SegmentConfig(ComparedConfig):
    """The class of every pixel: background, or the digit that is seen there.

    Args:
        data: The scenes. Those of training are of MNIST's first 50,000 digits and of a part of the textures;
            validation and test scenes have digits and textures that no training scene has.
        model: Backbone, decoder, upsampler; 11 classes.
        loss: Of `linsight.losses.mask_loss`, by image: a name, or a sum as `ce+dice`.
        background_weight: The class weight of the background in `ce` and `ohem`; digits have 1. The
            background has 9 pixels of 10.
        coarse_weight: Of the cross entropy of the backbone's coarser maps, each classified by itself; above 0
            where the model has `coarse_logits`, which a trained model does not need any more.
        augmentation: Turns, sizes and shifts of training scenes; what comes from beyond the scene is its
            reflection, and is ignored. Digits must not be mirrored.
        num_scenes: Of an epoch, each of which has others.
        validate_scenes, test_scenes: How many are looked at during training, and in an evaluation.
    """

    headline: ClassVar[str] = "miou"
    headline_falls: ClassVar[bool] = False
    beside: ClassVar[tuple[str, ...]] = ("boundary_f", "phase_pattern", "milliseconds_per_scene")
    shows_together: ClassVar[bool] = True

    kind: Literal["segment"] = "segment"
    data: Scenes = field(default_factory=Scenes)
    model: DenseConfig = field(default_factory=lambda: DenseConfig(classes=CLASSES))
    loss: str = "ce+dice"
    background_weight: float = 1.0
    coarse_weight: float = 0.0
    augmentation: Augmentation = STILL
    num_scenes: int = 20_000
    validate_scenes: int = 50
    test_scenes: int = 200

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        self.require_some("num_scenes", "validate_scenes", "test_scenes")
        if not 0 < self.background_weight < float("inf"):
            raise ValueError(f"background_weight: expected a number above 0, got {self.background_weight}")
        if not 0 <= self.coarse_weight < float("inf"):
            raise ValueError(f"coarse_weight: expected a number of at least 0, got {self.coarse_weight}")
        if (self.coarse_weight > 0) != self.model.coarse_logits:
            raise ValueError(
                "coarse_weight: expected a number above 0 with model.coarse_logits, and 0 without, got "
                f"{self.coarse_weight} and {self.model.coarse_logits}"
            )
        if self.augmentation.flip:
            raise ValueError(
                f"augmentation.flip: a mirrored digit is none; expected 0, got {self.augmentation.flip}"
            )
        try:
            mask_loss_terms(self.loss)
        except ValueError as error:
            raise ValueError(str(error).replace("name:", "loss:", 1)) from None

    @property
    def num_tokens(self) -> int:
        """Tokens of a scene at the finest stride."""
        return (-(-self.data.size // self.model.backbone.strides[0])) ** 2

    def build(self) -> "SegmentTask":
        """The task."""
        return SegmentTask(self)


class SegmentTask(Task[DenseModel]):
    """A loss of masks, mIoU, and pictures of what was mistaken.

    The loss is that of each scene, and the mean over scenes: the same number however a batch is split over
    devices, or accumulated.
    """

    def __init__(self, config: SegmentConfig) -> None:
        self.config = config
        model = config.model
        needed = {
            "classes": (model.classes, CLASSES),
            "backbone.in_channels": (model.backbone.in_channels, 3),
        }
        require_of_model("scenes", needed)

    @property
    def num_examples(self) -> int:
        """Scenes of an epoch."""
        return self.config.num_scenes

    @property
    def fingerprint(self) -> str:
        """Of what describes the scenes, of the first of them, and of the size of an epoch."""
        first = self.config.data.scenes("train", np.arange(4))
        parts = [part for scene in first for part in (scene.image, scene.semantic)]
        return generated_fingerprint(self.config.data, *parts, np.array(self.num_examples))

    def build_model(self) -> DenseModel:
        """A fresh network."""
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """Images `(batch, 3, size, size)` in [0, 1], targets; scenes epoch * num_scenes + index."""
        items = indices + epoch * self.num_examples
        images, target = _tensors(self.config.data.scenes("train", items, seed=seed))
        augmentation = self.config.augmentation
        if augmentation != STILL:
            warp = augmentation.draw(indices, tuple(images.shape[2:]), seed=seed, epoch=epoch)
            images = warp.image(images, "reflection").clamp(0, 1)
            target = warp.mask(target[:, None], fill=IGNORED_PIXEL)[:, 0]
        return {"image": images, "target": target}

    def loss(self, model: DenseModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of masks, of coarser maps too, and the share of pixels of digits that are right."""
        (logits, *coarse), target = model.all_logits(batch["image"]), batch["target"]
        weights = torch.ones(CLASSES, device=logits.device)
        weights[0] = self.config.background_weight
        options = {"class_weights": weights, "ignore_index": IGNORED_PIXEL}
        loss = mask_loss(self.config.loss, logits, target, **options)
        for level, one in enumerate(coarse, start=1):
            stride = model.backbone.strides[level]
            added = coarse_cross_entropy(one, target, stride=stride, **options)
            loss = loss + self.config.coarse_weight * added
        ink = (target > 0) & (target != IGNORED_PIXEL)
        return loss, {"ink_accuracy": _share_right(logits.detach(), target, ink)}

    def validate(self, model: DenseModel) -> dict[str, float]:
        """mIoU and pixel accuracy on the first validation scenes."""
        metric = Segmentation(CLASSES, ignore_index=IGNORED_PIXEL, distance=0)
        device = next(model.parameters()).device
        count = self.config.validate_scenes
        for found in predicted(model, self.config.data, "valid", count, device):
            metric.update(found.masks, found.target, found.numbers)
        result = metric.compute()
        return {"miou": result.miou, "pixel_accuracy": result.pixel_accuracy}

    def evaluate(
        self, model: DenseModel, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """mIoU, IoU, F1 and boundary F of each class, confusion, pictures with the mistakes first.

        The model is left on `device`, in evaluation mode. Scenes are those of seed 0, whatever the run's.
        """
        model = model.to(device).eval()
        count = self.config.test_scenes
        return evaluate_segmentation(model, self.config.data, split, count, device=device, progress=progress)

    def shown_together(
        self, models: Mapping[str, DenseModel], *, device: torch.device
    ) -> tuple[Exhibit, ...]:
        """Crops of the same test scenes, a row for each model."""
        return side_by_side(models, self.config.data, device=device)


def _share_right(logits: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """Pixels whose own class has the highest logit; argmax, which says it too, takes a tenth of a step."""
    own = logits.gather(1, (target * where)[:, None])[:, 0]
    return ((own >= logits.amax(1)) & where).sum() / where.sum().clamp_min(1)


def _tensors(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and targets."""
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).float() / 255
    return images, torch.from_numpy(np.stack([scene.semantic for scene in scenes])).long()
