"""Stable sorting by counting, and what else is done to arrays sorted into groups."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["descending", "group_starts", "ranges", "stable_order"]

Keys = NDArray[np.integer]
Indices = NDArray[np.int64]


def descending(scores: NDArray[np.float64]) -> Keys:
    """Unsigned integers whose ascending order is the descending order of `scores`; equal where those are.

    The bits of a float, flipped: 32 of them where every score is a float32, which halves the passes.
    """
    scores = scores + 0.0  # -0.0 becomes 0.0
    short = scores.astype(np.float32)
    if np.array_equal(short, scores):
        bits, top = short.view(np.uint32), np.uint32(1 << 31)
    else:
        bits, top = scores.view(np.uint64), np.uint64(1 << 63)
    # A float of the sign bit 0 ascends with its bits, one of sign bit 1 descends with them.
    return np.where(bits & top, bits, ~(bits | top))


def stable_order(*keys: Keys) -> Indices:
    """The stable order by the first key, then the second, and so on; keys are non-negative integers.

    numpy sorts 16-bit integers by counting, so wider keys are sorted 16 bits at a time from the lowest:
    a quarter of the time of a comparing sort at half a million detections.
    """
    order: Indices | None = None
    for key in reversed(keys):
        most = int(key.max(initial=0))
        for shift in range(0, max(most.bit_length(), 1), 16):
            digit = (key >> key.dtype.type(shift)).astype(np.uint16)
            if order is None:
                order = np.argsort(digit, kind="stable")
            else:
                order = order[np.argsort(digit[order], kind="stable")]
    if order is None:
        raise ValueError("keys: expected at least one")
    return order


def group_starts(key: Keys) -> Indices:
    """Where the groups of a sorted key begin."""
    new = np.ones(len(key), bool)
    np.not_equal(key[1:], key[:-1], out=new[1:])
    return np.flatnonzero(new)


def ranges(starts: Indices, lengths: Indices) -> Indices:
    """start, start + 1, ..., start + length - 1 for each start, one after another."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + lengths, lengths) + np.arange(total)
