"""The toy of the specification: which losses find a clean truth among one-sided outliers, and which drift."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from linsight.densities import RealNVP
from linsight.losses import exact_rle, flow_log_prob, l1_loss, l2_loss, mmpose_rle, official_rle

# A fifth of the specification's steps at five times its rate, which find the errors of its table.
STEPS, BATCH, RATE = 500, 256, 5e-3

Loss = Callable[[Tensor, Tensor, RealNVP], Tensor]

LOSSES: dict[str, Loss] = {
    "l2": lambda error, sigma, flow: l2_loss(error),
    "l1": lambda error, sigma, flow: l1_loss(error),
    "official": lambda error, sigma, flow: official_rle(error, sigma, flow).loss,
    "exact": lambda error, sigma, flow: exact_rle(error, sigma, flow).loss,
    "dle": lambda error, sigma, flow: mmpose_rle(error, sigma, flow, residual=False).loss,
}


def clean(x: Tensor) -> Tensor:
    """The truth: (.25 sin 3 x1 + .1 x2 x3, .2 cos 2 x2 + .1 x4)."""
    a, b, c, d = x.unbind(-1)
    return torch.stack([0.25 * (3 * a).sin() + 0.1 * b * c, 0.2 * (2 * b).cos() + 0.1 * d], -1)


def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
    """Labels: normal noise of .01 where x1 <= 0, .06 elsewhere; 15 % of them U(.05, .30) above, per axis."""
    spread = torch.where(x[:, :1] > 0, 0.06, 0.01)
    normal = spread * torch.randn(len(x), 2, generator=generator)
    outlier = torch.rand(len(x), 1, generator=generator) < 0.15
    above = 0.05 + 0.25 * torch.rand(len(x), 2, generator=generator)
    return clean(x) + torch.where(outlier, above, normal)


class Learnt:
    """A network of mean and sigma, trained by one of the losses; and what it is worth on fresh inputs."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 4))
        flow = RealNVP(2)
        x = 2 * torch.rand(4000, 4, generator=generator) - 1
        labels = noisy(x, generator)
        optimizer = torch.optim.Adam([*net.parameters(), *flow.parameters()], lr=RATE)
        drops = torch.optim.lr_scheduler.MultiStepLR(optimizer, [int(0.7 * STEPS), int(0.9 * STEPS)])
        for _ in range(STEPS):
            rows = torch.randint(0, 4000, (BATCH,), generator=generator)
            mean, sigma = self.split(net(x[rows]))
            loss = LOSSES[name](mean - labels[rows], sigma, flow).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            drops.step()
        with torch.no_grad():
            fresh = 2 * torch.rand(4000, 4, generator=generator) - 1
            mean, sigma = self.split(net(fresh))
            self.error = (mean - clean(fresh)).norm(dim=-1).mean().item()
            told = flow_log_prob(flow, (mean - noisy(fresh, generator)) / sigma)
            dense = flow_log_prob(flow, flow.sample(8000, generator=generator))
            self.held = (told >= dense.quantile(0.1)).double().mean().item()

    @staticmethod
    def split(outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = outputs.split(2, dim=-1)
        return mean, raw.sigmoid().clamp(min=1e-3)


@pytest.fixture(scope="module")
def found() -> dict[str, Learnt]:
    return {name: Learnt(name) for name in LOSSES}


@pytest.mark.slow
def test_squares_follow_outliers_and_without_its_base_the_flow_lets_the_mean_drift(found) -> None:
    """Spec of pose, section 6: L2 is more than twice L1, direct likelihood more than five times."""
    error = {name: one.error for name, one in found.items()}
    assert error["l2"] > 2 * error["l1"], error
    assert error["dle"] > 5 * error["l1"], error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["official", "exact"])
def test_every_rle_with_its_base_is_as_good_as_l1_and_its_flow_is_calibrated(found, name) -> None:
    """And less than 1.1 of its error; 90 % regions of the flow hold 86 to 93 % of fresh labels."""
    assert found[name].error < 1.1 * found["l1"].error
    assert 0.86 <= found[name].held <= 0.93
