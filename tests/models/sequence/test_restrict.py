"""Top-k and top-p keep exactly the set they say."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from linsight.models.sequence import restrict

# Whole numbers make ties, which are to keep the lower token.
LOGITS = st.lists(st.integers(-3, 3), min_size=2, max_size=7)


def _kept(logits: Tensor) -> list[list[int]]:
    return [row.isfinite().nonzero()[:, 0].tolist() for row in logits]


@given(first=LOGITS, k=st.integers(1, 8))
def test_top_k_keeps_the_k_likeliest(first: list[int], k: int) -> None:
    logits = torch.tensor([first, first[::-1]], dtype=torch.float64)
    found = restrict(logits, top_k=k)
    for kept, row in zip(_kept(found), logits.tolist(), strict=True):
        ranked = sorted(range(len(row)), key=lambda token: (-row[token], token))
        assert kept == sorted(ranked[:k])
    assert torch.equal(found[found.isfinite()], logits[found.isfinite()])


@given(logits=LOGITS, p=st.floats(0.01, 0.999))
def test_top_p_keeps_the_smallest_set_of_likeliest_tokens_that_reaches_p(logits: list[int], p: float) -> None:
    """Every token kept was needed: without the last, the set does not reach p; the likeliest always stays."""
    weights = torch.tensor(logits, dtype=torch.float64).softmax(0).tolist()
    ranked = sorted(range(len(logits)), key=lambda token: (-weights[token], token))
    sums = [sum(weights[token] for token in ranked[:size]) for size in range(len(ranked) + 1)]
    if min(abs(value - p) for value in sums) < 1e-9:
        return  # on the edge, where rounding decides
    size = next(size for size, value in enumerate(sums) if value >= p)
    found = restrict(torch.tensor([logits], dtype=torch.float64), top_p=p)
    assert _kept(found) == [sorted(ranked[:size])]


def test_a_set_that_reaches_p_exactly_is_enough() -> None:
    logits = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64).log2() * math.log(2)
    assert logits.softmax(-1).tolist() == [[0.25, 0.5, 0.25]]
    assert _kept(restrict(logits, top_p=0.5)) == [[1]]
    assert _kept(restrict(logits, top_p=0.500001)) == [[0, 1]]
    assert _kept(restrict(logits, top_p=0.75)) == [[0, 1]]
    assert _kept(restrict(logits, top_p=0.750001)) == [[0, 1, 2]]


def test_everything_is_kept_by_p_1_and_by_k_of_the_whole_vocabulary() -> None:
    """Even tokens of 1e-30, which a float32 sum of probabilities does not see."""
    logits = torch.tensor([[0.0, -70.0, -20.0, -70.0]])
    for options in ({"top_p": 1.0}, {"top_k": 4}, {"top_k": 100}, {}, {"top_k": 4, "top_p": 1.0}):
        assert torch.equal(restrict(logits, **options), logits)


def test_top_p_after_top_k_counts_the_probability_that_is_left() -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]], dtype=torch.float64).log()
    assert _kept(restrict(logits, top_p=0.5)) == [[0, 1]]
    assert _kept(restrict(logits, top_k=2, top_p=0.5)) == [[0]]
    assert _kept(restrict(logits, top_k=2, top_p=0.6)) == [[0, 1]]


def test_the_arguments_are_not_changed() -> None:
    logits = torch.randn(3, 6)
    kept = logits.clone()
    restrict(logits, top_k=2, top_p=0.5)
    assert torch.equal(logits, kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k: expected at least 1, got 0"),
        ({"top_p": 0.0}, r"top_p: expected a number in \(0, 1\]"),
    ],
)
def test_sets_that_would_be_empty_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restrict(torch.randn(1, 3), **options)
