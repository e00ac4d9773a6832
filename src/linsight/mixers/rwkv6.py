"""RWKV-6: a decay by channel that depends on the token, and a bonus for the token itself."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost
from linsight.mixers.rwkv import RWKVConfig, RWKVMixer, channels
from linsight.nn import token_shift

__all__ = ["RWKV6", "RWKV6Config", "RWKV6State"]


@dataclass(frozen=True)
class RWKV6Config(RWKVConfig):
    """RWKV-6: heads, the ranks of what depends on the token, and the place in the stack."""

    mix_rank: int = 32
    decay_rank: int = 64
    kind: Literal["rwkv6"] = "rwkv6"

    def build(self, dim: int, *, causal: bool = True) -> "RWKV6":
        """The mixer for tokens of width `dim`."""
        return RWKV6(dim, self, causal=causal)


class RWKV6State(NamedTuple):
    """The last token, in its dtype, and the memory by head, float32; neither grows.

    `shift`: `(batch, dim)`. `memory`: `(batch, heads, head_dim, head_dim)`, keys before values.
    """

    shift: Float[Tensor, "batch dim"]
    memory: Float[Tensor, "batch heads features values"]


class RWKV6(RWKVMixer):
    """Linear attention with a decay by channel and token, read before the token's own update.

        xx = x_(t-1) - x_t,  m = tanh((x + xx maa_x) W_1) W_2 by w, k, v, r, g
        x_i = x + xx (maa_i + m_i),  i = w, k, v, r, g
        w = exp(-exp(time_decay + tanh(x_w D_1) D_2)),  u = time_faaaa
        o_t = r_t^T (S_(t-1) + diag(u) k_t v_t^T),  S_t = diag(w_t) S_(t-1) + k_t v_t^T
        y = (group_norm(o) * silu(x_g W_g)) W_o

    Peng et al. 2024, arXiv 2404.05892 (Finch). Parameters have the original's names and shapes (`blocks.{i}.
    att.` of a checkpoint). Their initial values depend on `layer` and `num_layers`; a mixer built by itself
    is layer 0 of 1. Deviation: the four square projections start as `torch.nn.Linear` does.

    Args:
        dim: Width of the tokens; `heads` must divide it (published: dim / 64).
        config: Heads, ranks, place, form.
        causal: Must be True.

    Cost per head: O(T K^2) for `recurrent`, O(T (C K + K^2)) for `chunk`, O(T^2 K) for `parallel`. State: one
    token, and 4 dim K bytes.

    Raises:
        ValueError: `causal=False`; `heads` does not divide `dim`; a layer outside of 0..num_layers - 1.
    """

    state_type = RWKV6State

    def __init__(self, dim: int, config: RWKV6Config | None = None, *, causal: bool = True) -> None:
        config = config or RWKV6Config()
        forms = ("naive", "parallel", "chunk", "recurrent")
        super().__init__("rwkv6", dim, config, causal=causal, forms=forms)
        self.gate = nn.Linear(dim, dim, bias=False)
        share, height = channels(dim, last=False), config.height
        self.time_maa_x = nn.Parameter(1 - share**height)
        self.time_maa_w = nn.Parameter(1 - share**height)
        self.time_maa_k = nn.Parameter(1 - share**height)
        self.time_maa_v = nn.Parameter(1 - share**height - 0.3 * config.depth)
        self.time_maa_r = nn.Parameter(1 - share ** (0.5 * height))
        self.time_maa_g = nn.Parameter(1 - share ** (0.5 * height))
        self.time_maa_w1 = nn.Parameter(torch.zeros(dim, 5 * config.mix_rank))
        self.time_maa_w2 = nn.Parameter(torch.empty(5, config.mix_rank, dim).uniform_(-0.01, 0.01))
        share = channels(dim, last=True)
        self.time_decay = nn.Parameter(-6 + 5 * share ** (0.7 + 1.3 * config.depth))
        self.time_decay_w1 = nn.Parameter(torch.zeros(dim, config.decay_rank))
        self.time_decay_w2 = nn.Parameter(torch.empty(config.decay_rank, dim).uniform_(-0.01, 0.01))
        zigzag = 0.1 * ((torch.arange(dim) + 1) % 3 - 1)
        bonus = config.depth * (1 - share.flatten()) + zigzag
        self.time_faaaa = nn.Parameter(bonus.reshape(self.heads, -1))
        self.set_free(fast="time_decay")

    def mix(self, x, state, valid):
        """Shift, interpolate, project, sum, normalise, gate, project."""
        exact = ops.accumulator_dtype(x.dtype, self.time_decay.dtype)
        before, shift = token_shift(x, None if state is None else state.shift, valid)
        xx = before - x
        low = torch.tanh((x + xx * self.time_maa_x) @ self.time_maa_w1).unflatten(-1, (5, -1))
        extra = torch.einsum("btfr,frc->fbtc", low, self.time_maa_w2)
        shares = (self.time_maa_w, self.time_maa_k, self.time_maa_v, self.time_maa_r, self.time_maa_g)
        xw, xk, xv, xr, xg = (x + xx * (share + own) for share, own in zip(shares, extra, strict=True))
        r, k, v = (self.split(part).to(exact) for part in (self.receptance(xr), self.key(xk), self.value(xv)))
        low = torch.tanh(xw @ self.time_decay_w1) @ self.time_decay_w2
        # From w = 20 on, exp(-exp(w)) is 0 in any dtype; exp(w) itself would overflow, and its gradient.
        w = (self.time_decay.to(exact) + low.to(exact)).clamp(max=20)
        log_decay = self.split(-torch.exp(w))
        if valid is not None:
            k, log_decay = (torch.where(valid[:, :, None, None], part, 0) for part in (k, log_decay))
        memory = None if state is None else state.memory
        self.last_form = ops.linear_attention_plan(r, k, v, log_decay, form=self.form).form
        o, memory = ops.linear_attention(
            r,
            k,
            v,
            log_decay,
            bonus=self.time_faaaa.to(exact),
            read="before",
            initial_state=memory,
            form=self.form,
        )
        gate = self.gate(xg)
        y = self.output((self.normed(o) * F.silu(gate.to(exact))).to(gate.dtype))
        return y, RWKV6State(shift, memory)

    def cost(self, length):
        """The quadratic form against the linear ones."""
        width = self.head_dim
        pair, token, bytes_ = 4 * width, 4 * width * width, 4 * self.dim * width
        return {
            "parallel": Cost(self.heads * length * length * pair, 4 * self.heads * length * length),
            "chunk": Cost(self.heads * length * token, bytes_),
            "recurrent": Cost(self.heads * length * token, bytes_),
        }
