"""Counted densities are laws before they are fitted, and for labels that were never seen."""

import itertools
import math

import pytest
import torch

from linsight.densities import IndependentBernoulli, NaiveBayes

EVERY = torch.tensor(list(itertools.product((0, 1), repeat=4)), dtype=torch.uint8).view(16, 2, 2)


@pytest.mark.parametrize(
    "density", [NaiveBayes(2, 2, 3), IndependentBernoulli(2, 2)], ids=["bayes", "pixels"]
)
def test_nothing_counted_is_the_uniform_law(density: NaiveBayes) -> None:
    log_p = density.log_prob(EVERY)
    torch.testing.assert_close(log_p, torch.full((16,), -4 * math.log(2), dtype=torch.float64))
    assert density.sample(5, generator=torch.Generator().manual_seed(0)).shape == (5, 2, 2)


def test_a_label_that_was_not_counted_has_no_probability_and_fair_pixels() -> None:
    density = NaiveBayes(2, 2, 3).fit(EVERY[3:9], torch.tensor([0, 2, 0, 0, 2, 2]))
    y = torch.full((16,), 1)
    assert density.log_prob(EVERY, y).tolist() == [-math.inf] * 16
    torch.testing.assert_close(
        density.log_prob_given(EVERY, y), torch.full((16,), -4 * math.log(2), dtype=torch.float64)
    )
    assert density.log_prob(EVERY).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_counting_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="x: expected at least one image to count, got none"):
        IndependentBernoulli(2, 2).fit(EVERY[:0])
