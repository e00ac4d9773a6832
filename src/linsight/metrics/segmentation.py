"""Segmentation: the confusion of pixels over a data set, and IoU, accuracies, F1 and boundary F of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float64, Int64
from torch import Tensor

from linsight.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_f

__all__ = ["Segmentation", "SegmentationResult", "pixel_confusion", "segmentation_result"]

ABSENT = ("zero", "skip")
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class SegmentationResult:
    """What a confusion of pixels says. Classes without a value are NaN, and in no mean.

    With TP, FP, FN of a class c, counted over all images together: IoU_c = TP / (TP + FP + FN), F1_c =
    2 TP / (2 TP + FP + FN), accuracy_c = TP / (TP + FN). A class that is neither in the targets nor predicted
    has no value. One that is predicted but not in the targets has IoU and F1 0, or none with `absent="skip"`.
    """

    confusion: Int64[Tensor, "classes classes"]
    """Pixels: target in rows, prediction in columns."""
    iou: Float64[Tensor, " classes"]
    f1: Float64[Tensor, " classes"]
    accuracy: Float64[Tensor, " classes"]
    boundary_f: Float64[Tensor, " classes"]
    absent: str
    """The rule for classes that are predicted and not in the targets."""
    num_images: int

    @property
    def miou(self) -> float:
        """The mean IoU of the classes that have one."""
        return self.iou.nanmean().item()

    @property
    def mean_f1(self) -> float:
        """The mean F1 (Dice) of the classes that have one."""
        return self.f1.nanmean().item()

    @property
    def mean_accuracy(self) -> float:
        """The mean accuracy of the classes in the targets."""
        return self.accuracy.nanmean().item()

    @property
    def mean_boundary_f(self) -> float:
        """The mean boundary F of the classes that have one."""
        return self.boundary_f.nanmean().item()

    @property
    def pixel_accuracy(self) -> float:
        """The share of pixels that are right."""
        return (self.confusion.diagonal().sum().double() / self.confusion.sum()).item()

    @property
    def frequency_weighted_iou(self) -> float:
        """IoU averaged by the share of pixels that each class has in the targets."""
        pixels = self.confusion.sum(1).double()
        there = pixels > 0
        return (self.iou[there] * pixels[there] / pixels.sum()).sum().item()


class _Counts(NamedTuple):
    """Sums over images."""

    confusion: Tensor
    boundary: Tensor  # (4, classes), the fields of `BoundaryCounts`

    def plus(self, other: "_Counts") -> "_Counts":
        return _Counts(self.confusion + other.confusion, self.boundary + other.boundary)

    def equals(self, other: "_Counts") -> bool:
        return all(torch.equal(mine, theirs) for mine, theirs in zip(self, other, strict=True))


class Segmentation:
    """Segmentation of images that come in any order, in batches, shards and processes.

    The state is integers: the counts of each image under its id, so that an image that comes again, as from
    a sampler that pads, is counted once, and `merge` is associative, commutative and idempotent. Images
    without ids are summed, and counted as often as they come.

    Args:
        num_classes: At least 2.
        ignore_index: The target of pixels that do not count.
        distance: How far apart boundary pixels may be that match, in pixels along each axis.

    >>> metric = Segmentation(3)
    >>> target = torch.tensor([[[0, 0, 1], [1, 2, 255]]])
    >>> metric.update(torch.tensor([[[0, 1, 1], [1, 0, 2]]]), target, image_ids=[7])
    >>> result = metric.compute()
    >>> [round(value, 4) for value in result.iou.tolist()], round(result.miou, 4)
    ([0.3333, 0.6667, 0.0], 0.3333)
    """

    def __init__(self, num_classes: int, *, ignore_index: int = 255, distance: int = 1) -> None:
        _check_classes(num_classes)
        if 0 <= ignore_index < num_classes:
            raise ValueError(
                f"ignore_index: expected none of the classes 0 to {num_classes - 1}, got {ignore_index}"
            )
        if distance < 0:
            raise ValueError(f"distance: expected at least 0 pixels, got {distance}")
        self.num_classes, self.ignore_index, self.distance = num_classes, ignore_index, distance
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        zero = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64)
        self._nameless, self._num_nameless = _Counts(zero, zero[:1].repeat(4, 1)), 0
        self._images: dict[Any, _Counts] = {}

    def __len__(self) -> int:
        return len(self._images) + self._num_nameless

    def update(
        self,
        predictions: Tensor | Sequence[Tensor],
        targets: Tensor | Sequence[Tensor],
        image_ids: Sequence[int | str] | None = None,
    ) -> None:
        """Add images.

        Args:
            predictions: Class numbers `(batch, height, width)`, or a sequence of `(height, width)`, on any
                device.
            targets: The same, with `ignore_index` where a pixel does not count.
            image_ids: Integers or strings, one for each image.

        Raises:
            ValueError: Different numbers of images; an image seen before with other counts; and what
                `pixel_confusion` refuses.
            TypeError: Maps that are not of integers.
        """
        numbers = [len(predictions), len(targets), len(targets) if image_ids is None else len(image_ids)]
        if len(set(numbers)) > 1:
            got = f"{numbers[0]}, {numbers[1]} and {numbers[2]}"
            raise ValueError(f"predictions, targets, image_ids: expected as many of each, got {got}")
        for index, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
            counts = self._counted(prediction, target)
            if image_ids is None:
                self._nameless, self._num_nameless = self._nameless.plus(counts), self._num_nameless + 1
            else:
                self._add(image_ids[index], counts)

    def merge(self, other: "Segmentation") -> None:
        """Take in the images of another metric; it is not changed.

        Raises:
            TypeError: Another kind of metric.
            ValueError: Other classes, ignored index or distance; an image with other counts.
        """
        if not isinstance(other, Segmentation):
            raise TypeError(f"other: expected Segmentation, got {type(other).__name__}")
        for name in ("num_classes", "ignore_index", "distance"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"other: expected {name} {getattr(self, name)}, as here, got {getattr(other, name)}"
                )
        self._take(other._images, other._nameless, other._num_nameless)

    def sync(self, group: Any = None) -> None:
        """Take in the images of all processes of a group; nothing in a single process.

        Once: images without ids would be counted again.
        """
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size(group) == 1:
            return
        everyone: list[Any] = [None] * dist.get_world_size(group)
        mine = (self._images, self._nameless, self._num_nameless)
        dist.all_gather_object(everyone, mine, group=group)
        for rank, theirs in enumerate(everyone):
            if rank != dist.get_rank(group):
                self._take(*theirs)

    def compute(self, *, absent: str = "zero") -> SegmentationResult:
        """The result over everything seen; `absent` as in `SegmentationResult`.

        Raises:
            ValueError: No valid pixel has been seen.
        """
        total = self._nameless
        for counts in self._images.values():
            total = total.plus(counts)
        boundary = BoundaryCounts(*total.boundary)
        return segmentation_result(total.confusion, boundary, num_images=len(self), absent=absent)

    def _counted(self, prediction: Tensor, target: Tensor) -> _Counts:
        confusion = pixel_confusion(prediction, target, self.num_classes, ignore_index=self.ignore_index)
        boundary = boundary_counts(
            prediction.long(),
            target.long().to(prediction.device),
            self.num_classes,
            distance=self.distance,
            ignore_index=self.ignore_index,
        )
        return _Counts(confusion.cpu(), torch.stack(boundary).cpu())

    def _take(self, images: dict[Any, _Counts], nameless: _Counts, number: int) -> None:
        for image_id, counts in images.items():
            self._add(image_id, counts)
        self._nameless, self._num_nameless = self._nameless.plus(nameless), self._num_nameless + number

    def _add(self, image_id: Any, counts: _Counts) -> None:
        known = self._images.setdefault(image_id, counts)
        if not known.equals(counts):
            raise ValueError(
                f"image_ids: expected the same counts as before for image {image_id!r}, got others"
            )


def pixel_confusion(
    prediction: Tensor, target: Tensor, num_classes: int, *, ignore_index: int = 255
) -> Int64[Tensor, "classes classes"]:
    """How often a pixel of class r (row) was called class c (column), ignored pixels left out.

    Compare at the resolution of the labels: enlarge the logits, never the labels.

    Args:
        prediction: Class numbers, any shape, integers.
        target: The same shape; class numbers or `ignore_index`.
        num_classes: At least 2.
        ignore_index: The target of pixels that do not count.

    Raises:
        TypeError: Maps that are not of integers.
        ValueError: Other shapes, a class outside 0..num_classes - 1, fewer than 2 classes.
    """
    _check_classes(num_classes)
    for name, labels in (("prediction", prediction), ("target", target)):
        if labels.dtype not in _INTEGERS:
            raise TypeError(f"{name}: expected class numbers, integers, got {labels.dtype}")
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction: expected the target's shape {tuple(target.shape)}, got {tuple(prediction.shape)}"
        )
    prediction, target = prediction.long(), target.long().to(prediction.device)
    valid = target != ignore_index
    called, true = prediction[valid], target[valid]
    for name, labels, more in (
        ("prediction", called, ""),
        ("target", true, f", or {ignore_index} to ignore"),
    ):
        outside = (labels < 0) | (labels >= num_classes)
        if outside.any():
            raise ValueError(f"{name}: expected 0 to {num_classes - 1}{more}, got {int(labels[outside][0])}")
    cells = torch.bincount(true * num_classes + called, minlength=num_classes**2)
    return cells.view(num_classes, num_classes)


def segmentation_result(
    confusion: Int64[Tensor, "classes classes"],
    boundary: BoundaryCounts,
    *,
    num_images: int,
    absent: str = "zero",
) -> SegmentationResult:
    """The result of counts over a data set; see `SegmentationResult`.

    Raises:
        ValueError: No valid pixel; another rule than "zero" or "skip".
    """
    if absent not in ABSENT:
        raise ValueError(f"absent: expected {' or '.join(map(repr, ABSENT))}, got {absent!r}")
    if confusion.sum() == 0:
        raise ValueError("compute: there is no valid pixel yet; call update with at least one first")
    right = confusion.diagonal().double()
    actual, predicted = confusion.sum(1).double(), confusion.sum(0).double()
    has_value = (actual > 0) | ((predicted > 0) & (absent == "zero"))

    def share(part: Tensor, whole: Tensor, defined: Tensor) -> Tensor:
        return torch.where(defined, part / whole.clamp_min(1), torch.nan)

    edges = boundary_f(boundary)
    return SegmentationResult(
        confusion=confusion,
        iou=share(right, actual + predicted - right, has_value),
        f1=share(2 * right, actual + predicted, has_value),
        accuracy=share(right, actual, actual > 0),
        boundary_f=torch.where(has_value, edges, torch.nan),
        absent=absent,
        num_images=num_images,
    )


def _check_classes(num_classes: int) -> None:
    if num_classes < 2:
        raise ValueError(f"num_classes: expected an integer >= 2, got {num_classes}")
