"""Mamba-2: linear attention whose heads decay at rates that every token chooses."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, Mixer, MixerConfig
from linsight.mixers.recurrence import check_causal, initial_steps
from linsight.nn import GatedRMSNorm, ShortConvolution

__all__ = ["Mamba2", "Mamba2Config", "Mamba2State"]


@dataclass(frozen=True)
class Mamba2Config(MixerConfig):
    """Mamba-2: widths, groups of heads, taps, and where the gate stands."""

    replaces_mlp: ClassVar[bool] = True
    directions: ClassVar[tuple[bool, ...]] = (True,)

    kind: Literal["mamba2"] = "mamba2"
    expansion: int = 2
    """Channels over the width of the tokens."""
    states: int = 128
    """States of a channel."""
    head_dim: int = 64
    """Channels of a head; all of them in one where there are fewer."""
    groups: int = 1
    """Groups of heads that share their writes and reads, and of channels that share a norm."""
    taps: int = 4
    """Tokens that the convolution before the recurrence sees."""
    norm_before_gate: bool = False
    """Whether the gate multiplies what the norm gives, or what the norm gets."""
    step_limits: tuple[float, float] | None = None
    """The least and the largest step; None for no limits."""
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse sizes below 1, and limits that are none."""
        for name in ("expansion", "states", "head_dim", "groups", "taps"):
            if getattr(self, name) < 1:
                raise ValueError(f"mixer 'mamba2': expected {name} of at least 1, got {getattr(self, name)}")
        if self.step_limits is not None and not 0 <= self.step_limits[0] <= self.step_limits[1]:
            raise ValueError(f"step_limits: expected 0 <= least <= largest, got {self.step_limits}")

    def build(self, dim: int, *, causal: bool = True) -> "Mamba2":
        """The mixer for tokens of width `dim`."""
        return Mamba2(dim, self, causal=causal)


class Mamba2State(NamedTuple):
    """The last inputs of the convolution, as they came, and the memory of every head.

    `inputs`: `(batch, taps - 1, channels + 2 * groups * states)`, oldest first, in the dtype of the tokens.
    `memory`: `(batch, heads, states, head_dim)`, float32, the authors' transposed. Their size does not depend
    on the number of tokens.
    """

    inputs: Float[Tensor, "batch held convolved"]
    memory: Float[Tensor, "batch heads states channels"]


class Mamba2(Mixer):
    """The state space dual: a branch of a block without feed-forward network.

        z, (x, B, C), d = W_in u,  x, B, C = silu(conv(x, B, C)),  delta = softplus(d + dt_bias)
        S_t = exp(delta_t A) S_(t-1) + delta_t B_t x_t^T,  y_t = S_t^T C_t + D x_t        in every head
        out = W_out (rms_norm(y * silu(z)) * weight)

    Dao, Gu 2024, arXiv 2405.21060, with A = -exp(A_log), a number for each head: `ops.linear_attention` with
    q = C, k = B, v = delta x and a decay by token. Parameters have the names, shapes and initial values of
    the authors' code (`in_proj.weight`, `conv1d.weight`, `conv1d.bias`, `dt_bias`, `A_log`, `D`,
    `norm.weight`, `out_proj.weight`), so its weights load as they are. A_log, D and dt_bias are not decayed
    by optimisers. eps is 1e-5.

    Deviation: the convolution's state has `taps - 1` inputs, since the authors' oldest one is never seen.

    Args:
        dim: Width of the tokens; any, as long as heads are whole.
        config: Sizes, norm, form.
        causal: Must be True; the kind `bidirectional` runs it from both ends.

    Steps, decays, sums and the norm are float32 (float64 for float64 x), whatever the autocast.

    Cost per head with N states and P channels: O(T N P) for `recurrent` and `chunk`, O(T^2 (N + P)) for
    `parallel`.

    Raises:
        ValueError: `causal=False`; channels that are not whole heads, or heads that are not whole groups.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("mamba2", dim=16, states=8, head_dim=8)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-5)
        True
    """

    spreads = True
    keeps = ("inputs",)

    def __init__(self, dim: int, config: Mamba2Config | None = None, *, causal: bool = True) -> None:
        config = config or Mamba2Config()
        check_causal(config.kind, causal)
        forms: tuple[Form, ...] = ("naive", "parallel", "chunk", "recurrent")
        super().__init__(dim, causal=True, forms=forms, form=config.form)
        channels = config.expansion * dim
        self.head_dim = min(config.head_dim, channels)
        self.heads = heads = channels // self.head_dim
        if channels % self.head_dim or heads % config.groups:
            raise ValueError(
                f"mixer 'mamba2': dim {dim} x expansion {config.expansion} are {channels} channels; expected "
                f"whole heads of {self.head_dim}, in {config.groups} equal groups"
            )
        self.config = config
        self.convolved = [channels, config.groups * config.states, config.groups * config.states]
        self.projected = [channels, sum(self.convolved), heads]
        self.in_proj = nn.Linear(dim, sum(self.projected), bias=False)
        self.conv1d = ShortConvolution(sum(self.convolved), config.taps)
        self.dt_bias = nn.Parameter(initial_steps(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedRMSNorm(channels, groups=config.groups, before_gate=config.norm_before_gate)
        self.out_proj = nn.Linear(channels, dim, bias=False)
        self.hint("A_log", "D", "dt_bias", decay=False)

    def mix(self, x, state, valid):
        """Project, convolve, choose steps, sum with decay, normalise and gate, project."""
        inputs, memory = (None, None) if state is None else state
        gate, mixed, step = self.in_proj(x).split(self.projected, dim=-1)
        mixed, inputs = self.conv1d(mixed, inputs, valid)
        x, key, read = F.silu(mixed).split(self.convolved, dim=-1)
        exact = ops.accumulator_dtype(x.dtype)
        step = F.softplus(step.to(exact) + self.dt_bias.to(exact))
        if self.config.step_limits is not None:
            step = step.clamp(*self.config.step_limits)
        if valid is not None:
            step = torch.where(valid[..., None], step, 0)
        x = x.to(exact).unflatten(-1, (self.heads, self.head_dim))
        q, k, v = self._by_head(read), self._by_head(key), x * step.unsqueeze(-1)
        decay = -self.A_log.to(exact).exp() * step
        self.last_form = ops.linear_attention_plan(q, k, v, decay, form=self.form).form
        o, memory = self.recur(
            partial(ops.linear_attention, q, k, v, decay, form=self.form),
            memory,
            lambda: ops.linear_attention_piece(k, v, decay),
        )
        o = o + self.D.to(exact)[:, None] * x
        return self.out_proj(self.norm(o.flatten(2), gate).to(gate.dtype)), Mamba2State(inputs, memory)

    @property
    def out(self) -> nn.Linear:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last projection, under the name that all mixers have."""
        return self.out_proj

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        inputs = self.conv1d.initial_state(batch, dtype=dtype, device=device)
        shape = batch, self.heads, self.config.states, self.head_dim
        return Mamba2State(inputs, inputs.new_zeros(shape, dtype=ops.accumulator_dtype(inputs.dtype)))

    def state_size(self, length):
        """Independent of `length`."""
        dtype = self.in_proj.weight.dtype
        held = (self.config.taps - 1) * sum(self.convolved) * dtype.itemsize
        return held + self._numbers * ops.accumulator_dtype(dtype).itemsize

    def cost(self, length):
        """The quadratic form against the linear ones."""
        pair = 2 * self.heads * (self.config.states + self.head_dim)
        linear = Cost(4 * length * self._numbers, 4 * self._numbers)
        return {
            "parallel": Cost(length * length * pair, 4 * self.heads * length * length),
            "chunk": linear,
            "recurrent": linear,
        }

    @property
    def _numbers(self) -> int:
        return self.heads * self.config.states * self.head_dim

    def _by_head(self, x: Float[Tensor, "batch length shared"]) -> Float[Tensor, "batch length heads states"]:
        """Give the heads of a group what they share."""
        x = x.unflatten(-1, (self.config.groups, 1, self.config.states))
        return x.expand(-1, -1, -1, self.heads // self.config.groups, -1).flatten(2, 3)
