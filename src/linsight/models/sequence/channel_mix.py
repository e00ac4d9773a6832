"""The feed-forward networks of RWKV-6 and RWKV-7, which see the token before each token."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from linsight.mixers.rwkv import RWKVConfig, channels
from linsight.nn import Hinted, token_shift

__all__ = ["ChannelMix6", "ChannelMix7"]


class ChannelMix7(Hinted):
    """y = W_v relu(W_k (x + (x_(t-1) - x) x_k))^2, under the split law; the state is the last token.

    Peng et al. 2025, arXiv 2503.14456. Parameters have the original's names (`blocks.{i}.ffn.`) and shapes:
    `x_k` (1, 1, dim), `key.weight` (hidden, dim), `value.weight` (dim, hidden).

    Args:
        dim: Width of the tokens.
        hidden: Width inside (published: 4 dim).
        place: Of its layer, for the initial values.
    """

    def __init__(self, dim: int, hidden: int, place: RWKVConfig) -> None:
        super().__init__()
        self.x_k = nn.Parameter(1 - channels(dim, last=False) ** place.height**4)
        self.hint("x_k", decay=False)
        self.key = nn.Linear(dim, hidden, bias=False)
        self.value = nn.Linear(hidden, dim, bias=False)
        nn.init.uniform_(self.key.weight, -0.5 * dim**-0.5, 0.5 * dim**-0.5)
        nn.init.zeros_(self.value.weight)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        state: Float[Tensor, "batch dim"] | None = None,
        valid: Bool[Tensor, "batch length"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch dim"]]:
        """y and the state; y is free where `valid` is False."""
        before, state = token_shift(x, state, valid)
        k = x + (before - x) * self.x_k
        return self.value(torch.relu(self.key(k)).square()), state


class ChannelMix6(Hinted):
    """y = sigmoid(W_r x_r) W_v relu(W_k x_k)^2 with x_i = x + (x_(t-1) - x) maa_i; else as `ChannelMix7`.

    Peng et al. 2024, arXiv 2404.05892: `time_maa_k`, `time_maa_r` (1, 1, dim), `key.weight` (hidden, dim),
    `receptance.weight` (dim, dim), `value.weight` (dim, hidden).
    """

    def __init__(self, dim: int, hidden: int, place: RWKVConfig) -> None:
        super().__init__()
        self.time_maa_k = nn.Parameter(1 - channels(dim, last=False) ** place.height)
        self.time_maa_r = nn.Parameter(1 - channels(dim, last=False) ** place.height)
        self.hint("time_maa_k", "time_maa_r", decay=False)
        self.key = nn.Linear(dim, hidden, bias=False)
        self.receptance = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(hidden, dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        state: Float[Tensor, "batch dim"] | None = None,
        valid: Bool[Tensor, "batch length"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch dim"]]:
        """y and the state; y is free where `valid` is False."""
        before, state = token_shift(x, state, valid)
        xx = before - x
        k = torch.relu(self.key(x + xx * self.time_maa_k)).square()
        return torch.sigmoid(self.receptance(x + xx * self.time_maa_r)) * self.value(k), state
