"""Confidence intervals of mean AP, by drawing the images again."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from linsight.metrics.average_precision.curves import area_counts, curves
from linsight.metrics.average_precision.integrators import average_precisions
from linsight.metrics.average_precision.match_table import MatchTable

__all__ = ["Interval", "bootstrap", "bootstrap_difference"]


class Interval(NamedTuple):
    """A value over all images, and the percentiles of it over images drawn with replacement."""

    value: float
    low: float
    high: float
    level: float
    samples: int


def bootstrap(table: MatchTable, *, samples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """An interval of mean AP for the choice of images (Efron 1979, Annals of Statistics 7).

    As many images as there are, drawn with replacement, `samples` times; an image drawn twice counts twice,
    with its detections and objects. Nothing is matched again: a draw is a weight of each image, and costs as
    much as the curves of one range of area. Draws without an object are left out. It speaks of the choice of
    images, not of training.

    Raises:
        ValueError: No images; fewer than one sample; a level outside (0, 1).
    """
    return _interval(_values([table], samples, level, seed)[0], level)


def bootstrap_difference(
    one: MatchTable, other: MatchTable, *, samples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """An interval of the mean AP of one minus that of the other, on the same images drawn; see `bootstrap`.

    Raises:
        ValueError: Tables of different images; and as `bootstrap`.
    """
    if not np.array_equal(one.images, other.images):
        raise ValueError("other: expected the same images in both tables, got different ones")
    first, second = _values([one, other], samples, level, seed)
    return _interval(first - second, level)


def _values(tables: list[MatchTable], samples: int, level: float, seed: int) -> NDArray[np.float64]:
    """Mean AP of each table: over all images, then over each draw; (tables, 1 + samples)."""
    images = len(tables[0].images)
    if not images:
        raise ValueError("table: expected at least one image, got none")
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"samples, level: expected >= 1 and within (0, 1), got {samples} and {level}")
    rng = np.random.default_rng(seed)
    values = np.empty((len(tables), 1 + samples))
    for sample in range(1 + samples):
        weight = (
            np.bincount(rng.integers(images, size=images), minlength=images)
            if sample
            else np.ones(images, int)
        )
        for table, row in zip(tables, values, strict=True):
            shared = area_counts(table, 0, weight)
            found = average_precisions(curves(table, shared), table.protocol.integrator)
            row[sample] = np.nanmean(found) if (found == found).any() else np.nan
    return values


def _interval(values: NDArray[np.float64], level: float) -> Interval:
    drawn = values[1:][~np.isnan(values[1:])]
    if not len(drawn):
        return Interval(float(values[0]), float("nan"), float("nan"), level, 0)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values[0]), float(low), float(high), level, len(drawn))
