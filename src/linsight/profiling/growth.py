"""How fast a cost grows, and where two costs cross."""

from collections.abc import Sequence
from math import exp, log
from typing import NamedTuple

__all__ = ["Growth", "crossing", "growth"]


class Growth(NamedTuple):
    """cost ~ T^`exponent`, with the standard error of the exponent."""

    exponent: float
    error: float


def growth(lengths: Sequence[float], costs: Sequence[float]) -> Growth:
    """The slope of log cost against log length by least squares.

    Raises:
        ValueError: Fewer than three points, whose slope has no error; a cost or length that is not positive.
    """
    if len(lengths) < 3 or len(costs) != len(lengths):
        raise ValueError(
            f"lengths: expected as many as costs, at least 3, got {len(lengths)} and {len(costs)}"
        )
    if min(*lengths, *costs) <= 0:
        raise ValueError("lengths, costs: expected positive numbers")
    x, y = [log(n) for n in lengths], [log(c) for c in costs]
    middle, height = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - middle) ** 2 for a in x)
    slope = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - height - slope * (a - middle)) ** 2 for a, b in zip(x, y, strict=True))
    return Growth(slope, (rest / (len(x) - 2) / spread) ** 0.5)


def crossing(lengths: Sequence[float], costs: Sequence[float], others: Sequence[float]) -> float | None:
    """The length from which on `costs` stay below `others`, between two points by a power law.

    0 where they are below from the first length on, None where they are not at the last.
    """
    ahead = [cost < other for cost, other in zip(costs, others, strict=True)]
    if not ahead or not ahead[-1]:
        return None
    last = max((place for place, won in enumerate(ahead) if not won), default=-1)
    if last < 0:
        return 0.0
    before, after = (log(costs[i] / others[i]) for i in (last, last + 1))
    share = before / (before - after)
    return exp(log(lengths[last]) + share * log(lengths[last + 1] / lengths[last]))
