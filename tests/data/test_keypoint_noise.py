"""Label noise of keypoints: what is drawn has the density that is said, joint by joint."""

import math

import pytest
import torch

from linsight.data.keypoint_noise import Swap, keypoint_noise, kinds, log_density, noisy, num_uniforms
from linsight.data.noise_laws import Hetero, noise_law

PAIRS = ((1, 2),)
UNIT = torch.tensor([[48.0, 64.0]], dtype=torch.float64)
TRUTH = torch.tensor([[[10.0, 20.0], [30.0, 12.0], [20.4, 18.4]]], dtype=torch.float64)


def _drawn(law, number: int = 40_000, visibility: tuple[int, ...] = (2, 2, 2), pairs=PAIRS) -> torch.Tensor:
    uniform = torch.rand(number, 3, num_uniforms(law), dtype=torch.float64)
    truth, unit = TRUTH.expand(number, -1, -1), UNIT.expand(number, -1)
    return noisy(law, truth, torch.tensor(visibility).expand(number, -1), unit, uniform, pairs)


def test_there_are_the_laws_of_residuals_and_swap() -> None:
    assert kinds() == ("none", "gauss", "laplace", "hetero", "outlier", "skew", "swap")
    for kind in kinds():
        assert keypoint_noise(kind).kind == kind
    assert keypoint_noise("hetero", clear=0.02) == Hetero(0.02)


def test_without_noise_labels_are_the_truth() -> None:
    assert torch.equal(_drawn(keypoint_noise("none"), 3), TRUTH.expand(3, -1, -1))


def test_hetero_depends_on_visibility() -> None:
    """0.01 of the unit where a joint is seen, 0.05 where it is hidden or not there."""
    errors = (_drawn(keypoint_noise("hetero"), visibility=(2, 1, 0)) - TRUTH) / UNIT
    assert errors.std(0) == pytest.approx(
        torch.tensor([[0.01] * 2, [0.05] * 2, [0.05] * 2]).numpy(), rel=0.03
    )
    assert errors.mean(0).abs().max() < 0.001


@pytest.mark.parametrize("kind", ["gauss", "laplace", "outlier", "skew", "hetero"])
def test_other_laws_are_those_of_residuals_in_units(kind: str) -> None:
    """Of the same uniform numbers, and with the same density."""
    law = noise_law(kind)
    uniform = torch.rand(5, 3, num_uniforms(law), dtype=torch.float64)
    visibility = torch.tensor([[2, 1, 0]]).expand(5, -1)
    clarity = torch.tensor([1.0, 0.0, 0.0]).expand(5, -1)
    truth, unit = TRUTH.expand(5, -1, -1), UNIT.expand(5, -1)
    labels = noisy(law, truth, visibility, unit, uniform)
    residual = law.residual(uniform, clarity)
    assert torch.allclose(labels, truth + UNIT * residual, atol=1e-12)
    found = log_density(law, labels, truth, visibility, unit)
    assert torch.allclose(found, law.log_prob(residual, clarity), atol=1e-6)


def test_both_joints_of_a_pair_are_exchanged_or_neither() -> None:
    """With the probability of the share; a joint without partner never is."""
    law = Swap(share=0.3, scale=1e-6)
    labels = _drawn(law)
    there = (labels - TRUTH).abs().amax(-1) < 1e-3
    partner = (labels - TRUTH[:, [0, 2, 1]]).abs().amax(-1) < 1e-3
    assert there[:, 0].all()
    assert (there | partner).all()
    assert torch.equal(partner[:, 1], partner[:, 2])
    assert partner[:, 1].double().mean() == pytest.approx(0.3, abs=0.01)
    alone = _drawn(law, 200, pairs=())
    assert (alone - TRUTH).abs().max() < 1e-3


def test_each_pair_is_exchanged_by_a_number_of_its_own() -> None:
    truth = torch.arange(8.0).reshape(1, 4, 2).expand(4000, -1, -1)
    uniform = torch.rand(4000, 4, 3)
    seen = torch.full((4000, 4), 2)
    unit = torch.ones(4000, 2)
    labels = noisy(Swap(0.5, 1e-6), truth, seen, unit, uniform, ((0, 3), (2, 1)))
    first, second = ((labels - truth)[:, joint].abs().amax(-1) > 0.5 for joint in (0, 1))
    assert (first & second).double().mean() == pytest.approx(0.25, abs=0.03)


def test_the_density_of_swap_is_the_mixture_by_hand_and_integrates_to_1() -> None:
    """0.8 N(0; 0, s) + 0.2 N(0; d, s) with d = (-0.2, 0.1) and s = 0.1, at the truth: d^2 = 5 s^2."""
    law = Swap(share=0.2, scale=0.1)
    seen = torch.full((1, 3), 2)
    at_truth = log_density(law, TRUTH, TRUTH, seen, UNIT, PAIRS)[0]
    peak = 1 / (2 * math.pi * 0.01)
    assert at_truth[0] == pytest.approx(math.log(peak), abs=1e-9)
    assert at_truth[1] == pytest.approx(math.log(peak * (0.8 + 0.2 * math.exp(-2.5))), abs=1e-9)
    axis = torch.linspace(-1, 1, 201, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 1, 2)
    labels = TRUTH + UNIT * grid
    number = len(labels)
    found = log_density(
        law, labels, TRUTH.expand(number, -1, -1), seen.expand(number, -1), UNIT.expand(number, -1), PAIRS
    )
    assert found.exp().sum(0).mul(0.01**2).tolist() == pytest.approx([1, 1, 1], abs=1e-6)


def test_labels_have_the_density_of_swap() -> None:
    """The mean log density of what is drawn is minus the entropy, by sums over a grid."""
    law = Swap(share=0.2, scale=0.05)
    labels = _drawn(law)
    number = len(labels)
    arguments = (TRUTH.expand(number, -1, -1), torch.full((number, 3), 2), UNIT.expand(number, -1), PAIRS)
    drawn = log_density(law, labels, *arguments).mean(0)
    axis = torch.linspace(-1, 1, 201, dtype=torch.float64)[:-1]
    grid = (TRUTH + UNIT * torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 1, 2))[
        :number
    ]
    log = log_density(law, grid, *arguments)
    assert len(grid) == number == 40_000
    entropy = -(log.exp() * log).sum(0) * 0.01**2
    assert (drawn + entropy).abs().max() < 0.02


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"keypoint noise 'flip' is not known; choose one of none, .*, skew, swap"
    ):
        keypoint_noise("flip")
    with pytest.raises(ValueError, match="keypoint noise 'swap' has no option 'p'; it has share, scale"):
        keypoint_noise("swap", p=0.1)
    for share in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="keypoint noise 'swap': share: expected between 0 and 1, got"):
            Swap(share=share)
    for scale in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="keypoint noise 'swap': scale: expected a number above 0, got"):
            Swap(scale=scale)
    seen = torch.full((1, 3), 2)
    with pytest.raises(ValueError, match="uniform: expected 3 numbers a keypoint for 'swap', got 2"):
        noisy(Swap(), TRUTH, seen, UNIT, torch.rand(1, 3, 2, dtype=torch.float64))
    for pairs in (((0, 0),), ((0, 1), (1, 2)), ((2, 3),)):
        with pytest.raises(ValueError, match="pairs: expected each of 3 joints in at most one pair, got"):
            log_density(Swap(), TRUTH, TRUTH, seen, UNIT, pairs)
    with pytest.raises(ValueError, match="noise law 'none' has no density"):
        log_density(keypoint_noise("none"), TRUTH, TRUTH, seen, UNIT)
