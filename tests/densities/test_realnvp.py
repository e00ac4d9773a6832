"""RealNVP is invertible, its density integrates to one, and its samples follow it."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from linsight.densities import RealNVP


def moved(dim: int = 2, seed: int = 0, **options: int) -> RealNVP:
    """A flow in float64 with every parameter moved off its initial value."""
    torch.manual_seed(seed)
    flow = RealNVP(dim, **options).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return flow


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bent(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points about a parabola, and log of the density that they are drawn from."""
    noise = torch.randn(number, 2, generator=seeded(seed), dtype=torch.float64)
    log_p = torch.distributions.Normal(0, 1).log_prob(noise).sum(1) - math.log(0.3)
    return torch.stack([noise[:, 0], noise[:, 0].square() - 1 + 0.3 * noise[:, 1]], dim=1), log_p


@pytest.fixture(scope="module")
def trained() -> RealNVP:
    torch.manual_seed(0)
    flow, (x, _) = RealNVP(2, hidden=32).double(), bent(8192, seed=1)
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 300)
    for batch in x.repeat(10, 1).split(256)[:300]:
        optimiser.zero_grad()
        (-flow.log_prob(batch).mean()).backward()
        optimiser.step()
        schedule.step()
    return flow.requires_grad_(False)


def grid(half: float, number: int) -> tuple[Tensor, float]:
    """Midpoints of square cells over [-half, half]^2, and the area of one."""
    side = 2 * half / number
    line = side * (torch.arange(number, dtype=torch.float64) + 0.5) - half
    return torch.cartesian_prod(line, line), side * side


@pytest.mark.parametrize("dim", [2, 3, 4, 7])
@pytest.mark.parametrize("layers", [2, 5, 6])
def test_the_inverse_undoes_the_flow_both_ways(dim: int, layers: int) -> None:
    flow, x = moved(dim, layers=layers), torch.randn(50, dim, dtype=torch.float64)
    assert (flow.inverse(flow(x)[0]) - x).abs().max() < 1e-10
    assert (flow(flow.inverse(x))[0] - x).abs().max() < 1e-10
    assert (flow(x)[0] - x).abs().min(0).values.max() > 1e-3, "some coordinate is not moved at all"


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_the_log_determinant_is_that_of_the_jacobian(dim: int) -> None:
    flow, x = moved(dim), torch.randn(10, dim, dtype=torch.float64)
    for row, log_det in zip(x, flow(x)[1], strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda z: flow(z)[0], row)
        assert (torch.linalg.slogdet(jacobian).logabsdet - log_det).abs() < 1e-10


def test_every_coordinate_depends_on_every_other() -> None:
    flow, x = moved(5), torch.randn(5, dtype=torch.float64)
    assert (torch.autograd.functional.jacobian(lambda z: flow(z)[0], x).abs() > 1e-9).all()


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_a_fresh_flow_is_the_standard_normal(dim: int) -> None:
    flow, x = RealNVP(dim).double(), torch.randn(20, dim, dtype=torch.float64)
    want = torch.distributions.Normal(0, 1).log_prob(x).sum(-1)
    assert (flow.log_prob(x) - want).abs().max() < 1e-14
    assert torch.equal(flow.inverse(x), x)


@torch.no_grad()
def test_the_density_of_random_weights_integrates_to_one() -> None:
    points, area = grid(10, 250)
    assert moved().log_prob(points).exp().sum().item() * area == pytest.approx(
        1, abs=1e-3
    )  # the midpoint rule meets kinks


def test_a_law_is_learnt_within_a_twentieth_of_a_nat_where_the_best_normal_is_a_nat_away(
    trained: RealNVP,
) -> None:
    """What remains above the entropy is KL(p || q)."""
    x, log_p = bent(8192, seed=2)
    normal = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    assert (log_p - normal.log_prob(x)).mean() > 1
    assert -0.01 < (log_p - trained.log_prob(x)).mean() < 0.05


def test_samples_follow_the_density_which_integrates_to_one(trained: RealNVP) -> None:
    """Chi-square over the cells of a grid, each integrated by 4 x 4 midpoints."""
    number, half, cells, parts = 20_000, 8.0, 64, 4
    points, area = grid(half, cells * parts)
    mass = (trained.log_prob(points).exp() * area).view(cells, parts, cells, parts).sum((1, 3)).flatten()
    assert mass.sum().item() == pytest.approx(1, abs=1e-2)

    samples = trained.sample(number, generator=seeded())
    place = ((samples + half) / (2 * half) * cells).long().clamp(0, cells - 1)
    observed = torch.bincount(place[:, 0] * cells + place[:, 1], minlength=cells**2).double()
    often = number * mass >= 5

    def p_value(expected: Tensor) -> float:
        observed_often = torch.cat([observed[often], observed[~often].sum()[None]])
        expected_often = torch.cat([expected[often], number - expected[often].sum()[None]])
        return float(stats.chisquare(observed_often.numpy(), expected_often.numpy()).pvalue)

    assert p_value(number * mass) > 1e-4
    assert p_value(number * mass.view(cells, cells).roll(1, 0).flatten().clamp(min=1e-3)) < 1e-4


def test_samples_pushed_back_are_normal_noise() -> None:
    flow = moved(3)
    z = flow(flow.sample(5000, generator=seeded()))[0]
    for coordinate in z.detach().T:
        assert stats.kstest(coordinate.numpy(), "norm").pvalue > 1e-4


def test_a_generator_fixes_the_samples() -> None:
    flow = moved()
    first, second, other = (flow.sample(9, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.dtype == torch.float64
    assert not first.requires_grad


def test_any_number_of_leading_axes_is_a_batch() -> None:
    flow, x = moved(), torch.randn(4, 17, 2, dtype=torch.float64)
    assert flow.log_prob(x).shape == (4, 17)
    assert (flow.log_prob(x).flatten() - flow.log_prob(x.view(-1, 2))).abs().max() < 1e-12
    assert flow.log_prob(x[0, 0]).shape == ()
    assert flow.log_prob(x[:0]).shape == (0, 17)


def test_all_gradients_are_finite_also_of_residuals_far_out() -> None:
    flow = moved().float()
    x = torch.tensor([[0.0, 0.0], [50.0, -50.0], [1e-20, 3.0]], requires_grad=True)
    flow.log_prob(x).sum().backward()
    for tensor in (x, *flow.parameters()):
        assert torch.isfinite(tensor.grad).all()
        assert (tensor.grad != 0).any()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_row_that_is_not_finite_spoils_no_other(value: float) -> None:
    flow, x = moved(), torch.randn(5, 2, dtype=torch.float64)
    want = flow.log_prob(x)
    x[2, 1] = value
    found = flow.log_prob(x)
    assert not found[2].isfinite()
    others = [0, 1, 3, 4]
    assert (found[others] - want[others]).abs().max() < 1e-12


def test_float32_stays_near_float64() -> None:
    flow, x = moved(), torch.randn(100, 2, dtype=torch.float64)
    want = flow.log_prob(x)
    assert (flow.float().log_prob(x.float()) - want).abs().max() < 1e-4


def test_saving_and_loading_keeps_every_bit() -> None:
    flow, other, x = moved(seed=0), moved(seed=1), torch.randn(9, 2, dtype=torch.float64)
    assert not torch.equal(flow.log_prob(x), other.log_prob(x))
    other.load_state_dict(flow.state_dict())
    assert torch.equal(flow.log_prob(x), other.log_prob(x))


def test_the_networks_are_those_of_residual_log_likelihood_estimation() -> None:
    """6 couplings of two networks 2-64-64-2: 53,784 parameters (spec/pose.md, section 6)."""
    assert sum(parameter.numel() for parameter in RealNVP(2).parameters()) == 6 * 2 * (192 + 4160 + 130)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: RealNVP(1), "dim: expected at least 2, got 1"),
        (lambda: RealNVP(2, layers=1), "layers: expected at least 2, got 1"),
        (lambda: RealNVP(2, hidden=0), "hidden: expected at least 1, got 0"),
        (lambda: RealNVP(2).sample(0), "n: expected at least 1, got 0"),
        (
            lambda: RealNVP(2).log_prob(torch.zeros(5, 3)),
            r"x: expected shape \(..., dim 2\), got \(5, 3\)",
        ),
        (lambda: RealNVP(2).inverse(torch.zeros(3)), r"z: expected shape \(..., dim 2\), got \(3,\)"),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
