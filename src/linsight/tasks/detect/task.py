"""The task: an image in, boxes and their classes out; average precision on scenes of held-out digits."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from linsight.data import Scenes, generated_fingerprint
from linsight.data.geometry import STILL, Augmentation
from linsight.losses import BOX_LOSSES, box_loss, centre_class_loss, centre_focal_loss, centre_targets
from linsight.models.vision import CentreMaps, Detector, DetectorConfig
from linsight.tasks.base import Batch, ComparedConfig, Progress, Split, Task, require_of_model
from linsight.tasks.detect.evaluation import Measured, detection_evaluation, measure_detector
from linsight.tasks.detect.targets import batch_of, moved
from linsight.tasks.exhibits import Evaluation

__all__ = ["DetectConfig", "DetectTask"]


@dataclass(frozen=True)
class DetectConfig(ComparedConfig):
    """Digits in scenes, each with its box.

    Args:
        data: The scenes. Those of training are of MNIST's first 50,000 digits and of a part of the textures;
            validation and test scenes have digits and textures that no training scene has.
        model: Backbone, decoder, heads; 10 classes.
        box_loss: Of `linsight.losses.box_loss`.
        box_weight: Its factor beside the loss of centres. `l1` is in pixels.
        class_weight: The factor of `linsight.losses.centre_class_loss`, which CenterNet does not have; 0 for
            none.
        suppression: The IoU above which the likelier of two boxes of a class is kept alone.
        detections: Of an image, at most.
        augmentation: Sizes and shifts of training scenes. Digits must not be mirrored, and a turn would make
            boxes loose: scenes have turned digits as they are.
        num_scenes: Of an epoch, each of which has others.
        validate_scenes, test_scenes: How many are looked at during training, and in an evaluation.
    """

    headline: ClassVar[str] = "AP"
    headline_falls: ClassVar[bool] = False
    beside: ClassVar[tuple[str, ...]] = ("AP50", "AP75")

    kind: Literal["detect"] = "detect"
    data: Scenes = field(default_factory=Scenes)
    model: DetectorConfig = field(default_factory=DetectorConfig)
    box_loss: str = "giou"
    box_weight: float = 1.0
    class_weight: float = 1.0
    suppression: float = 0.6
    detections: int = 50
    augmentation: Augmentation = STILL
    num_scenes: int = 20_000
    validate_scenes: int = 200
    test_scenes: int = 1000

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        self.require_some("num_scenes", "validate_scenes", "test_scenes", "detections")
        if self.box_loss not in BOX_LOSSES:
            raise ValueError(f"box_loss: expected one of {', '.join(BOX_LOSSES)}, got {self.box_loss!r}")
        if not 0 < self.box_weight < float("inf"):
            raise ValueError(f"box_weight: expected a number above 0, got {self.box_weight}")
        if not 0 <= self.class_weight < float("inf"):
            raise ValueError(f"class_weight: expected a number of at least 0, got {self.class_weight}")
        if not 0 <= self.suppression <= 1:
            raise ValueError(f"suppression: expected an IoU from 0 to 1, got {self.suppression}")
        for name, reason in (("flip", "a mirrored digit is none"), ("degrees", "a turned box is loose")):
            value = getattr(self.augmentation, name)
            if value:
                raise ValueError(f"augmentation.{name}: {reason}; expected 0, got {value}")

    @property
    def num_tokens(self) -> int:
        """Tokens of a scene at the finest stride."""
        return (-(-self.data.size // self.model.backbone.strides[0])) ** 2

    def build(self) -> "DetectTask":
        """The task."""
        return DetectTask(self)


class DetectTask(Task[Detector]):
    """The losses of centres, classes and boxes, average precision, pictures of what was mistaken.

    All losses are those of each scene, and the mean over scenes: the same number however a batch is split
    over devices, or accumulated.
    """

    def __init__(self, config: DetectConfig) -> None:
        self.config = config
        model = config.model
        needed = {
            "classes": (model.classes, Scenes.num_classes),
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
        parts = [part for scene in first for part in (scene.image, scene.boxes, scene.labels)]
        return generated_fingerprint(self.config.data, *parts, np.array(self.num_examples))

    def build_model(self) -> Detector:
        """A fresh detector."""
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """image, boxes, labels, crowd: the seed's scenes epoch * num_scenes + index; see `batch_of`."""
        data = self.config.data
        items = indices + epoch * self.num_examples
        batch = batch_of(data.scenes("train", items, seed=seed), data)
        if self.config.augmentation == STILL:
            return batch
        stride = self.config.model.backbone.strides[0]
        return moved(batch, self.config.augmentation, indices, stride, seed=seed, epoch=epoch)

    def loss(self, model: Detector, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of centres + class_weight * that of classes + box_weight * that of boxes; all are logged."""
        maps: CentreMaps = model(batch["image"])
        targets = centre_targets(
            batch["boxes"],
            batch["labels"],
            classes=maps.heat.shape[1],
            grid=(maps.heat.shape[2], maps.heat.shape[3]),
            stride=model.stride,
            crowd=batch["crowd"],
        )
        ignored = targets.ignored | batch["beyond"] if "beyond" in batch else targets.ignored
        centres = centre_focal_loss(maps.heat, targets.heat, ignored)
        boxes = box_loss(maps.boxes, targets.boxes, targets.weight, self.config.box_loss)
        classes = centre_class_loss(maps.heat, targets.labels, targets.weight)
        logs = {"centre_loss": centres, "class_loss_nats": classes, "box_loss": boxes}
        loss = centres + self.config.class_weight * classes + self.config.box_weight * boxes
        return loss, {name: value.detach() for name, value in logs.items()}

    def validate(self, model: Detector) -> dict[str, float]:
        """AP and AP50 by COCO's protocol on the first validation scenes."""
        numbers = self._measured(model, "valid", self.config.validate_scenes).result("coco").summary()
        return {name: numbers[name] for name in ("AP", "AP50")}

    def evaluate(
        self, model: Detector, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """COCO's twelve numbers and VOC's, classes, curves, confusion, kinds of error, pictures.

        The model is left on `device`, in evaluation mode. Scenes are those of seed 0, whatever the run's.
        """
        model = model.to(device).eval()
        measured = self._measured(model, split, self.config.test_scenes, progress)
        return detection_evaluation(measured, self.config.data)

    def _measured(
        self, model: Detector, split: Split, count: int, progress: Progress | None = None
    ) -> Measured:
        return measure_detector(
            model,
            self.config.data,
            split,
            count,
            most=self.config.detections,
            suppression=self.config.suppression,
            progress=progress,
        )
