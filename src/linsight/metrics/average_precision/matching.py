"""Which detection finds which object: the rules of COCO and of VOC, without a loop over images."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from linsight.metrics.average_precision.ordering import group_starts
from linsight.metrics.average_precision.pairing import Pairs

__all__ = ["at_thresholds", "best_free", "best_then_check", "counted_first", "preferences"]

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


def preferences(pairs: Pairs, tie: Literal["first", "last"]) -> Pairs:
    """The pairs by detection, the greatest overlap first, of equal ones the first or the last object."""
    truth = pairs.truth if tie == "first" else -pairs.truth
    return pairs.take(np.lexsort((truth, -pairs.overlap, pairs.detection)))


def counted_first(lists: Pairs, uncounted: Flags) -> Pairs:
    """Preferences with the objects that count before those that do not, each in the order they had."""
    later = uncounted[lists.truth]
    return lists.take(np.argsort(2 * lists.detection + later, kind="stable"))


def at_thresholds(pairs: Pairs, needed: Sequence[float], detections: int, objects: int) -> Pairs:
    """The pairs that overlap enough at each threshold, as if each had detections and objects of its own.

    Row d at threshold t becomes d + t * detections, objects alike: all thresholds are then matched at once.
    """
    threshold, row = np.nonzero(pairs.overlap >= np.array(needed)[:, None])
    return Pairs(
        pairs.detection[row] + threshold * detections,
        pairs.truth[row] + threshold * objects,
        pairs.overlap[row],
    )


def best_free(pairs: Pairs, crowd: Flags) -> tuple[Integers, Integers]:
    """Each detection, by score, takes the best object that is free (COCO).

    A free object that counts is preferred to every uncounted one; crowds are always free. Taking turns by
    score is the same as every detection asking for its best object and every object keeping the detection of
    highest score that asks, until nobody is sent away: there is one stable matching, since all objects agree
    on who comes first (Gale and Shapley 1962). A few rounds, in each all detections at once.

    Args:
        pairs: Those that may match, by preference of each detection (`preferences`, `counted_first`);
            detections are numbered by descending score within an image and class.
        crowd: Flags of the objects.

    Returns:
        Detections and the object that each takes.
    """
    detection, truth = pairs.detection, pairs.truth
    shared = crowd[truth]
    size = len(detection)
    holder = np.full(len(crowd), size)
    # A pair that begins a detection's list can not be what the one before it asks for next.
    first = np.ones(size + 1, bool)
    np.not_equal(detection[1:], detection[:-1], out=first[1:-1])
    ask = np.flatnonzero(first[:-1])
    settled: list[Integers] = []
    while len(ask):
        if shared[ask].any():
            settled.append(ask[shared[ask]])
            ask = ask[~shared[ask]]
        wanted = truth[ask]
        held = holder[wanted]
        # Of several that ask for one object the last written stays: backwards, that of highest score.
        holder[wanted[::-1]] = ask[::-1]
        best = holder[wanted] == ask
        better = best & (ask < held)
        back = best & ~better
        holder[wanted[back]] = held[back]
        away = held[better]
        following = np.concatenate([ask[~better], away[away < size]]) + 1
        ask = following[~first[following]]
        if len(away):
            ask.sort()
    taken = np.concatenate([holder[holder < size], *settled])
    return detection[taken], truth[taken]


def best_then_check(pairs: Pairs, uncounted: Flags) -> tuple[Integers, Integers]:
    """Each detection looks at its best object alone; the first by score takes it (PASCAL VOC).

    An object that is `uncounted` may be taken any number of times. The rest is as in `best_free`.
    """
    best = group_starts(pairs.detection)
    detection, truth = pairs.detection[best], pairs.truth[best]
    winner = np.zeros(len(uncounted), np.int64)
    winner[truth[::-1]] = detection[::-1]
    taken = uncounted[truth] | (winner[truth] == detection)
    return detection[taken], truth[taken]
