"""The flow against zuko's coupling transforms, given the same weights, where zuko is installed.

`python -m pytest tests/oracles` in an environment with `zuko` runs it, elsewhere it is skipped.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, IndependentTransform, Normal

from linsight.densities import RealNVP

transforms = pytest.importorskip("zuko.transforms")


def step_of(coupling: nn.Module):
    """From x towards noise: moved coordinates become (x - t) exp(-a), both read from the kept ones."""

    def given(known: Tensor):
        x = known.new_zeros(*known.shape[:-1], len(coupling.kept))
        x[..., coupling.kept] = known
        factor = (-coupling.scale(x).tanh()[..., ~coupling.kept]).exp()
        return IndependentTransform(
            AffineTransform(-coupling.shift(x)[..., ~coupling.kept] * factor, factor), 1
        )

    return transforms.CouplingTransform(given, coupling.kept)


@pytest.mark.parametrize("dim", [2, 3])
@torch.no_grad()
def test_realnvp_is_zukos_coupling_flow(dim: int) -> None:
    flow, x = RealNVP(dim).double(), torch.randn(50, dim, dtype=torch.float64)
    for parameter in flow.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    z, log_det = x, torch.zeros(50, dtype=torch.float64)
    for coupling in reversed(flow.couplings):
        z, part = step_of(coupling).call_and_ladj(z)
        log_det = log_det + part
    want = log_det + Normal(0, 1).log_prob(z).sum(-1)
    assert (z - flow(x)[0]).abs().max() < 1e-10
    assert ((flow.log_prob(x) - want) / want).abs().max() < 1e-12
