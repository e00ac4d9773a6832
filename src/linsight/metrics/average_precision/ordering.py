"""Stable sorting by plain sorts, and what else is done to arrays sorted into groups."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["descending", "group_starts", "ranges", "stable_order"]

Keys = NDArray[np.integer]
Indices = NDArray[np.int64]


def descending(scores: NDArray[np.float64]) -> Keys:
    """Unsigned integers whose ascending order is the descending order of `scores`; equal where those are.

    The bits of a float, flipped: 32 of them where every score is a float32, which saves a sort.
    """
    scores = scores + 0.0  # -0.0 becomes 0.0
    with np.errstate(over="ignore"):
        short = scores.astype(np.float32)
    if np.array_equal(short, scores):
        bits, top = short.view(np.uint32), np.uint32(1 << 31)
    else:
        bits, top = scores.view(np.uint64), np.uint64(1 << 63)
    # A float of the sign bit 0 ascends with its bits, one of sign bit 1 descends with them.
    return np.where(bits & top, bits, ~(bits | top))


def stable_order(*keys: Keys) -> Indices:
    """The stable order by the first key, then the second, and so on; keys are non-negative integers.

    Keys and the place of each row are packed into integers of 64 bits, whose plain sort is then a stable one:
    numpy sorts whole numbers several times faster than it finds the order of anything. Where the keys are too
    wide for one sort, the last are sorted by first.
    """
    size = len(keys[0])
    bits = max(size - 1, 0).bit_length()
    rest = [part for key in keys for part in _halves(key)]
    order: Indices | None = None
    while rest:
        packed = np.arange(size, dtype=np.uint64)
        used = bits
        while rest and used + rest[-1][1] <= 64:
            key, width = rest.pop()
            packed |= (key if order is None else key[order]).astype(np.uint64) << np.uint64(used)
            used += width
        packed.sort()
        place = (packed & np.uint64((1 << bits) - 1)).astype(np.int64)
        order = place if order is None else order[place]
    return np.arange(size) if order is None else order


def _halves(key: Keys) -> list[tuple[Keys, int]]:
    """The key and its width in bits, in two parts where it has more than 32."""
    width = int(key.max(initial=0)).bit_length()
    if width <= 32:
        return [(key, width)]
    low = key & key.dtype.type(0xFFFFFFFF)
    return [(key >> key.dtype.type(32), width - 32), (low, 32)]


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
