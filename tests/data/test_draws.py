"""An item's own numbers: the same whatever was drawn beside it, uniform, and endless."""

import numpy as np
import pytest

from linsight.data import noise
from linsight.data.draws import draws_of

KEY = noise.key(3, "toy/train")


def _taken(items: list[int], counts: list[int], chunk: int = 4) -> dict[int, list[list[int]]]:
    supplies = draws_of(KEY, np.array(items), chunk)
    return {
        item: [draws.take(count) for count in counts] for item, draws in zip(items, supplies, strict=True)
    }


def test_an_item_draws_the_same_whatever_is_beside_it() -> None:
    counts = [3, 10, 16, 1, 5, 12]
    assert _taken([7, 2, 1000], counts)[1000] == _taken([1000], counts)[1000]
    assert _taken([7], counts)[7] != _taken([8], counts)[8]


def test_the_first_numbers_are_the_items_words_low_bits_first() -> None:
    word = int(noise.words(KEY, np.array([5]), 1)[0, 0])
    assert _taken([5], [4])[5] == [[word >> shift & 0xFFFF for shift in (0, 16, 32, 48)]]


def test_what_is_left_of_a_chunk_that_is_too_small_is_not_used() -> None:
    second = noise.words(KEY, np.array([5]), 4, epoch=1)[0].astype("<u8").view("<u2").tolist()
    assert _taken([5], [10, 7])[5][1] == second[:7]


def test_numbers_are_uniform_over_many_chunks() -> None:
    (draws,) = draws_of(KEY, np.array([0]), 16)
    numbers = np.array([draws.take(60) for _ in range(1000)])
    assert abs(numbers.mean() / 65_535 - 0.5) < 0.006  # five standard errors
    assert np.bincount(numbers.ravel() >> 14, minlength=4) == pytest.approx(15_000, abs=550)


def test_more_numbers_than_a_chunk_has_are_refused() -> None:
    (draws,) = draws_of(KEY, np.array([0]), 2)
    with pytest.raises(ValueError, match="count: expected at most 8 integers at once, got 9"):
        draws.take(9)
