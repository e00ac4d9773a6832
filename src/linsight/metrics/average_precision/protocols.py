"""What a published evaluation protocol decides, as one frozen value."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

__all__ = [
    "COCO_SIGMAS",
    "AreaRange",
    "DetectionProtocol",
    "coco",
    "detection_protocol",
    "detection_protocols",
    "ultralytics",
    "voc07",
    "voc10",
]

Overlap = Literal["box", "mask", "keypoints"]
Integrator = Literal["11-point", "all-point", "101-point", "trapezoid"]

COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())

_TENTHS = (
    0.26,
    0.25,
    0.25,
    0.35,
    0.35,
    0.79,
    0.79,
    0.72,
    0.72,
    0.62,
    0.62,
    1.07,
    1.07,
    0.87,
    0.87,
    0.89,
    0.89,
)
COCO_SIGMAS = tuple(tenths / 10 for tenths in _TENTHS)
"""How far people disagree about nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles."""


@dataclass(frozen=True)
class AreaRange:
    """Objects of least to most square pixels, both ends included; all others are not counted."""

    name: str
    least: float
    most: float


ALL = AreaRange("all", 0.0, 1e10)
COCO_RANGES = (
    ALL,
    AreaRange("small", 0.0, 32.0**2),
    AreaRange("medium", 32.0**2, 96.0**2),
    AreaRange("large", 96.0**2, 1e10),
)


@dataclass(frozen=True)
class DetectionProtocol:
    """Every choice that two published numbers of "mAP" may differ in.

    Args:
        name: Told with every result; presets are `coco`, `voc07`, `voc10` and `ultralytics`.
        thresholds: The least IoU of a match, each in (0, 1]; several give as many curves.
        integrator: How a precision-recall curve becomes a number; see `curves`.
        matching: "best-free" gives a detection the best object that is still free; "best-then-check" looks at
            its best object alone, and counts it as false if that is taken.
        tie: Which of several objects of equal IoU is the best, the first or the last given.
        plus_one: Pixels are counted from the first to the last inclusive: widths and heights grow by 1.
        uncounted: The flag of objects that may be found, or not, without reward or penalty. Against a `crowd`
            the overlap is the share of the detection inside it, and many detections may lie in one.
        max_detections: Ascending; of each image and class, or each image, so many of highest score count.
            The largest is the one of the headline; None is no limit.
        max_detections_per: "class" or "image".
        area_ranges: Ranges of object sizes to report; the first is the headline's.
        respect_ignore: Objects flagged `ignore` are not counted either (in COCO's own code they are).
        overlap: "box", "mask", or "keypoints" (object keypoint similarity).
        sigmas: One per keypoint; for "keypoints" alone.

    Raises:
        ValueError: Thresholds outside (0, 1]; limits not ascending from 1 on; no area range; no threshold;
            keypoints without sigmas.
        NotImplementedError: Masks or keypoints under best-then-check.
    """

    name: str
    thresholds: tuple[float, ...]
    integrator: Integrator
    matching: Literal["best-free", "best-then-check"]
    tie: Literal["first", "last"] = "first"
    plus_one: bool = False
    uncounted: Literal["difficult", "crowd", "nothing"] = "nothing"
    max_detections: tuple[int, ...] | None = None
    max_detections_per: Literal["class", "image"] = "class"
    area_ranges: tuple[AreaRange, ...] = (ALL,)
    respect_ignore: bool = False
    overlap: Overlap = "box"
    sigmas: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.thresholds or not all(0 < t <= 1 for t in self.thresholds):
            raise ValueError(f"thresholds: expected one or more in (0, 1], got {self.thresholds}")
        limits = self.max_detections
        if limits is not None and (not limits or limits[0] < 1 or list(limits) != sorted(set(limits))):
            raise ValueError(f"max_detections: expected ascending integers from 1 on, got {limits}")
        if not self.area_ranges or any(r.least > r.most for r in self.area_ranges):
            raise ValueError(f"area_ranges: expected one or more of least <= most, got {self.area_ranges}")
        if self.overlap == "keypoints" and not self.sigmas:
            raise ValueError("sigmas: expected one for each keypoint, got none")
        if self.sigmas is not None and not all(0 < s < np.inf for s in self.sigmas):
            raise ValueError(f"sigmas: expected positive numbers, got {self.sigmas}")
        if self.overlap != "box" and self.matching == "best-then-check":
            raise NotImplementedError(
                f"protocol {self.name!r} is defined for boxes, got overlap={self.overlap!r}; use 'coco'"
            )

    @property
    def limit(self) -> int | None:
        """The largest number of detections that counts."""
        return self.max_detections[-1] if self.max_detections else None

    @property
    def needed(self) -> tuple[float, ...]:
        """The overlap that each threshold asks for, as compared with >=; COCO's code takes 1 as 1 - 1e-10."""
        if self.matching == "best-free":
            return tuple(min(t, 1 - 1e-10) for t in self.thresholds)
        return self.thresholds


def coco(overlap: Overlap = "box", sigmas: Sequence[float] = COCO_SIGMAS) -> DetectionProtocol:
    """COCO: ten thresholds, 101 points, best-free, crowds uncounted (Lin et al. 2014, arXiv 1405.0312).

    Boxes and masks: 1, 10 and 100 detections of each class in an image, four ranges of area. Keypoints: 20
    detections, no small objects, the similarity of `keypoints.similarity`. The numbers are pycocotools 2.0's.
    """
    people = overlap == "keypoints"
    return DetectionProtocol(
        name="coco",
        thresholds=COCO_THRESHOLDS,
        integrator="101-point",
        matching="best-free",
        tie="last",
        uncounted="crowd",
        max_detections=(20,) if people else (1, 10, 100),
        area_ranges=tuple(r for r in COCO_RANGES if not (people and r.name == "small")),
        overlap=overlap,
        sigmas=tuple(sigmas) if people else None,
    )


def voc07(*, plus_one: bool = True) -> DetectionProtocol:
    """PASCAL VOC until 2009: IoU 0.5, 11 points, `difficult` uncounted (Everingham et al. 2010, IJCV 88)."""
    return DetectionProtocol(
        name="voc07",
        thresholds=(0.5,),
        integrator="11-point",
        matching="best-then-check",
        plus_one=plus_one,
        uncounted="difficult",
    )


def voc10(*, plus_one: bool = True) -> DetectionProtocol:
    """PASCAL VOC from 2010 on: as `voc07` but the whole area under the curve."""
    return replace(voc07(plus_one=plus_one), name="voc10", integrator="all-point")


def ultralytics() -> DetectionProtocol:
    """The validation of Ultralytics YOLO as its sources read: ten thresholds, 300 detections an image.

    Nothing is uncounted. `Deviation:` its sort by IoU is not stable, so that equal overlaps are resolved by
    chance there; here the first object given wins. Its rule (the best object of a detection, then the first
    detection of an object) is best-then-check.
    """
    return DetectionProtocol(
        name="ultralytics",
        thresholds=COCO_THRESHOLDS,
        integrator="trapezoid",
        matching="best-then-check",
        max_detections=(300,),
        max_detections_per="image",
    )


PRESETS = {"coco": coco, "voc07": voc07, "voc10": voc10, "ultralytics": ultralytics}


def detection_protocols() -> tuple[str, ...]:
    """The names of the presets."""
    return tuple(PRESETS)


def detection_protocol(name: str | DetectionProtocol, **overrides: Any) -> DetectionProtocol:
    """A preset by name, with fields of one's own: `detection_protocol("coco", max_detections=(1, 10, 300))`.

    Raises:
        ValueError: A name that is no preset's; values that `DetectionProtocol` refuses.
        NotImplementedError: Masks or keypoints for a protocol of boxes.
    """
    if isinstance(name, DetectionProtocol):
        return replace(name, **overrides)
    if name not in PRESETS:
        raise ValueError(f"protocol: expected one of {', '.join(PRESETS)}, got {name!r}")
    if name == "coco":
        chosen = {key: overrides.pop(key) for key in ("overlap", "sigmas") if key in overrides}
        return replace(coco(**chosen), **overrides)
    return replace(PRESETS[name](), **overrides)
