"""RWKV-7: a memory whose every channel decays, and which forgets what a key held before it writes."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost
from linsight.mixers.relay import RelayMixer
from linsight.mixers.rwkv import RWKVConfig, RWKVMixer, channels
from linsight.nn import token_shift

__all__ = ["RWKV7", "RWKV7Config", "RWKV7State"]


@dataclass(frozen=True)
class RWKV7Config(RWKVConfig):
    """RWKV-7: heads, the ranks of what depends on the token (None: the original's), and the place."""

    decay_rank: int | None = None
    rate_rank: int | None = None
    value_rank: int | None = None
    gate_rank: int | None = None
    kind: Literal["rwkv7"] = "rwkv7"

    def build(self, dim: int, *, causal: bool = True) -> "RWKV7":
        """The mixer for tokens of width `dim`."""
        return RWKV7(dim, self, causal=causal)


class RWKV7State(NamedTuple):
    """The last token, in its dtype, and the memory by head, float32; neither grows.

    `shift`: `(batch, dim)`. `memory`: `(batch, heads, head_dim, head_dim)`, keys before values (the original
    has values first).
    """

    shift: Float[Tensor, "batch dim"]
    memory: Float[Tensor, "batch heads features values"]


class RWKV7(RWKVMixer, RelayMixer):
    """The generalised delta rule with a decay by channel and token.

        x_i = x + (x_(t-1) - x) x_i,  i = r, w, k, v, a, g
        w = exp(-e^(-1/2) sigmoid(w0 + tanh(x_w w1) w2))
        a = sigmoid(a0 + x_a a1 a2),  g = sigmoid(x_g g1) g2
        kk = k * k_k, of length 1 by head;  k <- k (1 + (a - 1) k_a)
        v <- v + (v_first - v) sigmoid(v0 + x_v v1 v2)                     in layers after the first
        S <- diag(w) S - (kk * a) (kk^T S) + k v^T,  o = S^T r
        y = ((group_norm(o) + (sum_n r k r_k) v) * g) W_o

    Peng et al. 2025, arXiv 2503.14456 (Goose). Parameters have the original's names and shapes (`blocks.{i}.
    att.` of a checkpoint); those of v0, v1 and v2 that a checkpoint's first layer holds and never uses are
    passed over. Initial values are the original's and depend on `layer` and `num_layers`; a mixer built by
    itself is layer 0 of 1.

    v_first are the first layer's values of the same tokens. They are no part of the state: `relay` takes and
    returns them, and a stack hands them on. `mixer(x, state, lengths)` is the call without; a layer after the
    first cannot be called so.

    Args:
        dim: Width of the tokens; `heads` must divide it (published: dim / 64).
        config: Heads, ranks, place, form.
        causal: Must be True.

    Cost per head: O(T K^2) for `recurrent`, O(T (C K + C^2 + K^2)) for `chunk` in blocks of C = 32. State:
    one token, and 4 dim K bytes.

    Raises:
        ValueError: `causal=False`; `heads` does not divide `dim`; a layer outside of 0..num_layers - 1; a
            call of a later layer without v_first, or with one of another shape.
    """

    state_type = RWKV7State
    period = 32

    def __init__(self, dim: int, config: RWKV7Config | None = None, *, causal: bool = True) -> None:
        config = config or RWKV7Config()
        super().__init__("rwkv7", dim, config, causal=causal, forms=("naive", "chunk", "recurrent"))
        self.first = config.layer == 0
        share = channels(dim, last=False)
        for name, power in (("r", 0.2), ("w", 0.9), ("k", 0.7), ("v", 0.7), ("a", 0.9), ("g", 0.2)):
            self.register_parameter(f"x_{name}", nn.Parameter(1 - share ** (power * config.height)))
        share = channels(dim, last=True)
        line, zigzag = share - 0.5, self._zigzag()
        w0 = -6 + 6 * share ** (1 + config.depth**0.3) + 0.5 + 2.5 * zigzag
        self.w0 = nn.Parameter(w0)
        self.w1, self.w2 = _low_rank(dim, config.decay_rank or _rank(1.8 * dim**0.5))
        self.a0 = nn.Parameter(-0.19 + 0.3 * zigzag + 0.4 * line)
        self.a1, self.a2 = _low_rank(dim, config.rate_rank or _rank(1.8 * dim**0.5))
        if not self.first:
            self.v0 = nn.Parameter(0.73 - 0.4 * line)
            self.v1, self.v2 = _low_rank(dim, config.value_rank or _rank(1.3 * dim**0.5))
        self.g1, self.g2 = _low_rank(dim, config.gate_rank or _rank(0.6 * dim**0.8))
        self.k_k = nn.Parameter(0.71 - 0.1 * line)
        self.k_a = nn.Parameter(torch.full((1, 1, dim), 1.02))
        self.r_k = nn.Parameter(torch.full((self.heads, self.head_dim), -0.04))
        self.set_free(fast="w0")
        for linear, size in ((self.receptance, 0.5), (self.key, 0.05), (self.value, 0.5)):
            nn.init.uniform_(linear.weight, -size * dim**-0.5, size * dim**-0.5)
        nn.init.zeros_(self.output.weight)

    def relay(self, x, state=None, lengths=None, *, v_first=None) -> tuple[Tensor, RWKV7State, Tensor]:
        """The call beside v_first, `(batch, length, dim)`; see `RelayMixer`."""
        x, valid = self.admit(x, state, lengths)
        y, state, v_first = self._mix(x, state, valid, v_first)
        return (y if valid is None else torch.where(valid[..., None], y, 0)), state, v_first

    def mix(self, x, state, valid):
        """A first layer's: later ones refuse to be without v_first."""
        return self._mix(x, state, valid, None)[:2]

    def _mix(self, x, state, valid, v_first) -> tuple[Tensor, RWKV7State, Tensor]:
        """Shift, interpolate, project, forget, write, normalise, gate, project."""
        exact = ops.accumulator_dtype(x.dtype, self.k_k.dtype)
        before, shift = token_shift(x, None if state is None else state.shift, valid)
        xx = before - x
        xr, xw, xk, xv, xa, xg = (x + xx * self.get_parameter(f"x_{name}") for name in "rwkvag")
        r, k, v = self.receptance(xr).to(exact), self.key(xk).to(exact), self.value(xv)
        if self.first:
            v_first = v
        else:
            self._check_first(x, v_first)
            v = v + (v_first - v) * torch.sigmoid(self.v0 + xv @ self.v1 @ self.v2)
        w_raw = self.w0.to(exact) + (torch.tanh(xw @ self.w1) @ self.w2).to(exact)
        rate = torch.sigmoid(self.a0.to(exact) + (xa @ self.a1 @ self.a2).to(exact))
        gate = torch.sigmoid(xg @ self.g1) @ self.g2
        kk = F.normalize(self.split(k * self.k_k.to(exact)), dim=-1)
        k = k * (1 + (rate - 1) * self.k_a.to(exact))
        log_decay = -math.exp(-0.5) * torch.sigmoid(w_raw)
        r, k, v, rate, log_decay = (self.split(part) for part in (r, k, v.to(exact), rate, log_decay))
        if valid is not None:
            token = valid[:, :, None, None]
            k, kk, v, log_decay = (torch.where(token, part, 0) for part in (k, kk, v, log_decay))
        self.last_form = form = ops.delta_rule_plan(r, k, v, form=self.form).form
        memory = None if state is None else state.memory
        o, memory = ops.dplr_delta_rule(r, k, v, kk, -kk * rate, log_decay, initial_state=memory, form=form)
        own = (r * k * self.r_k.to(exact)).sum(-1, keepdim=True) * v
        y = self.output(((self.normed(o) + own.flatten(2)) * gate.to(exact)).to(gate.dtype))
        return y, RWKV7State(shift, memory), v_first

    def _check_first(self, x: Tensor, v_first: Tensor | None) -> None:
        if v_first is None:
            raise ValueError(
                f"v_first: layer {self.config.layer} of mixer 'rwkv7' needs the first layer's values, got "
                "None; use a stack, or mixer.relay(x, state, lengths, v_first=...)"
            )
        if v_first.shape != x.shape:
            raise ValueError(f"v_first: expected x's shape {tuple(x.shape)}, got {tuple(v_first.shape)}")

    def _zigzag(self) -> Float[Tensor, "1 1 dim"]:
        """sign(s) s^2 for s from -1 to 1 over the channels of each head."""
        middle = (self.head_dim - 1) / 2
        s = (torch.arange(self.dim) % self.head_dim - middle) / max(middle, 0.5)
        return (s * s.abs()).reshape(1, 1, self.dim)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        if self.first:
            for name in ("v0", "v1", "v2"):
                state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def cost(self, length):
        """The blocks of 32 against the steps."""
        width, block = self.head_dim, self.period
        chunk = 2 * (10 * block * width + 5 * width * width)
        return {
            "chunk": Cost(self.heads * length * chunk, 4 * self.heads * length * 4 * block),
            "recurrent": Cost(self.heads * length * 10 * width * width, 4 * self.dim * width),
        }


def _rank(size: float) -> int:
    """The nearest multiple of 32, and 32 at least."""
    return max(32, round(size / 32) * 32)


def _low_rank(dim: int, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Two factors, `(dim, rank)` of zeros and `(rank, dim)` orthogonal."""
    second = nn.init.orthogonal_(torch.empty(rank, dim), gain=0.1 * max(rank / dim, 1) ** 0.5)
    return nn.Parameter(torch.zeros(dim, rank)), nn.Parameter(second)
