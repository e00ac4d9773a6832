"""COCO's compressed runs, read without a loop over characters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_counts"]

Integers = NDArray[np.int64]
CHUNK = 1 << 18


def decode_counts(counts: Sequence[Any]) -> tuple[Integers, Integers]:
    """The runs of all masks, one after another, and where each mask's begin: (masks + 1,).

    A count is a list of runs or a string. In a string a number is one or more characters; each, minus 48,
    holds 5 bits, lowest first, and 32 if more follow; 16 in the last one is the sign. From the fourth number
    on, the run is the number plus the run two places before.

    Raises:
        ValueError: Neither of the two; a character outside 0 to o; a number cut off, or of more than 12
        characters.
    """
    parts: list[tuple[Integers, Integers]] = []
    low = size = 0
    for high, count in enumerate(counts):
        if not isinstance(count, str | bytes | list | tuple | np.ndarray):
            raise ValueError(
                f"counts: expected a string or a list, got {type(count).__name__} at index {high}"
            )
        size += len(count)
        # Pieces that fit the processor's cache are read twice as fast.
        if size > CHUNK:
            parts.append(_decode(counts[low : high + 1], low))
            low, size = high + 1, 0
    parts.append(_decode(counts[low:], low))
    lengths = np.concatenate([lengths for _, lengths in parts])
    return np.concatenate([runs for runs, _ in parts]), np.concatenate([[0], np.cumsum(lengths)])


def _decode(counts: Sequence[Any], first: int) -> tuple[Integers, Integers]:
    strings = np.array([isinstance(count, str | bytes) for count in counts], bool)
    if not strings.any():
        return _lists(counts)
    if not strings.all():
        parts = [_decode([count], first + row) for row, count in enumerate(counts)]
        runs, lengths = zip(*parts, strict=True)
        return np.concatenate(runs), np.concatenate(lengths)
    texts = [count.encode() if isinstance(count, str) else count for count in counts]
    code = np.frombuffer(b"".join(texts), np.uint8) - np.uint8(48)
    sizes = np.array([len(text) for text in texts])
    ends = np.cumsum(sizes)
    if code.max(initial=0) > 63:
        row = first + int(np.searchsorted(ends, int(np.argmax(code > 63)), side="right"))
        raise ValueError(f"counts: expected characters from '0' to 'o', got another at index {row}")
    last = code < 32
    closed = last[np.maximum(ends - 1, 0)] | (sizes == 0)
    if not closed.all():
        raise ValueError(
            f"counts: expected whole numbers, got one cut off at index {first + int(np.argmin(closed))}"
        )
    stops = np.flatnonzero(last)
    starts = np.concatenate([[0], stops[:-1] + 1]) if len(stops) else stops
    groups = stops - starts
    if groups.max(initial=0) > 11:
        row = first + int(np.searchsorted(ends, stops[np.argmax(groups > 11)], side="right"))
        raise ValueError(f"counts: expected numbers of up to 12 characters, got a longer one at index {row}")
    values = (code[stops] & 31).astype(np.int64)
    values -= (values & 16) << 1
    for place in range(int(groups.max(initial=0)) - 1, -1, -1):
        longer = np.flatnonzero(groups > place)
        # Horner's rule from the last character to the first.
        values[longer] = (values[longer] << 5) | (code[starts[longer] + place] & 31)
    lengths = np.diff(np.concatenate([[0], np.searchsorted(stops, ends)]))
    return _undo_differences(values, lengths), lengths


def _undo_differences(values: Integers, lengths: Integers) -> Integers:
    """Running sums over every second number, the first number apart."""
    place = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    mask = np.repeat(np.arange(len(lengths)), lengths)
    for parity in (0, 1):
        chosen = np.flatnonzero((place & 1 == parity) & (place > 0))
        sums = np.cumsum(values[chosen])
        owner = mask[chosen]
        before = np.concatenate([[0], sums])[np.searchsorted(owner, owner)]
        values[chosen] = sums - before
    return values


def _lists(counts: Sequence[Any]) -> tuple[Integers, Integers]:
    lengths = np.array([len(count) for count in counts], np.int64)
    arrays = [np.asarray(count) for count in counts if len(count)]
    if any(array.dtype.kind not in "iu" for array in arrays):
        raise ValueError("counts: expected integers in a list of runs")
    return np.concatenate([np.zeros(0, np.int64), *arrays]).astype(np.int64), lengths
