"""Masks as run lengths, in COCO's form: column by column, the background's run first."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

__all__ = ["RunLengths", "areas", "compress", "decompress", "from_mask", "to_mask", "union"]

MAX_PIXELS = 2**31 - 1
"""Of a mask that can be decoded; the counts of larger ones can still be read and written."""

_GROUPS = 7  # of 5 bits: more than a count, and a difference of counts, of 2^31 pixels can need


class RunLengths(NamedTuple):
    """A mask of `size` (height, width), as the lengths of its runs in column-major order.

    Even entries of `counts` are background, odd ones the object; the first may be 0. They sum to the number
    of pixels. (COCO, Lin et al. 2014, arXiv 1405.0312.)
    """

    size: tuple[int, int]
    counts: Int64[np.ndarray, "runs"]


def from_mask(mask: Bool[np.ndarray, "height width"]) -> RunLengths:
    """The runs of a mask. Cost: linear in the pixels."""
    height, width = mask.shape
    flat = np.ravel(mask, order="F")
    borders = np.flatnonzero(np.diff(flat, prepend=False)) if flat.size else np.zeros(0, np.int64)
    return RunLengths((height, width), np.diff(borders, prepend=0, append=flat.size).astype(np.int64))


def to_mask(runs: RunLengths) -> Bool[np.ndarray, "height width"]:
    """The mask of the runs.

    Raises ValueError for counts below 0, counts that do not sum to height x width, or more than 2^31 - 1
    pixels.
    """
    check(runs)
    height, width = runs.size
    if height * width > MAX_PIXELS:
        raise ValueError(f"runs: expected at most {MAX_PIXELS} pixels to decode, got {height} x {width}")
    values = np.arange(len(runs.counts)) % 2 == 1
    return np.repeat(values, runs.counts).reshape((height, width), order="F")


def areas(masks: list[RunLengths] | tuple[RunLengths, ...]) -> Int64[np.ndarray, "masks"]:
    """Pixels of the object in each mask, without decoding."""
    return np.array([runs.counts[1::2].sum() for runs in masks], np.int64)


def check(runs: RunLengths) -> None:
    """Raises ValueError unless the counts are at least 0 and sum to the size."""
    height, width = runs.size
    if height < 0 or width < 0:
        raise ValueError(f"runs: expected a size of at least 0 x 0, got {height} x {width}")
    if runs.counts.size and int(runs.counts.min()) < 0:
        first = int((runs.counts < 0).argmax())
        raise ValueError(f"runs: expected counts of at least 0, got {int(runs.counts[first])} at {first}")
    # In float64 first: counts of a broken file could overflow.
    total = float(runs.counts.sum(dtype=np.float64))
    if total > 2.0**62 or int(runs.counts.sum()) != height * width:
        raise ValueError(
            f"runs: expected counts that sum to {height} x {width} = {height * width}, got {total:.0f}"
        )


def compress(runs: RunLengths) -> str:
    """COCO's string of the counts.

    From the fourth count on, the difference to the count two places before is written. An integer becomes
    groups of 5 bits in two's complement, the lowest first; a group's character has the code 48 + group, and
    32 more where another group follows.
    """
    values = runs.counts.copy()
    values[3:] -= runs.counts[1:-2]
    letters = []
    for value in values.tolist():
        while True:
            group = value & 31
            value >>= 5
            # What is left is the sign alone, which the highest bit of the group already tells.
            done = value == (-1 if group & 16 else 0)
            letters.append(chr(48 + group + (0 if done else 32)))
            if done:
                break
    return "".join(letters)


def decompress(text: str | bytes, size: tuple[int, int]) -> RunLengths:
    """The runs of COCO's string; the inverse of `compress`.

    Raises ValueError, with the position, for a character that is none of the code's, an integer without end
    or of more than 7 groups, and for what `check` refuses.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise ValueError(
            f"runs: expected characters '0' to 'o', got {error.object[error.start]!r} at {error.start}"
        ) from None
    groups = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    outside = (groups < 0) | (groups > 63)
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(f"runs: expected characters '0' to 'o', got {chr(raw[first])!r} at {first}")
    last = groups < 32
    if groups.size and not last[-1]:
        raise ValueError(f"runs: the last integer has no end, at {len(raw)}")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > _GROUPS:
        first = int(starts[lengths.argmax()])
        raise ValueError(
            f"runs: expected integers of at most {_GROUPS} characters, got a longer one at {first}"
        )
    shifts = 5 * (np.arange(groups.size) - np.repeat(starts, lengths))
    parts = (groups & 31) << shifts
    values = np.add.reduceat(parts, starts) if starts.size else parts
    values -= ((groups[ends] & 16) > 0) * (np.int64(1) << (5 * lengths))
    # Differences are to the count two before: running sums of the odd counts, and of the even from the third.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    runs = RunLengths(size, values)
    check(runs)
    return runs


def union(masks: list[RunLengths]) -> RunLengths:
    """The pixels that are in any of the masks, which have one size; on the ends of the runs alone."""
    size = masks[0].size
    if any(runs.size != size for runs in masks):
        raise ValueError(f"masks: expected one size, got {sorted({runs.size for runs in masks})}")
    if len(masks) == 1:
        return masks[0]
    edges, steps = [], []
    for runs in masks:
        borders = np.cumsum(runs.counts)[: len(runs.counts) // 2 * 2]
        edges.append(borders)
        steps.append(np.where(np.arange(len(borders)) % 2 == 0, 1, -1))
    places, change = np.concatenate(edges), np.concatenate(steps)
    unique, where = np.unique(places, return_inverse=True)
    depth = np.cumsum(np.bincount(where, weights=change, minlength=len(unique)))
    inside = depth > 0.5
    borders = unique[np.diff(inside, prepend=False)] if len(unique) else unique
    return from_borders(borders, size)


def from_borders(borders: Int64[np.ndarray, "borders"], size: tuple[int, int]) -> RunLengths:
    """The mask whose value changes at these ascending places of the column-major pixels."""
    total = size[0] * size[1]
    return RunLengths(size, np.diff(borders[borders < total], prepend=0, append=total).astype(np.int64))
