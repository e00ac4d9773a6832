"""The microscope: a flow that sees residuals of a known law alone learns the law, and is calibrated."""

import pytest
import torch

from linsight.data.noise_laws import AnyNoiseLaw, noise_law
from linsight.tasks.densities_beside import square_grid
from linsight.tasks.microscope import Recovered, recover

LAWS = {
    "gauss": noise_law("gauss", scale=0.04),
    "laplace": noise_law("laplace", scale=0.04),
    "skew": noise_law("skew", scale=0.05, shape=5.0),
}


@pytest.fixture(scope="module", params=[("gauss", "rle_exact"), ("laplace", "rle"), ("skew", "rle_exact")])
def found(request: pytest.FixtureRequest) -> Recovered:
    law, codec = request.param
    return recover(LAWS[law], codec, steps=200)


def test_the_flow_recovers_the_law_and_its_regions_hold_what_they_say(found: Recovered) -> None:
    """Issue 10: KL below 0.05 nats, 90 % coverage within 0.86 to 0.93."""
    assert -4 * found.kl_standard_error < found.kl_nats < 0.05
    assert 0.86 <= found.coverage[2] <= 0.93
    assert found.coverage[0] == pytest.approx(0.5, abs=0.05)


def test_its_density_integrates_to_1_and_has_the_kl_that_it_says(found: Recovered) -> None:
    """By cells over all of the law, in place of draws."""
    reach, number = 0.5, 200
    points = torch.from_numpy(square_grid(reach, number)).reshape(-1, 2)
    cell = (2 * reach / number) ** 2
    log_law, log_learnt = found.law.log_prob(points), found.log_prob(points.float()).double()
    assert log_learnt.exp().sum().item() * cell == pytest.approx(1, abs=0.01)
    kl = (log_law.exp() * (log_law - log_learnt)).sum().item() * cell
    assert found.kl_nats == pytest.approx(kl, abs=4 * found.kl_standard_error + 0.003)


def test_a_density_of_the_laws_own_shape_has_nothing_left_to_learn() -> None:
    found = recover(LAWS["laplace"], "nll_laplace", steps=200)
    assert abs(found.kl_nats) < 0.005
    assert found.mean.abs().max() < 0.01
    assert found.sigma.tolist() == pytest.approx([0.04 * 2**0.5] * 2, rel=0.05)


def test_a_density_of_another_shape_is_seen_to_be_wrong() -> None:
    """A Gaussian fitted to a skewed law has its mean and deviation: KL of each axis by quadrature."""
    law = LAWS["skew"]
    line = torch.linspace(-0.4, 0.6, 20_001, dtype=torch.float64)
    # The axes are independent: the law along one is that of both over that at the other's 0.
    flat = torch.stack([line, torch.zeros_like(line)], 1)
    log = law.log_prob(flat) - law.log_prob(torch.zeros(2, dtype=torch.float64)) / 2
    gauss = torch.distributions.Normal(0.0, 0.05).log_prob(line)
    kl = 2 * ((log.exp() * (log - gauss)).sum() * (line[1] - line[0])).item()
    found = recover(law, "nll_gauss", steps=200)
    assert found.kl_nats == pytest.approx(kl, abs=0.015)
    assert found.kl_nats > 0.1


def test_it_is_the_seeds_and_leaves_torchs_random_state() -> None:
    before = torch.get_rng_state()
    one, again, other = (recover(LAWS["skew"], "nll_gauss", steps=3, fresh=50, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.kl_nats == again.kl_nats
    assert one.kl_nats != other.kl_nats


@pytest.mark.parametrize(
    ("law", "options", "message"),
    [
        (noise_law("none"), {}, "law: expected one with a density, got 'none'"),
        (LAWS["gauss"], {"codec": "regression_l1"}, "codec: expected one with a density, .* got 'regression"),
        (LAWS["gauss"], {"codec": "rel"}, "codec 'rel' is not known"),
        (LAWS["gauss"], {"steps": 0}, "steps: expected at least 1, got 0"),
    ],
)
def test_what_cannot_be_recovered_is_refused(law: AnyNoiseLaw, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recover(law, **options)
