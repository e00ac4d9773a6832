"""Detections that accumulate: update, merge, sync, compute, with every image counted once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from linsight.metrics.average_precision.arrays import flags, identifiers, numbers
from linsight.metrics.average_precision.masks import Masks
from linsight.metrics.average_precision.protocols import DetectionProtocol
from linsight.metrics.average_precision.result import AveragePrecisionResult, evaluate_detections
from linsight.metrics.average_precision.tables import Detections, GroundTruth, detections, ground_truth

__all__ = ["AveragePrecision"]

FLAGS = ("crowd", "difficult", "ignore")


class _Image(NamedTuple):
    """The columns of one image, by name."""

    truth: dict[str, Any]
    found: dict[str, Any]

    def equals(self, other: "_Image") -> bool:
        return all(
            mine.keys() == theirs.keys() and all(_equal(mine[name], theirs[name]) for name in mine)
            for mine, theirs in zip(self, other, strict=True)
        )


class AveragePrecision:
    """Average precision over images that come in any order, in batches, shards and processes.

    The state is what was seen of each image, by its id: an image that comes again with the same content, as
    from a sampler that pads, is counted once. So `merge` is associative, commutative and idempotent, and
    numbers
    do not depend on the order of arrival: images are evaluated by ascending id.

    Args:
        categories: The classes to evaluate, integers.
        box_format: Of predictions and targets alike.
        names: Of the classes, by id.

    >>> import torch
    >>> metric = AveragePrecision([1])
    >>> boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    >>> found = {"boxes": boxes, "scores": torch.tensor([0.8]), "labels": torch.tensor([1])}
    >>> metric.update([found], [{"boxes": boxes, "labels": torch.tensor([1])}], image_ids=[7])
    >>> round(metric.compute("voc10").value, 6)
    1.0
    """

    def __init__(
        self, categories: Any, *, box_format: str = "xyxy", names: Mapping[int, str] | None = None
    ) -> None:
        self.categories = identifiers(categories, "categories", numeric=True)
        self.box_format, self.names = box_format, dict(names or {})
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._images: dict[Any, _Image] = {}
        self.duplicates = 0

    def __len__(self) -> int:
        return len(self._images)

    def update(
        self,
        predictions: Sequence[Mapping[str, Any]],
        targets: Sequence[Mapping[str, Any]],
        image_ids: Sequence[Any],
    ) -> None:
        """Add images.

        Args:
            predictions: Of each image: `boxes` (n, 4), `scores` (n,), `labels` (n,); or `masks` (`Masks`,
                booleans (n, height, width), or run lengths) or `keypoints` (n, K, 2 or 3) instead of boxes.
            targets: Of each image: `boxes`, `labels`, and where there are, `area`, `crowd`, `difficult`,
                `ignore`, `masks`, `keypoints`, `num_keypoints`; see `ground_truth`.
            image_ids: Integers or strings, one for each image.

        Raises:
            ValueError: Different numbers of the three; an image seen before with another content; NaN.
            TypeError: Labels that are no integers.
        """
        if not len(predictions) == len(targets) == len(image_ids):
            got = f"{len(predictions)}, {len(targets)} and {len(image_ids)}"
            raise ValueError(f"predictions, targets, image_ids: expected as many of each, got {got}")
        ids = identifiers(list(image_ids), "image_ids").tolist()
        for image_id, found, truth in zip(ids, predictions, targets, strict=True):
            self._add(image_id, _Image(_columns(truth, found=False), _columns(found, found=True)))

    def merge(self, other: "AveragePrecision") -> None:
        """Take in the images of another metric; it is not changed.

        Raises:
            TypeError: Another kind of metric.
            ValueError: Other categories or another box format; an image with another content.
        """
        if not isinstance(other, AveragePrecision):
            raise TypeError(f"other: expected AveragePrecision, got {type(other).__name__}")
        if not np.array_equal(self.categories, other.categories) or self.box_format != other.box_format:
            raise ValueError("other: expected the categories and box_format of this one, got others")
        for image_id, image in other._images.items():
            self._add(image_id, image)

    def sync(self, group: Any = None) -> None:
        """Take in the images of all processes of a group; nothing in a single process."""
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size(group) == 1:
            return
        everyone: list[Any] = [None] * dist.get_world_size(group)
        dist.all_gather_object(everyone, self._images, group=group)
        for rank, images in enumerate(everyone):
            if rank != dist.get_rank(group):
                for image_id, image in images.items():
                    self._add(image_id, image)

    def tables(self) -> tuple[GroundTruth, Detections]:
        """All that was seen, as tables.

        Raises:
            ValueError: What `ground_truth` and `detections` refuse; columns that only some images have.
        """
        ids = sorted(self._images)
        images = [self._images[image_id] for image_id in ids]
        truth = _concatenate([image.truth for image in images], ids, "targets")
        found = _concatenate([image.found for image in images], ids, "predictions")
        return (
            ground_truth(
                images=ids, categories=self.categories, box_format=self.box_format, names=self.names, **truth
            ),
            detections(box_format=self.box_format, **found),
        )

    def compute(self, rules: str | DetectionProtocol = "coco") -> AveragePrecisionResult:
        """Evaluate all images under a protocol; see `evaluate_detections`."""
        return evaluate_detections(*self.tables(), rules)

    def _add(self, image_id: Any, image: _Image) -> None:
        known = self._images.setdefault(image_id, image)
        if known is image:
            return
        if not known.equals(image):
            raise ValueError(f"image_ids: expected one content for an image, got two for {image_id!r}")
        self.duplicates += 1


def _columns(given: Mapping[str, Any], *, found: bool) -> dict[str, Any]:
    """One image's columns by the names of the tables."""
    name = "predictions" if found else "targets"
    wanted = {"labels", "scores"} if found else {"labels"}
    if missing := wanted - given.keys():
        raise ValueError(f"{name}: expected {', '.join(sorted(wanted))}, got no {', '.join(sorted(missing))}")
    columns: dict[str, Any] = {"category_id": identifiers(given["labels"], "labels", numeric=True)}
    if found:
        columns["score"] = numbers(given["scores"], "scores")
    if "boxes" in given:
        columns["box"] = numbers(given["boxes"], "boxes").reshape(-1, 4)
    if "masks" in given:
        columns["masks"] = _masks(given["masks"])
    if "keypoints" in given:
        columns["keypoints"] = numbers(given["keypoints"], "keypoints")
    count = len(columns["category_id"])
    if not found:
        columns |= {name: flags(given[name], name, count) for name in FLAGS if name in given}
        columns |= {name: numbers(given[name], name) for name in ("area",) if name in given}
        if "num_keypoints" in given:
            columns["num_keypoints"] = identifiers(given["num_keypoints"], "num_keypoints", numeric=True)
    for column, values in columns.items():
        if len(values) != count:
            raise ValueError(f"{name}: expected {count} of {column}, one for each label, got {len(values)}")
    return columns


def _masks(given: Any) -> Masks:
    if isinstance(given, Masks):
        return given
    if isinstance(given, Sequence):
        return Masks.from_rle(given)
    return Masks.from_dense(given)


def _concatenate(images: list[dict[str, Any]], ids: list[Any], name: str) -> dict[str, Any]:
    names = {column for image in images for column in image}
    columns: dict[str, Any] = {"category_id": np.zeros(0, np.int64)}
    for column in sorted(names):
        lacking = [i for i, image in zip(ids, images, strict=True) if column not in image]
        if lacking and column in FLAGS:
            counts = [len(image["category_id"]) for image in images]
            parts = [image.get(column, np.zeros(n, bool)) for image, n in zip(images, counts, strict=True)]
        elif lacking:
            raise ValueError(
                f"{name}: expected {column} of all images or of none, got none of {lacking[0]!r}"
            )
        else:
            parts = [image[column] for image in images]
        if column == "masks":
            columns[column] = Masks.concatenate(parts)
        else:
            columns[column] = np.concatenate(_alike(parts))
    counts = [len(image["category_id"]) for image in images]
    columns["image_id"] = np.repeat(np.array(ids), counts) if ids else np.zeros(0, np.int64)
    columns.setdefault("box", None if {"masks", "keypoints"} & names else np.zeros((0, 4)))
    if name == "predictions":
        columns.setdefault("score", np.zeros(0))
    return columns


def _alike(parts: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Empty parts lose their rank in lists; they take that of the others."""
    full = [part for part in parts if part.size]
    return full or parts[:1]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Masks):
        names = ("height", "width", "counts", "offsets")
        return isinstance(other, Masks) and all(_equal(getattr(one, n), getattr(other, n)) for n in names)
    return np.array_equal(one, other)
