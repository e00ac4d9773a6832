"""What the gated attention unit and mixed chunk attention share: gate, values, and cheap queries and keys."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight.mixers.base import Form, Mixer
from linsight.nn import RelativeBias

__all__ = ["GatedMixer"]

KERNELS = ("relu2", "laplace")
BIAS = 1.0
"""Initial position bias at distance 0."""


class GatedMixer(Mixer):
    """Base of mixers y = (u * attention(q, k, v)) W_o with one head and no feed-forward network beside them.

        u = silu(x W_u), v = silu(x W_v), z = silu(x W_z),  q = z * gamma_q + beta_q, k = z * gamma_k + beta_k

    Args:
        kind: The mixer's name, for messages.
        dim: Width of the tokens.
        config: `expansion`, `key_dim`, `chunk`, `kernel`, `form`.
        pairs: How many of gamma, beta there are.
        causal, forms: As in `Mixer`.

    Raises:
        ValueError: An option below 1; an unknown kernel.
    """

    def __init__(
        self, kind: str, dim: int, config: Any, *, pairs: int, causal: bool, forms: tuple[Form, ...]
    ) -> None:
        super().__init__(dim, causal=causal, forms=forms, form=config.form)
        for name in ("expansion", "key_dim", "chunk"):
            value = getattr(config, name)
            if value < 1:
                raise ValueError(f"mixer {kind!r}: expected {name} of at least 1, got {value}")
        if config.kernel not in KERNELS:
            raise ValueError(f"kernel: expected 'relu2' or 'laplace', got {config.kernel!r}")
        self.config = config
        self.period = config.chunk
        self.key_dim, self.value_dim = config.key_dim, config.expansion * dim
        self.uvz = nn.Linear(dim, 2 * self.value_dim + self.key_dim, bias=False)
        self.gamma = nn.Parameter(0.02 * torch.randn(pairs, self.key_dim))
        self.beta = nn.Parameter(torch.zeros(pairs, self.key_dim))
        self.hint("gamma", "beta", decay=False)
        self.bias = RelativeBias(causal=causal, initial=BIAS)
        self.out = nn.Linear(self.value_dim, dim, bias=False)

    def project(
        self, x: Float[Tensor, "batch length dim"]
    ) -> tuple[
        Float[Tensor, "batch length values"],
        Float[Tensor, "batch length 1 values"],
        Float[Tensor, "batch length pairs features"],
    ]:
        """The gate u, the values with an axis for the head, and z under every gamma and beta."""
        u, v, z = F.silu(self.uvz(x)).split([self.value_dim, self.value_dim, self.key_dim], dim=-1)
        gamma, beta = self.gamma.to(z.dtype), self.beta.to(z.dtype)  # autocast leaves parameters wide
        return u, v[:, :, None], torch.addcmul(beta, z[:, :, None], gamma)
