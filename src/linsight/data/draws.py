"""An item's own endless supply of small random integers, for generators that draw until something fits."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Integer, UInt64

from linsight.data import noise

__all__ = ["Draws", "draws_of"]


class Draws:
    """Integers from 0 to 65,535, a pure function of (key, item) and of the counts asked for before.

    They are 16-bit pieces of the item's `noise.words`, `chunk` words at a time: chunk c is the item's words
    of epoch c. What a request leaves of a chunk that is too small for it is thrown away.
    """

    def __init__(self, key: UInt64[np.ndarray, "2"], item: int, first: UInt64[np.ndarray, "chunk"]) -> None:
        self._key, self._item = key, item
        self._words = len(first)
        self._chunk, self._place = 0, 0
        self._numbers = _pieces(first)

    def take(self, count: int) -> list[int]:
        """The next `count` integers. Raises ValueError for more than four times the chunk's words."""
        if count > len(self._numbers):
            raise ValueError(f"count: expected at most {len(self._numbers)} integers at once, got {count}")
        if self._place + count > len(self._numbers):
            self._chunk += 1
            item = np.array([self._item])
            self._numbers = _pieces(noise.words(self._key, item, self._words, epoch=self._chunk)[0])
            self._place = 0
        self._place += count
        return self._numbers[self._place - count : self._place]


def draws_of(
    key: UInt64[np.ndarray, "2"], items: Integer[np.ndarray, "number"], chunk: int
) -> Iterator[Draws]:
    """The supply of each item, in order; `chunk` is part of what the numbers are a function of."""
    first = noise.words(key, items, chunk)
    for item, words in zip(items.tolist(), first, strict=True):
        yield Draws(key, item, words)


def _pieces(words: UInt64[np.ndarray, "chunk"]) -> list[int]:
    # Little-endian on every machine: the lowest 16 bits of a word come first.
    return words.astype("<u8").view("<u2").tolist()
