"""What the demonstrations show is so: decay against the scale of gradients, and two meanings of a decay."""

import pytest
import torch

from linsight.optim import AdamConfig, AdamWConfig, Examples, decay_map, decayed_mean

PURE = (1 - 1e-4) ** 1000


@pytest.mark.parametrize(("scale", "coupled"), [(0.01, 0.26), (1.0, 0.90), (100.0, 1.00)])
def test_coupled_decay_fades_with_the_gradients_and_decoupled_decay_does_not(scale, coupled):
    """Adam divides the decay by the root of E[g^2]: where g is 100 times wd p, a hundredth of it is left.

    The noise left in a mean of 2,000 weights, each a walk of 1,000 steps of at most 1e-3, is below 1e-3.
    """
    assert decayed_mean(scale, decoupled=False) == pytest.approx(coupled, abs=0.01)
    assert decayed_mean(scale, decoupled=True) == pytest.approx(PURE, abs=1e-3)


def digits(number, seed):
    """Two classes of points that a line tells apart but for noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (number,), generator=generator)
    x = torch.randn(number, 6, generator=generator) + 0.7 * (2 * y - 1)[:, None]
    return Examples(x, y)


SMALL = {"train": digits(100, 0), "test": digits(300, 1), "epochs": 5, "batch": 20, "hidden": 8}


def adam(lr, decay):
    return AdamConfig(lr=lr, weight_decay=decay)


def adamw(lr, decay):
    return AdamWConfig(lr=lr, weight_decay=decay)


def paper(lr, decay):
    return AdamWConfig(lr=lr, weight_decay=decay, wd_mode="paper")


def test_a_map_is_the_same_again_and_another_by_another_seed():
    one, two = (decay_map(adamw, [1e-3, 1e-2], [0.0, 1.0], **SMALL) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, decay_map(adamw, [1e-3, 1e-2], [0.0, 1.0], **SMALL, seed=1))


def test_without_decay_the_maps_are_equal():
    rates = [1e-3, 1e-2, 1e-1]
    assert torch.equal(decay_map(adam, rates, [0.0], **SMALL), decay_map(adamw, rates, [0.0], **SMALL))
    assert torch.equal(decay_map(adamw, rates, [0.0], **SMALL), decay_map(paper, rates, [0.0], **SMALL))


def test_the_papers_map_is_torchs_sheared():
    """Cells whose decay is lr wd are one run: rates that are powers of 2 divide without rounding."""
    for rate in (2.0**-9, 2.0**-7, 2.0**-5):
        one = decay_map(adamw, [rate], [0.5, 4.0, 8.0], **SMALL)
        assert torch.equal(one, decay_map(paper, [rate], [0.5 * rate, 4 * rate, 8 * rate], **SMALL))


def test_decay_and_rate_change_the_errors():
    """A map of one number would pass the tests above."""
    assert len(decay_map(adamw, [1e-4, 1e-2], [0.0, 60.0], **SMALL).unique()) > 1


def test_the_largest_rate_learns():
    assert decay_map(adamw, [1e-1], [0.0], **SMALL).item() < 15
