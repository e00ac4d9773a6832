"""Run lengths: exact both ways, COCO's strings by hand, and every broken string refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsight.data.annotations.rle import (
    RunLengths,
    areas,
    check,
    compress,
    decompress,
    from_mask,
    to_mask,
    union,
)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    bits = draw(st.integers(0, 2 ** (height * width) - 1))
    return np.array([bits >> place & 1 for place in range(height * width)], bool).reshape(height, width)


@given(masks())
def test_a_mask_comes_back_from_its_runs_and_from_their_string(mask: np.ndarray) -> None:
    runs = from_mask(mask)
    assert (to_mask(runs) == mask).all()
    assert runs.counts.sum() == mask.size
    assert (runs.counts[1:] > 0).all()
    again = decompress(compress(runs), runs.size)
    assert again.counts.tolist() == runs.counts.tolist()
    assert areas([runs]).tolist() == [mask.sum()]


def test_runs_go_down_the_columns_and_begin_with_background() -> None:
    mask = np.array([[True, False, False], [True, False, True]])
    assert from_mask(mask).counts.tolist() == [0, 2, 3, 1]
    assert from_mask(np.zeros((2, 3), bool)).counts.tolist() == [6]
    assert to_mask(RunLengths((2, 2), np.array([1, 2, 1]))).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([6], "6"),
        ([15], "?"),  # 15: five bits, the highest 0
        ([16], "`0"),  # 16 would read as -16 in five bits: 16 + 32 + 48, then 0
        ([31], "o0"),
        ([0, 4], "04"),
        ([5, 4, 6], "546"),  # no difference yet at the third
        ([5, 4, 6, 3], "546O"),  # 3 - 4 = -1: 31 + 48
    ],
)
def test_strings_by_hand(counts: list[int], text: str) -> None:
    runs = RunLengths((1, sum(counts)), np.array(counts))
    assert compress(runs) == text
    assert decompress(text, runs.size).counts.tolist() == counts


def test_large_counts_survive() -> None:
    counts = np.array([0, 2**31 - 5, 1, 1, 2**30, 3])
    runs = RunLengths((1, int(counts.sum())), counts)
    assert decompress(compress(runs), runs.size).counts.tolist() == counts.tolist()


@given(st.lists(masks(), min_size=1, max_size=4))
def test_a_union_is_the_union_of_pixels(found: list[np.ndarray]) -> None:
    size = found[0].shape
    same = [np.resize(mask, size) for mask in found]
    whole = union([from_mask(mask) for mask in same])
    assert (to_mask(whole) == np.logical_or.reduce(same)).all()
    assert whole.counts.tolist() == from_mask(np.logical_or.reduce(same)).counts.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4 2", "expected characters '0' to 'o', got ' ' at 1"),
        ("4é2", "got 'é' at 1"),
        ("4p", "got 'p' at 1"),
        ("5`", "the last integer has no end, at 2"),
        ("oooooooo0", "expected integers of at most 7 characters, got a longer one at 0"),
        ("7", r"expected counts that sum to 2 x 3 = 6, got 7"),
        ("", r"sum to 2 x 3 = 6, got 0"),
        ("7O", r"expected counts of at least 0, got -1 at 1"),
    ],
)
def test_broken_strings_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decompress(text, (2, 3))


def test_masks_that_are_too_large_are_not_decoded() -> None:
    """Their counts can be read: 2^60 pixels cost nothing until they are asked for."""
    runs = RunLengths((2**30, 2**30), np.array([2**60]))
    check(runs)
    with pytest.raises(ValueError, match=r"expected at most 2147483647 pixels to decode, got 1073741824 x"):
        to_mask(runs)
    with pytest.raises(ValueError, match="sum to 1 x 1"):
        check(RunLengths((1, 1), np.array([2**62, 2**62, 2**62, 2**62 + 1])))
    with pytest.raises(ValueError, match=r"expected one size, got \[\(1, 2\), \(2, 1\)\]"):
        union([RunLengths((1, 2), np.array([2])), RunLengths((2, 1), np.array([2]))])
