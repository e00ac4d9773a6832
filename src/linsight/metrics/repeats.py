"""The mean over repeated runs, and how sure it is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["MeanInterval", "mean_interval"]


class MeanInterval(NamedTuple):
    """A mean, and half the width of its interval: NaN where there is none, as of a single value."""

    mean: float
    half_width: float
    number: int


def mean_interval(values: Sequence[float], level: float = 0.95) -> MeanInterval:
    """Student's interval of the mean of independent values, as of runs that differ in their seed.

    mean ± t s / sqrt(n), s the standard deviation with n - 1 and t the quantile of Student's law with n - 1
    degrees of freedom (Student 1908, Biometrika 6): the mean of all runs that could be lies within it with
    probability `level`, if values are normal. t is 12.7 for two values, 4.3 for three, 2.8 for five at 95 %.

    Args:
        values: At least one; where one is not finite, the mean is not, and there is no interval.
        level: Between 0 and 1.

    Raises:
        ValueError: No values; another level.

    Example:
        >>> [round(one, 4) for one in mean_interval([1.0, 2.0, 3.0])[:2]]
        [2.0, 2.4841]
    """
    number = len(values)
    if not number:
        raise ValueError("values: expected at least one, got none")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability between 0 and 1, got {level}")
    mean = sum(values) / number
    if number == 1 or not math.isfinite(mean):
        return MeanInterval(mean, math.nan, number)
    deviation = math.sqrt(sum((one - mean) ** 2 for one in values) / (number - 1))
    return MeanInterval(mean, _quantile(level, number - 1) * deviation / math.sqrt(number), number)


def _quantile(level: float, freedom: int) -> float:
    """t with P(-t <= T <= t) = level, by halving the angle whose tangent is t / sqrt(freedom)."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _share(middle, freedom) < level else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _share(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) tan(angle)): Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    odd, cosine = freedom % 2, math.cos(angle)
    term, total = cosine**odd, 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
    within = math.sin(angle) * total
    return 2 / math.pi * (angle + within) if odd else within
