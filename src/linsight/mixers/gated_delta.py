"""Gated DeltaNet: a memory that decays, and is corrected by what it got wrong."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, Mixer, MixerConfig
from linsight.mixers.heads import head_width
from linsight.mixers.recurrence import check_causal, initial_steps
from linsight.nn import GatedRMSNorm, ShortConvolution

__all__ = ["GatedDeltaNet", "GatedDeltaNetConfig", "GatedDeltaNetState"]


@dataclass(frozen=True)
class GatedDeltaNetConfig(MixerConfig):
    """Gated DeltaNet: heads, widths, taps of the convolutions, and the range of the correction."""

    directions: ClassVar[tuple[bool, ...]] = (True,)
    kind: Literal["gated_delta"] = "gated_delta"
    heads: int = 4
    head_dim: int | None = None
    """Width of a head's queries and keys; None for dim / heads."""
    expand: int = 2
    """Width of a head's values over that of its keys."""
    taps: int = 4
    allow_neg_eigval: bool = False
    """Corrections up to twice the error, whose transitions have eigenvalues down to -1 (arXiv 2411.12537)."""
    form: Form = "auto"

    def build(self, dim: int, *, causal: bool = True) -> "GatedDeltaNet":
        """The mixer for tokens of width `dim`."""
        return GatedDeltaNet(dim, self, causal=causal)


class GatedDeltaNetState(NamedTuple):
    """The memory by head, and the last `taps - 1` inputs of the three convolutions, in the tokens' dtype.

    `memory`: `(batch, heads, head_dim, values)`, float32. Its size does not depend on the number of tokens.
    """

    q: Float[Tensor, "batch held keys"]
    k: Float[Tensor, "batch held keys"]
    v: Float[Tensor, "batch held values"]
    memory: Float[Tensor, "batch heads features values"]


class GatedDeltaNet(Mixer):
    """The gated delta rule between short convolutions and a gated norm.

        q, k = unit(silu(conv(x W_q))), unit(silu(conv(x W_k))),  v = silu(conv(x W_v))
        g = -exp(A_log) softplus(x W_a + dt_bias),  beta = sigmoid(x W_b)
        S <- exp(g) S,  S <- S + beta k (v - S^T k)^T,  o = S^T q / sqrt K
        y = (rms_norm(o) * silu(x W_g)) W_o

    Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464. Parameters have the names and shapes of the public layer
    (flash-linear-attention's `GatedDeltaNet`), so its weights load. unit(x) is x / sqrt(|x|^2 + 1e-6), and
    the norm, by head and with weights, has an eps of 1e-5, as there. A_log starts as the logarithm of a
    uniform draw from 0..16. Deviation: floored at 0.001, since the logarithm of 0 is -inf.

    Args:
        dim: Width of the tokens.
        config: Heads, widths, taps, form.
        causal: Must be True.

    Cost per head with K features and V values: O(T K V) for `recurrent`, O(T (C (K + V) + C^2 + K (K + V)))
    for `chunk` in blocks of C = 32. State: 4 K V bytes per head, and taps - 1 inputs of the convolutions.

    Raises:
        ValueError: `causal=False`; `heads` does not divide `dim` where `head_dim` is None; a width below 1.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("gated_delta", dim=16, heads=2)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-5)
        True
    """

    spreads = True
    keeps = ("q", "k", "v")
    period = 32
    eps = 1e-5

    def __init__(self, dim: int, config: GatedDeltaNetConfig | None = None, *, causal: bool = True) -> None:
        config = config or GatedDeltaNetConfig()
        check_causal(config.kind, causal)
        super().__init__(dim, causal=True, forms=("naive", "chunk", "recurrent"), form=config.form)
        for name in ("heads", "head_dim", "expand", "taps"):
            value = getattr(config, name)
            if value is not None and value < 1:
                raise ValueError(f"mixer 'gated_delta': expected {name} of at least 1, got {value}")
        self.config = config
        self.heads = config.heads
        self.key_width = config.head_dim or head_width(config.kind, dim, config.heads)
        self.value_width = config.expand * self.key_width
        keys, values = self.heads * self.key_width, self.heads * self.value_width
        self.q_proj = nn.Linear(dim, keys, bias=False)
        self.k_proj = nn.Linear(dim, keys, bias=False)
        self.v_proj = nn.Linear(dim, values, bias=False)
        self.a_proj = nn.Linear(dim, self.heads, bias=False)
        self.b_proj = nn.Linear(dim, self.heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(self.heads))
        self.dt_bias = nn.Parameter(torch.empty(self.heads))
        self.hint("A_log", "dt_bias", decay=False)
        self.q_conv1d = ShortConvolution(keys, config.taps, bias=False)
        self.k_conv1d = ShortConvolution(keys, config.taps, bias=False)
        self.v_conv1d = ShortConvolution(values, config.taps, bias=False)
        self.g_proj = nn.Linear(dim, values, bias=False)
        self.o_norm = GatedRMSNorm(self.value_width, before_gate=True, eps=self.eps)
        self.o_proj = nn.Linear(values, dim, bias=False)
        self.reset_decay()

    @property
    def out(self) -> nn.Linear:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last projection."""
        return self.o_proj

    def reset_decay(self) -> None:
        """Draw A_log and dt_bias anew."""
        with torch.no_grad():
            self.A_log.uniform_(0, 16).clamp_(min=1e-3).log_()
            self.dt_bias.copy_(initial_steps(self.heads))

    def mix(self, x, state, valid):
        """Project, convolve, correct, normalise, gate, project."""
        exact = ops.accumulator_dtype(x.dtype, self.A_log.dtype)
        before = (None,) * 4 if state is None else state
        q, q_state = self.q_conv1d(self.q_proj(x), before[0], valid)
        k, k_state = self.k_conv1d(self.k_proj(x), before[1], valid)
        v, v_state = self.v_conv1d(self.v_proj(x), before[2], valid)
        q, k, v = (F.silu(part.to(exact)).unflatten(-1, (self.heads, -1)) for part in (q, k, v))
        beta = self.b_proj(x).to(exact).sigmoid()
        if self.config.allow_neg_eigval:
            beta = 2 * beta
        # log sigmoid(-u) is -softplus(u), whose backward torch 2.13 compiles with wrong strides.
        steps = F.logsigmoid(-(self.a_proj(x).to(exact) + self.dt_bias.to(exact)))
        log_decay = self.A_log.to(exact).exp() * steps
        if valid is not None:
            beta, log_decay = (torch.where(valid[..., None], part, 0) for part in (beta, log_decay))
        self.last_form = form = ops.delta_rule_plan(q, k, v, form=self.form).form
        q, k = _unit(q), _unit(k)
        o, memory = self.recur(
            partial(ops.delta_rule, q, k, v, beta, log_decay, scale=self.key_width**-0.5, form=form),
            before[3],
            lambda: ops.delta_rule_piece(k, v, beta, log_decay),
        )
        gate = self.g_proj(x)
        o = self.o_norm(o, gate.unflatten(-1, o.shape[2:])).flatten(2)
        y = self.o_proj(o.to(gate.dtype))
        return y, GatedDeltaNetState(q_state, k_state, v_state, memory)

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        weight = self.q_proj.weight
        dtype, device = dtype or weight.dtype, device or weight.device
        q, k, v = (
            part.initial_state(batch, dtype=dtype, device=device)
            for part in (self.q_conv1d, self.k_conv1d, self.v_conv1d)
        )
        shape = (batch, self.heads, self.key_width, self.value_width)
        memory = torch.zeros(shape, dtype=ops.accumulator_dtype(dtype), device=device)
        return GatedDeltaNetState(q, k, v, memory)

    def state_size(self, length):
        """Independent of `length`."""
        dtype = self.q_proj.weight.dtype
        held = (self.config.taps - 1) * (2 * self.key_width + self.value_width) * dtype.itemsize
        memory = self.key_width * self.value_width * ops.accumulator_dtype(dtype).itemsize
        return self.heads * (held + memory)

    def cost(self, length):
        """The blocks of 32 against the steps."""
        keys, values, block = self.key_width, self.value_width, self.period
        chunk = 2 * (4 * block * keys + 3 * block * (keys + values) + keys * (2 * keys + 3 * values))
        recurrent, bytes_ = 8 * keys * values, 4 * keys * values
        return {
            "chunk": Cost(self.heads * length * chunk, 4 * self.heads * length * 4 * block),
            "recurrent": Cost(self.heads * length * recurrent, self.heads * bytes_),
        }


def _unit(x: Tensor) -> Tensor:
    return x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt()
