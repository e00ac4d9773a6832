"""Retention: linear attention whose heads forget, each at a rate of its own."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, Mixer, MixerConfig
from linsight.mixers.heads import head_width
from linsight.mixers.recurrence import check_causal
from linsight.nn import rotary, simple_rms_norm

__all__ = ["RetNet", "RetNetConfig", "RetNetState"]


@dataclass(frozen=True)
class RetNetConfig(MixerConfig):
    """Multi-scale retention: `heads`, how wide the values are, and the `eps` of the norm by head."""

    directions: ClassVar[tuple[bool, ...]] = (True,)

    kind: Literal["retnet"] = "retnet"
    heads: int = 4
    expansion: int = 2
    """Width of all values together over that of the tokens."""
    eps: float = 1e-6
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse values without width, and an eps that does not keep zeros from dividing by zero."""
        if self.expansion < 1:
            raise ValueError(f"expansion: expected at least 1, got {self.expansion}")
        if not self.eps > 0:
            raise ValueError(f"eps: expected above 0, got {self.eps}")

    def build(self, dim: int, *, causal: bool = True) -> "RetNet":
        """The mixer for tokens of width `dim`."""
        return RetNet(dim, self, causal=causal)


class RetNetState(NamedTuple):
    """The decayed sum of k v^T over all tokens so far, and how many of them there were.

    `memory`: `(batch, heads, head_dim, expansion * head_dim)`, float32. `position`: `(batch,)`, int64, the
    phase of the next token. Bytes per sequence: 4 * expansion * dim * head_dim + 8, whatever the length.
    """

    memory: Float[Tensor, "batch heads features values"]
    position: Int[Tensor, " batch"]


class RetNet(Mixer):
    """S_t = gamma_h S_(t-1) + k_t v_t^T, o_t = S_t^T q_t / sqrt K, y = (silu(x W_g) * norm(o)) W_o.

    Sun et al. 2023, arXiv 2307.08621. Head h = 0, 1, .. keeps gamma_h = 1 - 2^(-5 - h) of its state with
    every token; queries and keys have rotary positions; the norm is an RMS norm over each head by itself,
    without weights.

    Deviation: the paper also divides by the norm of a head's decays and by the sum of a row's similarities.
    Both are factors of a whole head, which the norm by head removes up to its eps, and are left out.

    Decays and sums are float32 (float64 for float64 x): in bfloat16 gamma is 1 from the fifth head on.

    Args:
        dim: Width of the tokens; `heads` must divide it into even parts.
        config: Heads, expansion, eps, form.
        causal: Must be True; `bidirectional` runs it from both ends.

    Cost per head: O(T K V) for `recurrent` and `chunk`, O(T^2 (K + V)) for `parallel`.

    Raises:
        ValueError: `heads` does not divide `dim`, or into odd parts; `causal=False`.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("retnet", dim=16, heads=2)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-5)
        True
    """

    spreads = True

    def __init__(self, dim: int, config: RetNetConfig | None = None, *, causal: bool = True) -> None:
        self.config = config = config or RetNetConfig()
        check_causal(config.kind, causal)
        forms: tuple[Form, ...] = ("naive", "parallel", "chunk", "recurrent")
        super().__init__(dim, causal=causal, forms=forms, form=config.form)
        self.heads, self.head_dim = config.heads, head_width("retnet", dim, config.heads)
        if self.head_dim % 2:
            raise ValueError(
                f"mixer 'retnet': rotary positions need an even head dimension, got {dim} / {config.heads}"
            )
        wide = config.expansion * dim
        self.project = nn.Linear(dim, 2 * dim + 2 * wide, bias=False)
        self.out = nn.Linear(wide, dim, bias=False)
        self.widths = [dim, dim, wide, wide]

    def mix(self, x, state, valid):
        """Project, turn, retain, normalise by head, gate, project."""
        batch, length, _ = x.shape
        q, k, v, gate = self.project(x).split(self.widths, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (q, k, v))
        exact = ops.accumulator_dtype(x.dtype)
        start = x.new_zeros(batch, dtype=torch.int64) if state is None else state.position
        count = torch.full_like(start, length) if valid is None else valid.sum(1)
        start, position = self.advance(start, count)
        places = start[:, None] + torch.arange(length, device=x.device)
        q, k = rotary(q.to(exact), places), rotary(k.to(exact), places)
        decay = self.log_decay(exact, x.device)
        if valid is not None:
            k = torch.where(valid[:, :, None, None], k, 0)
            decay = torch.where(valid[:, :, None], decay, 0)
        memory = None if state is None else state.memory
        self.last_form = ops.linear_attention_plan(q, k, v, decay, form=self.form).form
        retain = partial(ops.linear_attention, q, k, v.to(exact), decay, scale=self.head_dim**-0.5)
        o, memory = self.recur(
            partial(retain, form=self.form), memory, lambda: ops.linear_attention_piece(k, v.to(exact), decay)
        )
        o = simple_rms_norm(o, self.config.eps).flatten(2).to(gate.dtype)
        return self.out(F.silu(gate) * o), RetNetState(memory, position)

    def log_decay(self, dtype: torch.dtype, device: torch.device | None = None) -> Float[Tensor, " heads"]:
        """log gamma of every head."""
        return torch.log1p(-(2.0 ** -(5 + torch.arange(self.heads, dtype=dtype, device=device))))

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        weight = self.out.weight
        dtype, device = ops.accumulator_dtype(dtype or weight.dtype), device or weight.device
        shape = batch, self.heads, self.head_dim, self.config.expansion * self.head_dim
        return RetNetState(
            torch.zeros(shape, dtype=dtype, device=device),
            torch.zeros(batch, dtype=torch.int64, device=device),
        )

    def state_size(self, length):
        """Independent of `length`."""
        itemsize = ops.accumulator_dtype(self.out.weight.dtype).itemsize
        return itemsize * self.config.expansion * self.dim * self.head_dim + 8

    def cost(self, length):
        """The quadratic form against the linear ones."""
        features, values = self.head_dim, self.config.expansion * self.head_dim
        pair, token, bytes_ = 2 * (features + values), 4 * features * values, 4 * self.heads
        linear = Cost(self.heads * length * token, bytes_ * features * values)
        return {
            "parallel": Cost(self.heads * length * length * pair, bytes_ * length * length),
            "chunk": linear,
            "recurrent": linear,
        }
