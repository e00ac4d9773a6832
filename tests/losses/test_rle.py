"""Residual log-likelihood: the published formulas written out, the numbers of the specification, the laws."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from linsight.densities import RealNVP
from linsight.losses import (
    exact_rle,
    flow_log_prob,
    gaussian_nll,
    log_normalizer,
    mmpose_rle,
    official_rle,
    selected_mean,
)

MEAN = torch.tensor([[0.10, -0.20], [0.30, 0.0]], dtype=torch.float64)
TRUTH = torch.tensor([[0.13, -0.16], [0.30, 0.02]], dtype=torch.float64)
SIGMA = torch.tensor([[0.05, 0.08], [0.02, 0.01]], dtype=torch.float64)
ERROR = MEAN - TRUTH
LOG_Z = 2 * math.log(math.exp(0.5) * 0.5 * math.erfc(1 / math.sqrt(2)))
VARIANTS = [official_rle, mmpose_rle, exact_rle]


def moved(dim: int = 2, seed: int = 0) -> RealNVP:
    torch.manual_seed(seed)
    flow = RealNVP(dim).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return flow


def plane(width: float, number: int) -> tuple[Tensor, float]:
    """Midpoints of number x number square cells about 0, and the area of one."""
    line = width / number * (torch.arange(number, dtype=torch.float64) + 0.5) - width / 2
    return torch.cartesian_prod(line, line), (width / number) ** 2


def literal_log_prob(flow: RealNVP, x: Tensor) -> Tensor:
    """The published loop, one vector at a time, by the weights alone."""

    def network(layers: torch.nn.Module, z: Tensor) -> Tensor:
        linear = [layer for layer in layers.modules() if isinstance(layer, torch.nn.Linear)]
        for number, layer in enumerate(linear):
            z = layer.weight @ z + layer.bias
            if number < len(linear) - 1:
                z = torch.where(z > 0, z, 0.01 * z)
        return z

    masks = {2: ([0.0, 1.0], [1.0, 0.0]), 3: ([0.0, 0.0, 1.0], [1.0, 1.0, 0.0])}[flow.dim]
    results = []
    for z in x:
        log_det = torch.zeros((), dtype=x.dtype)
        for i in reversed(range(6)):
            mask = torch.tensor(masks[i % 2], dtype=x.dtype)
            known = mask * z
            s = torch.tanh(network(flow.couplings[i].scale, known)) * (1 - mask)
            t = network(flow.couplings[i].shift, known) * (1 - mask)
            z = (1 - mask) * (z - t) * torch.exp(-s) + known
            log_det = log_det - s.sum()
        normal = sum(-0.5 * value**2 - 0.5 * math.log(2 * math.pi) for value in z)
        results.append(log_det + normal)
    return torch.stack(results)


def literal_official(error: Tensor, sigma: Tensor, log_phi: Tensor) -> list[float]:
    """Term by term, as the public code adds them: log phi in each coordinate, log sigma twice."""
    totals = []
    for e_row, s_row, phi in zip(error.tolist(), sigma.tolist(), log_phi.tolist(), strict=True):
        total = 0.0
        for e, s in zip(e_row, s_row, strict=True):
            total += math.log(s) - phi
            total += math.log(s * math.sqrt(2 * math.pi)) + abs(e) / (math.sqrt(2) * s + 1e-9)
        totals.append(total)
    return totals


@pytest.mark.parametrize("dim", [2, 3])
def test_the_flow_is_the_published_loop(dim: int) -> None:
    flow, x = moved(dim), torch.randn(20, dim, dtype=torch.float64)
    want = literal_log_prob(flow, x)
    assert ((flow_log_prob(flow, x) - want) / want).abs().max() < 1e-12


def test_the_numbers_of_the_specification() -> None:
    """Identity flow: log phi is that of N(0, I); every column of the table of section 6."""
    flow = RealNVP(2).double()
    log_phi = flow_log_prob(flow, ERROR / SIGMA)
    assert log_phi.tolist() == pytest.approx([-2.142877066, -3.837877066], abs=1e-9)
    official = official_rle(ERROR, SIGMA, flow)
    assert official.loss.tolist() == pytest.approx([-4.141473186, -6.106541721], abs=1e-6)
    assert mmpose_rle(ERROR, SIGMA, flow).loss.tolist() == pytest.approx(
        [-4.270873342, -5.972337889], abs=1e-6
    )
    exact = exact_rle(ERROR, SIGMA, flow, normalizer=None)
    assert exact.loss.tolist() == pytest.approx([-0.892289490, -1.293021764], abs=1e-9)
    assert (exact.loss + LOG_Z).tolist() == pytest.approx([-3.574332780, -3.975065054], abs=1e-8)
    quadrature = 2 * math.log(0.2615481)
    assert exact_rle(ERROR, SIGMA, flow).loss.tolist() == pytest.approx(
        [value + quadrature for value in exact.loss.tolist()], abs=4e-7
    )
    for values in (official, mmpose_rle(ERROR, SIGMA, flow), exact):
        assert values.nll.tolist() == pytest.approx([-3.378584, -4.679316], abs=1e-6)
        assert values.nll.tolist() == pytest.approx(gaussian_nll(ERROR, SIGMA).tolist(), abs=1e-6)


def test_the_published_reduction_divides_by_the_batch_alone() -> None:
    """(-4.141473186 - 6.106541721) / 2, and the same over two joints of one image is their sum."""
    flow = RealNVP(2).double()

    def loss(error: Tensor, sigma: Tensor) -> Tensor:
        return official_rle(error, sigma, flow).loss

    two_images, ones = (ERROR[:, None], SIGMA[:, None]), torch.ones(2, 1, dtype=torch.float64)
    assert selected_mean(loss, ones, *two_images, per_image=True).item() == pytest.approx(
        -5.124007454, abs=1e-6
    )
    two_joints = (ERROR[None], SIGMA[None])
    assert selected_mean(loss, ones.T, *two_joints, per_image=True).item() == pytest.approx(
        -10.248014907, abs=1e-6
    )
    assert selected_mean(loss, ones.T, *two_joints).item() == pytest.approx(-5.124007454, abs=1e-6)


@pytest.mark.parametrize("dim", [2, 3])
def test_official_is_its_formula_written_out(dim: int) -> None:
    flow = moved(dim)
    error, sigma = 0.1 * torch.randn(7, dim).double(), 0.02 + 0.1 * torch.rand(7, dim).double()
    found = official_rle(error, sigma, flow)
    log_phi = literal_log_prob(flow, error / sigma)
    assert found.loss.tolist() == pytest.approx(literal_official(error, sigma, log_phi), abs=1e-9)


@pytest.mark.parametrize("base", ["laplace", "gaussian"])
@pytest.mark.parametrize("residual", [True, False])
def test_mmpose_is_its_formula_written_out(base: str, residual: bool) -> None:
    flow = moved()
    error, sigma = 0.1 * torch.randn(7, 2).double(), 0.02 + 0.1 * torch.rand(7, 2).double()
    found = mmpose_rle(error, sigma, flow, base=base, residual=residual).loss
    x = error / (sigma + 1e-9)
    log_phi = literal_log_prob(flow, x)
    for row in range(7):
        total = 0.0
        for d in range(2):
            s, value = sigma[row, d].item(), x[row, d].item()
            total += math.log(s) - log_phi[row].item()
            if residual and base == "laplace":
                total += math.log(2 * s) + abs(value)
            elif residual:
                total += math.log(s * math.sqrt(2 * math.pi)) + value**2 / 2
        assert found[row].item() == pytest.approx(total, abs=1e-9)


@torch.no_grad()
def test_exact_and_the_flow_by_itself_are_densities_of_the_truth_and_official_is_none() -> None:
    """exp(-loss) over y in the plane, midpoints of 240 x 240 cells within 7.2 sigma."""
    flow, mean, sigma = moved(), torch.tensor([0.2, -0.3]), torch.tensor([0.05, 0.08])
    points, area = plane(14.4, 240)
    truth, area = mean - points * sigma, area * sigma.prod().item()

    def masses(variant: Callable, **options: object) -> list[float]:
        parts = [variant(mean - y, sigma.double().expand_as(y), flow, **options) for y in truth.split(8000)]
        return [sum((-part[i]).exp().sum().item() for part in parts) * area for i in range(2)]

    assert masses(exact_rle, points=48) == pytest.approx([1, 1], abs=1e-3)
    assert masses(exact_rle, normalizer=None)[0] < 0.5
    official, flow_alone = masses(official_rle)
    assert abs(official - 1) > 0.1
    assert flow_alone == pytest.approx(1, abs=1e-3)


def test_the_normaliser_is_the_integral_of_both_densities() -> None:
    """0.2615782919 an axis for the identity flow; a fine grid for a moved one; three axes by a product."""
    identity = RealNVP(2).double()
    assert abs(LOG_Z + 2.682043290) < 1e-9
    for points, axis in ((24, 0.2615481), (32, 0.2615695)):
        assert log_normalizer(identity, points).item() == pytest.approx(2 * math.log(axis), abs=4e-7)
    assert log_normalizer(RealNVP(3).double(), 24).item() == pytest.approx(3 * math.log(0.2615481), abs=6e-7)
    assert log_normalizer(identity).item() == log_normalizer(identity, 24).item()
    assert log_normalizer(RealNVP(3).double()).item() == log_normalizer(RealNVP(3).double(), 10).item()
    flow = moved().requires_grad_(False)
    points, area = plane(14.4, 240)
    fine = sum((flow.log_prob(x) - x.abs().sum(-1)).exp().sum().item() for x in points.split(8000)) * area / 4
    assert log_normalizer(flow).item() == pytest.approx(math.log(fine), abs=3e-3)
    assert log_normalizer(flow, 96).item() == pytest.approx(math.log(fine), abs=1e-3)


def gradients(flow: RealNVP, **options: object) -> list[Tensor]:
    error, sigma = ERROR.clone().requires_grad_(), SIGMA.clone().requires_grad_()
    loss = exact_rle(error, sigma, flow, **options).loss.sum()
    return list(torch.autograd.grad(loss, [error, sigma, *flow.parameters()]))


def test_log_z_is_in_the_value_and_by_default_not_in_the_gradient() -> None:
    flow = moved()
    detached, without, whole = (gradients(flow, normalizer=kind) for kind in ("detach", None, "grad"))
    assert all(torch.equal(one, other) for one, other in zip(detached, without, strict=True))
    assert [torch.equal(one, other) for one, other in zip(detached[:2], whole[:2], strict=True)] == [True] * 2
    log_z = torch.autograd.grad(2 * log_normalizer(flow), list(flow.parameters()))
    for one, other, part in zip(whole[2:], without[2:], log_z, strict=True):
        assert (one - other - part).abs().max() < 1e-12
    assert max(part.abs().max().item() for part in log_z) > 1e-3
    detached, without, whole = (
        exact_rle(ERROR, SIGMA, flow, normalizer=kind).loss for kind in ("detach", None, "grad")
    )
    assert torch.equal(detached, whole)
    assert (detached - without - log_normalizer(flow)).abs().max() < 1e-12


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_run_through_the_flow_into_mean_and_sigma(variant: Callable) -> None:
    """Nothing is detached: they are those of finite differences, the flow's part included."""
    flow = moved()
    error, sigma = (0.3 * torch.randn(3, 2).double()).requires_grad_(), torch.rand(3, 2).double() + 0.2
    sigma.requires_grad_()
    assert torch.autograd.gradcheck(lambda e, s: variant(e, s, flow).loss, (error, sigma))
    found = torch.autograd.grad(variant(error, sigma, flow).loss.sum(), [error, *flow.parameters()])
    assert all(part.abs().max() > 0 for part in found)


@pytest.mark.parametrize("variant", VARIANTS)
def test_beyond_the_limit_the_base_alone_pulls_and_nothing_overflows(variant: Callable) -> None:
    """An error of 10,000 crops at a sigma of 1/1000: x = 1e7 in float32."""
    flow = moved().float()
    error = torch.tensor([[1e4, -1e4]], requires_grad=True)
    sigma = torch.full((1, 2), 1e-3, requires_grad=True)
    values = variant(error, sigma, flow)
    values.loss.sum().backward()
    for tensor in (values.loss, values.nll, error.grad, sigma.grad, *(p.grad for p in flow.parameters())):
        assert tensor.isfinite().all()
    slope = 1 / (1e-3 * math.sqrt(2)) if variant is official_rle else 1e3
    assert error.grad.flatten().tolist() == pytest.approx([slope, -slope], rel=1e-4)
    far, farther = (flow_log_prob(flow, torch.tensor([[value, 0.0]])) for value in (50.0, 1e7))
    assert torch.equal(far, farther)
    assert not torch.equal(far, flow_log_prob(flow, torch.tensor([[1e7, 0.0]]), 100.0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_autocast_leaves_the_flow_in_float32(variant: Callable) -> None:
    flow, error, sigma = moved().float(), 0.1 * torch.randn(50, 2), 0.1 + 0.1 * torch.rand(50, 2)
    want = variant(error, sigma, flow)
    with torch.autocast("cpu", torch.bfloat16):
        found = variant(error, sigma, flow)
        assert flow.log_prob(error).dtype == torch.bfloat16 or not torch.equal(
            flow.log_prob(error), flow_log_prob(flow, error)
        ), "autocast does nothing here, so this test shows nothing"
    for one, other in zip(found, want, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_masked_joint_never_enters_the_flow(variant: Callable, value: float) -> None:
    """Whatever its truth is: the loss and every gradient are those without it, to the last bit."""
    flow = moved()
    weight = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    mean, sigma, truth = (torch.rand(2, 2, 2).double() for _ in range(3))

    def run(truth: Tensor) -> list[Tensor]:
        leaves = [mean.clone().requires_grad_(), sigma.clone().requires_grad_()]
        loss = selected_mean(
            lambda m, s, y: variant(m - y, s, flow).loss, weight, leaves[0], leaves[1], truth
        )
        return [loss, *torch.autograd.grad(loss, [*leaves, *flow.parameters()])]

    broken = truth.clone()
    broken[0, 1] = value
    for one, other in zip(run(broken), run(truth), strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, other)


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_a_joint_the_loss_is_0_with_gradients_of_zeros(variant: Callable) -> None:
    """Zeros, not None: processes that average gradients wait for every parameter."""
    flow, nothing = moved(), torch.full((2, 3, 2), torch.nan, dtype=torch.float64, requires_grad=True)
    loss = selected_mean(lambda e: variant(e, e, flow).loss, torch.zeros(2, 3), nothing)
    loss.backward()
    assert loss.item() == 0
    for parameter in (nothing, *flow.parameters()):
        assert parameter.grad is not None
        assert not parameter.grad.any()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: official_rle(ERROR, SIGMA, moved(3)), "flow: expected one of dim 2, as x has, got 3"),
        (lambda: exact_rle(ERROR[:, :1], SIGMA[:, :1], moved()), "x: expected 2 or 3 coordinates, got 1"),
        (lambda: mmpose_rle(ERROR, SIGMA, moved(), limit=0.0), "limit: expected a number above 0, got 0.0"),
        (lambda: mmpose_rle(ERROR, SIGMA, moved(), base="cauchy"), "base: expected 'laplace' or 'gaussian'"),
        (
            lambda: exact_rle(ERROR, SIGMA, moved(), normalizer="none"),
            "normalizer: expected 'detach', 'grad' or None, got 'none'",
        ),
        (lambda: log_normalizer(moved(), 0), "points: expected at least 1, got 0"),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(Exception, match=match):
        call()
