"""Losses with a formula: by hand, by quadrature, and by what their minimum is."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from linsight.losses import (
    binned_angle_loss,
    bins_kl,
    gaussian_nll,
    heatmap_mse,
    l1_loss,
    l2_loss,
    laplace_nll,
    map_js,
    pinball_loss,
    selected_mean,
    smooth_l1_loss,
    vmf_nll,
    wing_loss,
)

ERROR = torch.tensor([[0.10 - 0.13, -0.20 + 0.16], [0.0, -0.02]], dtype=torch.float64)
SIGMA = torch.tensor([[0.05, 0.08], [0.02, 0.01]], dtype=torch.float64)


def test_absolute_and_squared_errors_by_hand() -> None:
    error = torch.tensor([[3.0, -4.0], [0.0, 1.0]])
    assert l1_loss(error).tolist() == [7, 1]
    assert l2_loss(error).tolist() == [25, 1]


def test_smooth_l1_is_torchs_summed_over_coordinates() -> None:
    error = torch.linspace(-3, 3, 62).double().view(-1, 2)
    for beta in (0.25, 1.0, 2.0):
        want = F.smooth_l1_loss(error, torch.zeros_like(error), beta=beta, reduction="none").sum(-1)
        assert (smooth_l1_loss(error, beta) - want).abs().max() < 1e-12


def test_wing_by_hand_and_without_a_step() -> None:
    """w = 10, eps = 2: 10 ln 2 at |e| = 2; 20 - (10 - 10 ln 6) at 20; both formulas meet at |e| = 10."""
    found = wing_loss(torch.tensor([[2.0], [-20.0], [0.0]]).double())
    assert found.tolist() == pytest.approx([10 * math.log(2), 10 + 10 * math.log(6), 0], abs=1e-12)
    edge = wing_loss(torch.tensor([[10 - 1e-9], [10 + 1e-9]]).double())
    assert edge[0].item() == pytest.approx(edge[1].item(), abs=1e-7)
    far = torch.tensor([[1e30]], requires_grad=True)
    wing_loss(far).sum().backward()
    assert far.grad.item() == 1


def test_the_likelihoods_of_the_specification() -> None:
    """Section 6, "NLL checks", and scipy."""
    assert laplace_nll(ERROR, SIGMA).tolist() == pytest.approx([-3.0352, -5.1309], abs=5e-5)
    assert gaussian_nll(ERROR, SIGMA).tolist() == pytest.approx([-3.3786, -4.6793], abs=5e-5)
    for nll, law in ((laplace_nll, stats.laplace), (gaussian_nll, stats.norm)):
        want = -law.logpdf(ERROR.numpy(), scale=SIGMA.numpy()).sum(-1)
        assert nll(ERROR, SIGMA).tolist() == pytest.approx(want.tolist(), abs=1e-12)
        one = nll(ERROR, SIGMA[:, :1])
        assert (one - nll(ERROR, SIGMA[:, :1].expand(-1, 2))).abs().max() < 1e-12, "one scale is that of each"


def sphere(number: int) -> tuple[Tensor, Tensor]:
    """Directions at midpoints of (cos, longitude), and the solid angle of each."""
    c = (torch.arange(number, dtype=torch.float64) + 0.5) / number * 2 - 1
    a = (torch.arange(number, dtype=torch.float64) + 0.5) / number * 2 * math.pi
    c, a = torch.meshgrid(c, a, indexing="ij")
    s = (1 - c.square()).sqrt()
    points = torch.stack([s * a.cos(), s * a.sin(), c], -1).reshape(-1, 3)
    return points, torch.tensor(4 * math.pi / number**2)


@pytest.mark.parametrize("concentration", [0.0, 1e-6, 9.99e-4, 1.01e-3, 0.5, 20.0])
def test_von_mises_fisher_integrates_to_1_over_the_sphere(concentration: float) -> None:
    points, area = sphere(400)
    mean = F.normalize(torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64), dim=0)
    k = torch.tensor(concentration, dtype=torch.float64)
    nll = vmf_nll(mean.expand_as(points), points, k.expand(len(points)))
    assert ((-nll).exp().sum() * area).item() == pytest.approx(1, abs=1e-3)


def test_von_mises_fisher_at_both_ends_and_against_scipy() -> None:
    mean, other = torch.tensor([[[0.0, 0.0, 1.0]], [[0.0, 0.6, 0.8]]], dtype=torch.float64)
    for k in (0.01, 1.0, 30.0):
        want = -stats.vonmises_fisher(mean[0].numpy(), k).logpdf(other[0].numpy())
        assert vmf_nll(mean, other, torch.full((1,), k, dtype=torch.float64)).item() == pytest.approx(
            want, abs=1e-9
        )
    for k, want in ((0.0, math.log(4 * math.pi)), (1e6, math.log(2 * math.pi) - math.log(1e6))):
        single = torch.tensor([k], requires_grad=True)
        found = vmf_nll(mean.float(), mean.float(), single)
        assert found.item() == pytest.approx(want, abs=1e-5)
        (slope,) = torch.autograd.grad(found.sum(), single)
        assert slope.item() == pytest.approx(-1 if k == 0 else -1e-6, rel=1e-3, abs=1e-9)


def test_maps_and_bins_by_hand() -> None:
    ones, zeros = torch.ones(1, 2, 3), torch.zeros(1, 2, 3)
    ones[0, 0, 0] = 3
    assert heatmap_mse(ones, zeros).item() == pytest.approx(14 / 6)
    target = torch.tensor([[0.5, 0.5, 0.0]]).double()
    logits = torch.tensor([[0.25, 0.5, 0.25]]).double().log()
    assert bins_kl(logits, target).item() == pytest.approx(0.5 * math.log(2), abs=1e-12)
    assert bins_kl(target.clamp(min=1e-30).log(), target).item() == pytest.approx(0, abs=1e-12)
    apart = torch.zeros(2, 1, 2).double()
    apart[0, 0, 0] = apart[1, 0, 1] = 1
    assert map_js(apart[:1], apart[1:]).item() == pytest.approx(math.log(2), abs=1e-12)
    assert map_js(apart[:1], apart[:1]).item() == 0


def test_js_is_symmetric_equals_scipys_and_has_gradients_at_zeros() -> None:
    from scipy.spatial.distance import jensenshannon

    p, q = (torch.rand(5, 3, 4).double() for _ in range(2))
    p, q = (one / one.sum((-2, -1), keepdim=True) for one in (p, q))
    want = [jensenshannon(a.flatten(), b.flatten()) ** 2 for a, b in zip(p.numpy(), q.numpy(), strict=True)]
    assert map_js(p, q).tolist() == pytest.approx(want, abs=1e-12)
    assert (map_js(p, q) - map_js(q, p)).abs().max() < 1e-14
    zeros = torch.zeros(1, 2, 2, requires_grad=True)
    map_js(zeros, zeros.detach()).sum().backward()
    assert zeros.grad.isfinite().all()


def test_pinball_by_hand_and_at_the_quantiles() -> None:
    """Width 1: 0.1 + 0.1 at error 0, 0.3 + 0.9 at error 2; of a normal law, the best width is 1.2816."""
    one = torch.ones(1, 1)
    assert pinball_loss(0 * one, one).item() == pytest.approx(0.2)
    assert pinball_loss(2 * one, one).item() == pytest.approx(1.2)
    assert pinball_loss(-2 * one, one).item() == pytest.approx(1.2), "symmetric"
    errors = torch.tensor(stats.norm.ppf((torch.arange(2001).double().numpy() + 0.5) / 2001))[:, None]
    widths = torch.linspace(1.2, 1.36, 161).double()
    losses = torch.stack([pinball_loss(errors, width.expand_as(errors)).mean() for width in widths])
    assert widths[losses.argmin()].item() == pytest.approx(stats.norm.ppf(0.9), abs=2e-3)


def test_binned_angles_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    found = binned_angle_loss(logits, torch.tensor([1, 0]), torch.tensor([2.0, -1.0]), alpha=0.5)
    assert found.tolist() == pytest.approx([math.log(4 / 3) + 2, math.log(2) + 0.5])


def test_the_mean_is_over_selected_joints_and_linear_in_the_weights() -> None:
    error = torch.tensor([[[1.0], [2.0], [4.0]], [[8.0], [16.0], [32.0]]])
    weight = torch.tensor([[1.0, 0.0, 0.5], [0.0, 0.0, 2.0]])
    assert selected_mean(l1_loss, weight, error).item() == pytest.approx((1 + 2 + 64) / 3)
    assert selected_mean(l1_loss, 3 * weight, error).item() == pytest.approx(3 * (1 + 2 + 64) / 3)
    assert selected_mean(l1_loss, weight > 0, error).item() == pytest.approx((1 + 4 + 32) / 3)
    assert selected_mean(l1_loss, weight, error, per_image=True).item() == pytest.approx((1 + 2 + 64) / 2)


def test_half_precision_is_raised_to_float32() -> None:
    """300 squared is beyond float16."""
    error = torch.full((1, 2, 1), 300.0, dtype=torch.float16)
    found = selected_mean(l2_loss, torch.ones(1, 2), error)
    assert found.dtype == torch.float32
    assert found.item() == 90_000


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: smooth_l1_loss(ERROR, 0.0), "beta: expected a number above 0, got 0.0"),
        (lambda: wing_loss(ERROR, width=-1.0), "width: expected a number above 0, got -1.0"),
        (lambda: wing_loss(ERROR, curvature=math.nan), "curvature: expected a number above 0, got nan"),
        (
            lambda: pinball_loss(ERROR, SIGMA, 0.5),
            "quantile: expected a number between 0 and 0.5, got 0.5",
        ),
        (
            lambda: binned_angle_loss(torch.zeros(1, 2), torch.zeros(1).long(), torch.zeros(1), -1.0),
            "alpha: expected a number of at least 0, got -1.0",
        ),
        (
            lambda: selected_mean(l1_loss, torch.ones(2, 3), torch.ones(2, 2, 1)),
            r"arguments: expected \(batch, joints\) \(2, 3\) of weight first, got \(2, 2, 1\)",
        ),
        (
            lambda: selected_mean(l1_loss, torch.tensor([[-1.0]]), torch.ones(1, 1, 1)),
            "weight: expected numbers of at least 0, got a negative one or NaN",
        ),
        (
            lambda: selected_mean(l1_loss, torch.tensor([[math.nan]]), torch.ones(1, 1, 1)),
            "weight: expected numbers of at least 0, got a negative one or NaN",
        ),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
