"""Codecs with a sigma: hand values, densities that integrate to 1, levels uniform where they hold."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from linsight.densities import RealNVP
from linsight.models.vision.codecs import (
    RLE,
    Codec,
    Directions,
    Likelihood,
    Outputs,
    Pixels,
    PooledHead,
    Space,
    make_codec,
)
from linsight.ops import directions

CROP = Pixels(width=100, height=50)
GAZE = Directions()


def single(mean: Tensor, sigma: Tensor, truth: Tensor) -> tuple[Outputs, Outputs]:
    """Outputs and targets of one joint an image, all of weight 1."""
    outputs = {"mean": mean[:, None], "sigma": sigma[:, None]}
    return outputs, {"mean": truth[:, None], "weight": torch.ones(len(mean), 1, dtype=torch.float64)}


MEAN = torch.tensor([[0.10, -0.20], [0.30, 0.0]], dtype=torch.float64)
TRUTH = torch.tensor([[0.13, -0.16], [0.30, 0.02]], dtype=torch.float64)
SIGMA = torch.tensor([[0.05, 0.08], [0.02, 0.01]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "options", "want"),
    [
        ("rle", {}, (-4.141473186 - 6.106541721) / 2),
        ("rle", {"reduction": "official"}, (-4.141473186 - 6.106541721) / 2),
        ("rle", {"variant": "mmpose"}, (-4.270873342 - 5.972337889) / 2),
        ("rle_exact", {"normalizer": None}, (-0.892289490 - 1.293021764) / 2),
        ("rle_exact", {}, (-0.892289490 - 1.293021764) / 2 + 2 * math.log(0.2615481)),
        ("nll_gauss", {}, (-3.378584 - 4.679316) / 2),
        # Their Laplace scale is sigma / sqrt 2 here; by b = sigma it would be -3.0352 and -5.1309.
        ("nll_laplace", {}, (-3.0352 - 5.1309) / 2 - math.log(2) + (math.sqrt(2) - 1) * (1.1 + 2) / 2),
    ],
)
def test_losses_are_those_of_the_specification(name: str, options: dict, want: float) -> None:
    """Two images of a joint each, an identity flow: section 6's table through the codec."""
    codec = make_codec(name, Pixels(1, 1), **options).double()
    loss, parts = codec.loss(*single(MEAN, SIGMA, TRUTH))
    assert loss.item() == pytest.approx(want, abs=5e-5 if name == "nll_laplace" else 1e-6)
    if name != "nll_laplace":
        assert parts["nll"].item() == pytest.approx((-3.378584 - 4.679316) / 2, abs=1e-6)


def test_the_published_reduction_grows_with_the_joints() -> None:
    mean, sigma, truth = MEAN[None], SIGMA[None], TRUTH[None]
    targets = {"mean": truth, "weight": torch.ones(1, 2).double()}
    codec = make_codec("rle", Pixels(1, 1), reduction="official").double()
    loss, parts = codec.loss({"mean": mean, "sigma": sigma}, targets)
    assert loss.item() == pytest.approx(-4.141473186 - 6.106541721, abs=1e-6)
    assert parts["nll"].item() == pytest.approx((-3.378584 - 4.679316) / 2, abs=1e-6)


def draws(law: str, number: int = 4000) -> Tensor:
    """Errors in sigmas, (number, 2), of a law with a standard deviation of 1."""
    generator = torch.Generator().manual_seed(3)
    if law == "gaussian":
        return torch.randn(number, 2, generator=generator, dtype=torch.float64)
    u = torch.rand(number, 2, generator=generator, dtype=torch.float64) - 0.5
    return -u.sign() * torch.log1p(-2 * u.abs()) / math.sqrt(2)


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_levels_are_uniform_where_the_law_holds_and_not_where_it_does_not(law: str) -> None:
    """Kolmogorov-Smirnov over 4,000 draws, each with a sigma of its own; the wrong law is told."""
    error, sigma = draws(law), 0.05 * torch.rand(4000, 2, dtype=torch.float64) + 0.01
    outputs, targets = single(0.5 + error * sigma, sigma, torch.full_like(error, 0.5))
    for other in ("gaussian", "laplace"):
        level = Likelihood(CROP, law=other).level(outputs, targets)[:, 0]
        p = stats.kstest(level.numpy(), "uniform").pvalue
        assert (p > 1e-3) == (other == law), p
    wide = Likelihood(CROP, law=law).level({**outputs, "sigma": 2 * outputs["sigma"]}, targets)
    assert (wide <= 0.9).double().mean() > 0.97


@torch.no_grad()
def test_levels_of_a_flow_are_those_of_its_own_draws() -> None:
    """Errors that are drawn from the flow: uniform; the region of 90 % holds 90 %."""
    codec = RLE(CROP).double()
    for parameter in codec.flow.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    x = codec.flow.sample(4000, generator=torch.Generator().manual_seed(5))
    sigma = 0.05 * torch.rand(4000, 2, dtype=torch.float64) + 0.01
    outputs, targets = single(0.5 + x * sigma, sigma, torch.full_like(x, 0.5))
    level = codec.level(outputs, targets)[:, 0]
    assert stats.kstest(level.numpy(), "uniform").pvalue > 1e-3
    assert (level <= 0.9).double().mean().item() == pytest.approx(0.9, abs=0.02)
    assert torch.equal(level, codec.level(outputs, targets)[:, 0]), "the draws are always the same"
    assert (
        stats.kstest(
            codec.level(outputs | {"sigma": 1.3 * outputs["sigma"]}, targets)[:, 0].numpy(), "uniform"
        ).pvalue
        < 1e-3
    )


def test_deviations_are_sigmas_and_of_a_flow_what_holds_68_percent_of_its_draws() -> None:
    """A fresh flow is the identity and gives sigma; one whose draws are e^0.3 as long gives e^0.3 sigma."""
    sigma = torch.tensor([[0.1, 0.4]])
    assert torch.equal(make_codec("nll_laplace", GAZE).deviations(sigma), sigma)
    codec = make_codec("rle", GAZE)
    plain = codec.deviations(sigma)
    torch.testing.assert_close(plain, sigma, rtol=0.04, atol=0)
    with torch.no_grad():
        for coupling in codec.flow.couplings[:2]:  # one moves x, the other y
            coupling.scale[-1].bias.fill_(math.atanh(0.3))
    torch.testing.assert_close(codec.deviations(sigma), math.exp(0.3) * plain)


def test_levels_of_von_mises_fisher_are_uniform() -> None:
    """Directions whose cosine is drawn by the law's own inverse, at four concentrations."""
    codec = make_codec("vmf", GAZE)
    generator = torch.Generator().manual_seed(1)
    u, turn = (torch.rand(4000, generator=generator, dtype=torch.float64) for _ in range(2))
    k = torch.tensor([0.5, 5.0, 50.0, 2000.0], dtype=torch.float64).repeat(1000)
    angle = torch.acos((1 + torch.log1p(u * torch.expm1(-2 * k)) / k).clamp(-1, 1))
    base = 0.3 * torch.randn(4000, 2, generator=generator, dtype=torch.float64)
    residual = angle[:, None] * torch.stack([(2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()], -1)
    truth = directions.exp_map(base, residual)
    outputs = {"mean": base[:, None], "concentration": k[:, None, None]}
    level = codec.level(outputs, {"mean": truth[:, None], "weight": torch.ones(4000, 1)})[:, 0]
    assert (level - u).abs().max() < 1e-5
    nll = codec.loss(outputs, {"mean": truth[:, None], "weight": torch.ones(4000, 1)})[1]["nll"]
    assert nll.isfinite()


@pytest.mark.parametrize("name", ["nll_laplace", "nll_gauss", "rle", "rle_exact", "vmf"])
@torch.no_grad()
def test_the_reported_density_of_gaze_integrates_to_1_over_the_sphere(name: str) -> None:
    """exp(-nll) over 160 x 250 directions, by the solid angle: with `jacobian`, in any unit."""
    space = Directions(jacobian=True, unit=0.5)
    codec = make_codec(name, space).double()
    for parameter in codec.parameters():
        parameter.add_(0.03 * torch.randn_like(parameter))
    sine = (torch.arange(160, dtype=torch.float64) + 0.5) / 80 - 1
    yaw = ((torch.arange(250, dtype=torch.float64) + 0.5) / 125 - 1) * math.pi
    truth = torch.cartesian_prod(sine.asin(), yaw)
    mean = torch.tensor([0.3, -0.2], dtype=torch.float64).expand_as(truth)
    outputs = {
        "mean": mean,
        "sigma": torch.tensor([0.4, 0.6], dtype=torch.float64).expand_as(truth),
        "concentration": torch.full_like(truth[:, :1], 20.0),
    }
    total = 0.0
    for i in range(0, len(truth), 8000):
        rows = {key: one[i : i + 8000, None] for key, one in outputs.items()}
        targets = {"mean": truth[i : i + 8000, None], "weight": torch.ones(8000, 1)}
        nll = codec.nll(rows, targets)
        assert codec.loss(rows, targets)[1]["nll"].item() == pytest.approx(nll.mean().item(), abs=1e-9)
        total += (-nll).exp().sum().item()
    assert total * 4 * math.pi / len(truth) == pytest.approx(1, abs=5e-3)


def test_sigmas_are_reported_in_the_unit_of_the_points() -> None:
    outputs = {"mean": torch.full((1, 1, 2), 0.5), "sigma": torch.full((1, 1, 1), 0.1)}
    assert make_codec("rle", CROP, isotropic=True).decode(outputs).sigma.flatten().tolist() == pytest.approx(
        [10, 5]
    )
    space = Directions(unit=0.5)
    assert make_codec("rle", space).decode(outputs).sigma.flatten().tolist() == pytest.approx([0.05, 0.05])
    width = torch.full((1, 1, 1), 1.2815515655)
    found = make_codec("pinball", GAZE).decode({"mean": outputs["mean"], "width": width})
    assert found.sigma.flatten().tolist() == pytest.approx([1, 1], abs=1e-6)
    assert found.extra["width"] is width
    k = torch.tensor([[[100.0]], [[0.0]]])
    found = make_codec("vmf", GAZE).decode({"mean": torch.zeros(2, 1, 2), "concentration": k})
    assert found.sigma[:, 0, 0].tolist() == pytest.approx([0.1, math.pi / math.sqrt(3)])


def test_scores_by_hand() -> None:
    """1 - mean sigma; -sum log sigma; both fall as sigma grows."""
    outputs = {"mean": torch.zeros(1, 1, 2), "sigma": torch.tensor([[[0.1, 0.3]]])}
    assert make_codec("rle", CROP).score(outputs).item() == pytest.approx(0.8)
    want = -math.log(0.1) - math.log(0.3)
    assert make_codec("rle", CROP, score="nll").score(outputs).item() == pytest.approx(want, rel=1e-6)


def test_a_fresh_head_is_in_the_middle_with_a_middling_sigma() -> None:
    head = make_codec("rle", CROP).head(8, 3)
    outputs = head(torch.randn(2, 8, 4, 4))
    assert (outputs["mean"] - 0.5).abs().max() < 0.05
    assert (outputs["sigma"] - 0.5).abs().max() < 0.05
    outputs = make_codec("nll_gauss", GAZE).head(8, 1)(torch.randn(2, 8))
    assert outputs["mean"].abs().max() < 0.05


def test_sigma_keeps_its_floor_and_its_cap() -> None:
    head = make_codec("rle", CROP).head(1, 1)
    for raw, want in ((-1e4, 1e-3), (1e4, 1.0)):
        torch.nn.init.constant_(head.layers["sigma"].bias, raw)
        assert head(torch.zeros(1, 1))["sigma"].flatten().tolist() == pytest.approx([want] * 2, rel=1e-5)
    low, high = GAZE.sigma_range
    assert (math.degrees(low), math.degrees(high)) == pytest.approx((0.1, 60))
    assert Directions(unit=0.5).sigma_range == pytest.approx((2 * low, 2 * high))


def test_the_features_norm_scales_the_mean_alone_and_before_the_bias() -> None:
    """W x / |x| + b, as the first code of RLE has it: the mean does not change with the features' length."""
    torch.manual_seed(0)
    head = make_codec("rle", CROP, feature_norm=True).head(8, 3)
    assert isinstance(head, PooledHead)
    x = torch.randn(2, 8)
    once, twice = head(x), head(2 * x)
    torch.testing.assert_close(once["mean"], twice["mean"])
    layer = head.layers["mean"]
    want = x / x.norm(dim=1, keepdim=True) @ layer.weight.T + layer.bias
    torch.testing.assert_close(once["mean"].flatten(1), want)
    assert not torch.allclose(once["sigma"], twice["sigma"], rtol=1e-6)


def test_points_in_space_have_a_flow_of_three() -> None:
    space = Pixels(width=64, height=64, depth=32)
    codec = make_codec("rle_exact", space)
    truth = 10 + 20 * torch.rand(2, 5, 3)
    targets = codec.encode(truth, torch.ones(2, 5, dtype=torch.bool))
    assert codec.flow.dim == 3
    loss, parts = codec.loss(codec.head(4, 5)(torch.randn(2, 4)), targets)
    assert loss.isfinite()
    assert parts["nll"].isfinite()
    assert (codec.decode(codec.perfect(targets)).xy - truth).abs().max() < 1e-4
    far = codec.encode(torch.full((1, 1, 3), 31.6), torch.ones(1, 1, dtype=torch.bool))
    assert far["weight"].item() == 0, "beyond the depth of 32"
    assert sum(one.numel() for one in RealNVP(2).parameters()) == sum(
        one.numel() for one in make_codec("rle", CROP).parameters()
    )


def test_the_flow_learns_a_skewed_law_and_its_region_covers_it() -> None:
    """120 steps on one joint whose error is exponential on one side: nll near the entropy, 90 % near 90 %."""
    torch.manual_seed(0)
    codec = RLE(Pixels(1, 1), variant="exact")
    generator = torch.Generator().manual_seed(0)
    error = -torch.log(torch.rand(4096, 2, generator=generator)) - 0.7
    sigma = torch.full((1, 1), 0.1)
    optimiser = torch.optim.Adam(codec.parameters(), lr=3e-3)
    for step in range(120):
        batch = error[torch.arange(128) + 128 * (step % 16)] * 0.1
        rows = single(0.5 + batch, sigma.expand(128, 2), torch.full_like(batch, 0.5))
        optimiser.zero_grad()
        codec.loss(*rows)[0].backward()
        optimiser.step()
    held = error[2048:] * 0.1
    rows = single(0.5 + held, sigma.expand(len(held), 2), torch.full_like(held, 0.5))
    entropy = 2 * (1 + math.log(0.1))
    nll = codec.loss(*rows)[1]["nll"].item()
    normal = Likelihood(Pixels(1, 1), law="gaussian")
    centred = single(0.5 + held - held.mean(0), held.std(0).expand_as(held), torch.full_like(held, 0.5))
    assert nll < entropy + 0.4
    assert nll < normal.loss(*centred)[1]["nll"].item() - 0.3
    assert 0.86 < (codec.level(*rows) <= 0.9).double().mean().item() < 0.94


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda: make_codec("rle", CROP, sigma_range=(0.5, 0.1)),
            "sigma_range: expected 0 <= least < greatest",
        ),
        (lambda: make_codec("rle", CROP, draws=0), "draws: expected at least 1, got 0"),
        (lambda: make_codec("rle", CROP, limit=0.0), "limit: expected a number above 0, got 0.0"),
        (lambda: Directions(unit=0.0), "unit: expected a number of radians above 0, got 0.0"),
        (lambda: Directions("angles", jacobian=True), "jacobian: expected residual 'tangent' with it"),
    ],
)
def test_refusals(call: Callable[[], Space | Codec], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize("name", ["rle", "rle_exact", "nll_gauss"])
def test_the_densest_place_has_level_0_and_what_is_far_away_level_1(name: str) -> None:
    """1 - exp(-r^2 / 2) at r sigma of a normal law; levels turned about would cover as many labels."""
    codec = make_codec(name, Pixels(width=40, height=20))  # its flow, fresh, is N(0, I)
    radius = torch.tensor([0.0, 0.5, 1.0, 2.0, 4.0])
    sigma = torch.tensor([0.02, 0.05]).expand(5, 2)
    turned = torch.stack([0.6 * radius, -0.8 * radius], 1)
    with torch.no_grad():
        found = codec.levels(turned * sigma, sigma)
    want = 1 - torch.exp(-radius.square() / 2)
    assert found.tolist() == pytest.approx(want.tolist(), abs=0.03)  # of thousands of draws
