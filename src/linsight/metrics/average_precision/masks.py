"""Masks as runs, COCO's notation: areas, boxes and intersections without a pixel being drawn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from linsight.metrics.average_precision.arrays import plain
from linsight.metrics.average_precision.ordering import ranges
from linsight.metrics.average_precision.runs import decode_counts

__all__ = ["Masks", "mask_overlap"]

Integers = NDArray[np.int64]
# Arrays of so many entries stay in a core's cache, and are memory that the process has already.
CHUNK = 1 << 15


@dataclass(frozen=True)
class Masks:
    """Many masks, each as the lengths of its runs down the columns, background first.

    Args:
        height, width: Of each mask's image, (masks,).
        counts: All runs, one mask after another.
        offsets: Where each mask's runs begin, and their number: (masks + 1,).
    """

    height: Integers
    width: Integers
    counts: Integers
    offsets: Integers

    @classmethod
    def from_rle(cls, rles: Sequence[Mapping[str, Any]]) -> "Masks":
        """From `{"size": [height, width], "counts": ...}` each, counts as a list or as COCO's string.

        Raises:
            ValueError: No such mapping; counts that are negative, broken, or do not sum to height x width.
        """
        for row, rle in enumerate(rles):
            if not isinstance(rle, Mapping) or not {"size", "counts"} <= rle.keys() or len(rle["size"]) != 2:
                raise ValueError(f"masks: expected a mapping of size and counts, got {rle!r} at index {row}")
        size = np.array([rle["size"] for rle in rles], np.int64).reshape(-1, 2)
        counts, offsets = decode_counts([rle["counts"] for rle in rles])
        return cls(size[:, 0], size[:, 1], counts, offsets)

    @classmethod
    def from_dense(cls, masks: Any) -> "Masks":
        """From booleans (masks, height, width), an array or a tensor."""
        dense = plain(masks, "masks")
        if dense.ndim != 3 or dense.dtype != bool:
            raise ValueError(
                f"masks: expected booleans (masks, height, width), got {dense.dtype} {dense.shape}"
            )
        count, height, width = dense.shape
        columns = dense.transpose(0, 2, 1).reshape(count, height * width)
        # One pixel of background before and one change after: runs are the distances between changes.
        padded = np.zeros((count, columns.shape[1] + 2), bool)
        padded[:, 1:-1] = columns
        padded[:, -1] = ~padded[:, -2]
        row, place = np.nonzero(padded[:, 1:] != padded[:, :-1])
        offsets = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=count), out=offsets[1:])
        counts = np.diff(place, prepend=0)
        counts[offsets[:-1]] = place[offsets[:-1]]
        sides = np.full(count, 1)
        return cls(sides * height, sides * width, counts, offsets)

    def __post_init__(self) -> None:
        totals = _reduced(np.add, self.counts, self.offsets)
        wrong = (totals != self.height * self.width) | (_reduced(np.minimum, self.counts, self.offsets) < 0)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            pixels = f"{self.height[row]} x {self.width[row]}"
            raise ValueError(
                f"masks: expected counts >= 0 that sum to {pixels}, got the sum {totals[row]} at index {row}"
            )

    def __len__(self) -> int:
        return len(self.height)

    def size(self, row: "int | np.integer") -> tuple[int, int]:
        """Height and width of one."""
        return int(self.height[row]), int(self.width[row])

    @cached_property
    def pieces(self) -> "Pieces":
        """The foreground as intervals of pixels, with a table that leads to those of a column."""
        return Pieces.of(self)

    def areas(self) -> NDArray[np.float64]:
        """The number of pixels of each mask."""
        pieces = self.pieces
        return (pieces.before[pieces.offsets[1:]] - pieces.before[pieces.offsets[:-1]]).astype(np.float64)

    def boxes(self) -> Float[np.ndarray, "masks 4"]:
        """x, y, w, h of each mask; zeros for an empty one. A run across columns spans the whole height."""
        boxes = np.zeros((len(self), 4), np.int64)
        for part in _blocks(self.pieces.offsets):
            boxes[part] = self._boxes(part)
        return boxes.astype(np.float64)

    def _boxes(self, part: slice) -> Integers:
        pieces = self.pieces
        runs = slice(pieces.offsets[part.start], pieces.offsets[part.stop])
        offsets = pieces.offsets[part.start : part.stop + 1] - runs.start
        boxes = np.zeros((len(offsets) - 1, 4), np.int64)
        lengths = np.diff(offsets)
        full = np.flatnonzero(lengths)
        if not len(full):
            return boxes
        first, height, base = offsets[full], self.height[part][full], pieces.base[part][full]
        start = pieces.start[runs] - np.repeat(base, lengths[full])
        tall = np.repeat(height, lengths[full])
        left = start // tall
        top = start - left * tall
        bottom = top + (pieces.end[runs] - pieces.start[runs]) - 1
        wraps = bottom >= tall
        right = (pieces.end[runs][offsets[full + 1] - 1] - 1 - base) // height
        top, bottom = np.where(wraps, 0, top), np.where(wraps, tall - 1, bottom)
        boxes[full, 0], boxes[full, 1] = left[first], np.minimum.reduceat(top, first)
        boxes[full, 2] = right - boxes[full, 0] + 1
        boxes[full, 3] = np.maximum.reduceat(bottom, first) - boxes[full, 1] + 1
        return boxes

    def take(self, rows: NDArray[np.integer]) -> "Masks":
        """The masks of these rows."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        counts = self.counts[ranges(self.offsets[rows], lengths)]
        return Masks(self.height[rows], self.width[rows], counts, offsets)

    @classmethod
    def concatenate(cls, parts: Sequence["Masks"]) -> "Masks":
        """One after another."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(
            np.concatenate([part.height for part in parts]),
            np.concatenate([part.width for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([[0], np.cumsum(lengths)]),
        )


@dataclass(frozen=True)
class Pieces:
    """Intervals [start, end) of foreground, in one numbering of all pixels of all masks, in order.

    `before[i]` is the number of foreground pixels of all intervals before i; `table` leads from a mask's
    column
    to its first interval that starts there or later: `table[column_offsets[mask] + column - first[mask]]`.
    """

    start: Integers
    end: Integers
    before: Integers
    base: Integers
    offsets: Integers
    table: Integers
    column_offsets: Integers
    first: Integers
    columns: Integers

    @classmethod
    def of(cls, masks: Masks) -> "Pieces":
        """The intervals of masks; those of no pixel are left out."""
        pixels = masks.height * masks.width
        base = np.cumsum(pixels) - pixels
        blocks = [_intervals(masks, base, part) for part in _blocks(masks.offsets)]
        start, end, per_mask, column = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        offsets = np.concatenate([[0], np.cumsum(per_mask)])
        first, last = np.zeros(len(masks), np.int64), np.full(len(masks), -1)
        full = np.flatnonzero(per_mask)
        first[full] = column[offsets[full]]
        last[full] = (end[offsets[full + 1] - 1] - 1 - base[full]) // masks.height[full]
        columns = last - first + 1
        column_offsets = np.concatenate([[0], np.cumsum(columns + 1)])
        table = np.zeros(column_offsets[-1] + 1, np.int64)
        for part in _blocks(offsets):
            low, high = column_offsets[part.start], column_offsets[part.stop]
            cells = np.repeat((column_offsets[:-1] - first)[part] - low, per_mask[part])
            cells += column[offsets[part.start] : offsets[part.stop]]
            table[low + 1 : high + 1] = np.bincount(cells, minlength=high - low)
        np.cumsum(table, out=table)
        before = np.zeros(len(start) + 1, np.int64)
        np.subtract(end, start, out=before[1:])
        np.cumsum(before, out=before)
        return cls(start, end, before, base, offsets, table, column_offsets, first, columns)

    def covered(self, mask: Integers, pixel: Integers, height: Integers) -> Integers:
        """How many foreground pixels come before this pixel of this mask, up to a constant of the mask.

        A search between the intervals of one column: of few steps, whatever the number of intervals.
        """
        column = pixel // height - self.first[mask]
        columns = self.columns[mask]
        cell = self.column_offsets[mask] + np.clip(column, 0, columns)
        low = self.table[cell]
        high = self.table[np.minimum(cell + 1, self.column_offsets[mask] + columns)]
        where = pixel + self.base[mask]
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) >> 1
            below = (low < high) & (self.start[np.minimum(middle, len(self.start) - 1)] < where)
            low = np.where(below, middle + 1, low)
            high = np.where(below, high, middle)
        # The last interval that starts before the pixel may end behind it.
        over = self.end[np.maximum(low - 1, 0)] - where
        return self.before[low] - np.where((low > self.offsets[mask]) & (over > 0), over, 0)


def _blocks(offsets: Integers) -> Iterator[slice]:
    """Masks of about CHUNK entries at a time, at least one slice."""
    cuts = np.searchsorted(offsets, np.arange(CHUNK, offsets[-1], CHUNK))
    bounds = np.unique([0, *cuts, len(offsets) - 1]).tolist()
    yield from map(slice, bounds[:-1] or [0], bounds[1:] or [0])


def _intervals(masks: Masks, base: Integers, part: slice) -> tuple[Integers, Integers, Integers, Integers]:
    """Start and end of the intervals of some masks, how many each has, and the column each starts in."""
    begin, stop = masks.offsets[part.start], masks.offsets[part.stop]
    own = masks.offsets[part.start : part.stop + 1] - begin
    counts = masks.counts[begin:stop]
    # Runs of a mask sum to its pixels, so the running sum over all masks is the numbering.
    ends = np.cumsum(counts)
    if len(ends):
        ends += base[part.start]
    # Foreground runs are those at odd places of their mask.
    odd = np.repeat(own[:-1] & 1 == 1, np.diff(own))
    odd[1::2] ^= True
    filled = np.flatnonzero(odd & (counts > 0))
    end = ends[filled]
    start = end - counts[filled]
    per_mask = np.diff(np.searchsorted(filled, own))
    column = (start - np.repeat(base[part], per_mask)) // np.repeat(masks.height[part], per_mask)
    return start, end, per_mask, column


def mask_overlap(
    detected: Masks,
    truth: Masks,
    rows: tuple[Integers, Integers],
    areas: tuple[NDArray[np.float64], NDArray[np.float64]],
    crowd: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Pixels in both over pixels in either, of pairs of masks; over the detection's where `crowd`.

    The intersection is the sum over intervals [s, e) of one mask of F(e) - F(s), F(x) being the number of the
    other's pixels before x. Only intervals within the other's columns are looked at; cost is linear in them.

    Args:
        rows: Of the detection and of the true mask in each pair, (pairs,).
        areas: Of the two masks in each pair.
        crowd: Of each pair.

    Raises:
        ValueError: Two masks of different sizes.
    """
    for name in ("height", "width"):
        wrong = getattr(detected, name)[rows[0]] != getattr(truth, name)[rows[1]]
        if wrong.any():
            pair = int(np.flatnonzero(wrong)[0])
            found, true = detected.size(rows[0][pair]), truth.size(rows[1][pair])
            raise ValueError(f"masks: expected one size in an image, got {true} true and {found} detected")
    shared = np.empty(len(rows[0]))
    one, other = detected.pieces, truth.pieces
    if not len(one.start) or not len(other.start):
        return np.zeros(len(rows[0]))
    height = truth.height[rows[1]]
    begin, stop = _window(one, other, rows)
    ends = np.cumsum(stop - begin)
    cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] + CHUNK if len(ends) else 0, CHUNK))
    for low, high in zip([0, *cuts + 1], [*cuts + 1, len(ends)], strict=True):
        shared[low:high] = _intersections(one, other, rows, height, begin, stop, slice(low, high))
    union = np.where(crowd, areas[0], areas[0] + areas[1] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def _window(one: Pieces, other: Pieces, rows: tuple[Integers, Integers]) -> tuple[Integers, Integers]:
    """The intervals of one that may meet the other: from its first column, and one before, to its last."""
    mask, against = rows
    column = np.clip(other.first[against] - one.first[mask], 0, one.columns[mask])
    begin = np.maximum(one.table[one.column_offsets[mask] + column] - 1, one.offsets[mask])
    after = other.first[against] + other.columns[against] - one.first[mask]
    stop = one.table[one.column_offsets[mask] + np.clip(after, 0, one.columns[mask])]
    return begin, np.where(other.columns[against] > 0, np.maximum(stop, begin), begin)


def _intersections(
    one: Pieces,
    other: Pieces,
    rows: tuple[Integers, Integers],
    height: Integers,
    begin: Integers,
    stop: Integers,
    part: slice,
) -> Integers:
    lengths = (stop - begin)[part]
    interval = ranges(begin[part], lengths)
    base = np.repeat(one.base[rows[0][part]], lengths)
    against = np.repeat(rows[1][part], lengths)
    tall = np.repeat(height[part], lengths)
    inside = other.covered(against, one.end[interval] - base, tall)
    inside -= other.covered(against, one.start[interval] - base, tall)
    return _reduced(np.add, inside, np.concatenate([[0], np.cumsum(lengths)]))


def _reduced(reduce: np.ufunc, values: Integers, offsets: Integers) -> Integers:
    """The sum or the least of each part, 0 for an empty one."""
    reduced = np.zeros(len(offsets) - 1, np.int64)
    full = np.flatnonzero(np.diff(offsets))
    if len(full):
        reduced[full] = reduce.reduceat(values, offsets[full])
    return reduced
