"""From a precision-recall curve to a number: VOC 2007, VOC 2010, COCO, and the trapezoid rule."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from linsight.metrics.average_precision.curves import Curves
from linsight.metrics.average_precision.protocols import Integrator

__all__ = ["COCO_RECALLS", "average_precisions", "envelope_at", "interpolated"]

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# In float64, as in COCO's code: 96 of these differ in float32, and AP in the fifth digit.
COCO_RECALLS = np.linspace(0.0, 1.0, 101)


def average_precisions(curves: Curves, integrator: Integrator) -> Float[np.ndarray, " curves"]:
    """The average precision of each curve; NaN for one without an object.

    With p(r) the greatest precision at recall r or above, 0 beyond the last recall:

    * "11-point": the mean of p(i / 10), i = 0..10 (VOC until 2009; Everingham et al. 2010, IJCV 88).
    * "all-point": the sum over true positives of p / positives, the area under the steps (VOC from 2010).
    * "101-point": the mean of p(i / 100), i = 0..100 (COCO; Lin et al. 2014, arXiv 1405.0312).
    * "trapezoid": the trapezoid rule over 101 points of the line through (0, 1), the curve's points under
      p, and (1, 0) (Ultralytics).
    """
    values = _INTEGRATORS[integrator](curves)
    return np.where(curves.positives > 0, values, np.nan)


def interpolated(curves: Curves) -> Float[np.ndarray, "curves 101"]:
    """p at COCO's 101 recalls, of its own precision tp / (tp + fp + 2.2e-16); 0 without objects."""
    precision = curves.right / (curves.counted + np.spacing(1))
    return envelope_at(curves, precision, _least_right(curves.positives, COCO_RECALLS))


def envelope_at(curves: Curves, precision: Floats, needed: Integers) -> Floats:
    """The greatest precision at so many true positives or more; 0 where there are never so many.

    A maximum over the stretch between each two places asked for, then a running maximum over those: exact,
    and linear in the curve. `needed` is (curves, places), ascending, each at least 1.
    """
    number, places = needed.shape
    if not len(precision):
        return np.zeros((number, places))
    start, end = curves.offsets[:-1, None], curves.offsets[1:, None]
    step = int(curves.right.max()) + int(needed.max(initial=1)) + 1
    key = curves.right + step * np.repeat(np.arange(number), np.diff(curves.offsets))
    place = np.searchsorted(key, needed + step * np.arange(number)[:, None])
    stretches = np.maximum.reduceat(np.append(precision, 0.0), np.clip(place, start, end).ravel())
    greatest = np.where(place < end, stretches.reshape(number, places), 0.0)
    return np.maximum.accumulate(greatest[:, ::-1], axis=1)[:, ::-1]


def _coco(curves: Curves) -> Floats:
    return interpolated(curves).mean(1)


def _eleven(curves: Curves) -> Floats:
    # In integers: 3 of 5 is recall 0.6, which is less than 6 x 0.1 in floating point.
    needed = -(-np.arange(11) * curves.positives[:, None] // 10)
    return envelope_at(curves, curves.right / curves.counted, np.maximum(needed, 1)).mean(1)


def _steps(curves: Curves) -> Floats:
    values = np.zeros(len(curves.positives))
    precision = curves.right / curves.counted
    for number in np.flatnonzero(np.diff(curves.offsets)).tolist():
        part = slice(curves.offsets[number], curves.offsets[number + 1])
        envelope = np.maximum.accumulate(precision[part][::-1])[::-1]
        values[number] = (np.diff(curves.right[part], prepend=0) * envelope).sum() / curves.positives[number]
    return values


def _trapezoid(curves: Curves) -> Floats:
    values = np.zeros(len(curves.positives))
    for number in np.flatnonzero((curves.positives > 0) & (curves.total > 0)).tolist():
        values[number] = np.trapezoid(np.interp(COCO_RECALLS, *_knots(curves.of(number))), COCO_RECALLS)
    return values


def _knots(curve: Curves) -> tuple[Floats, Floats]:
    """The corners of the line; it falls at once to p beyond where wrong detections follow a right one."""
    right, counted, total = curve.right, curve.counted, int(curve.total[0])
    last = int(right[-1]) if len(right) else 0
    beyond = last / total if total > (counted[-1] if len(right) else 0) else None
    envelope = np.maximum.accumulate((right / counted)[::-1])[::-1]
    steps = np.diff(right, prepend=0)
    falls = np.diff(counted, prepend=0) > steps
    recalls, precisions = [0.0], [1.0]
    for now, fell, step, precision in zip(right, falls, steps, envelope, strict=True):
        if fell:
            recalls.append((now - step) / curve.positives[0])
            precisions.append(precision)
        recalls.append(now / curve.positives[0])
        precisions.append(precision)
    if beyond is not None:
        recalls.append(last / curve.positives[0])
        precisions.append(beyond)
    return np.array([*recalls, 1.0]), np.array([*precisions, 0.0])


def _least_right(positives: Integers, recalls: Floats) -> Integers:
    """The least m >= 1 with m / positives >= recall, by floating-point division: (classes, recalls)."""
    # Few distinct numbers of objects, many curves.
    distinct, place = np.unique(np.maximum(positives, 1), return_inverse=True)
    total = distinct[:, None]
    least = np.maximum(np.floor(recalls * total) - 1, 0)
    for _ in range(3):
        least += least / total < recalls
    return np.maximum(least.astype(np.int64), 1)[place]


_INTEGRATORS: dict[str, Callable[[Curves], Floats]] = {
    "11-point": _eleven,
    "all-point": _steps,
    "101-point": _coco,
    "trapezoid": _trapezoid,
}
