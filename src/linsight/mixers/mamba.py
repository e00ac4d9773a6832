"""Mamba: a state space model whose rates, writes and reads are chosen by every token."""

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
from linsight.nn import ShortConvolution

__all__ = ["Mamba", "MambaConfig", "MambaState"]


@dataclass(frozen=True)
class MambaConfig(MixerConfig):
    """Mamba: how much wider it is than the tokens, states of a channel, rank of the steps, taps."""

    replaces_mlp: ClassVar[bool] = True
    directions: ClassVar[tuple[bool, ...]] = (True,)

    kind: Literal["mamba"] = "mamba"
    expansion: int = 2
    """Channels over the width of the tokens."""
    states: int = 16
    """States of a channel."""
    step_rank: int | None = None
    """Numbers that the steps of all channels are made of; None: width of the tokens / 16, rounded up."""
    taps: int = 4
    """Tokens that the convolution before the recurrence sees."""
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse sizes below 1."""
        for name in ("expansion", "states", "step_rank", "taps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"mixer 'mamba': expected {name} of at least 1, got {value}")

    def build(self, dim: int, *, causal: bool = True) -> "Mamba":
        """The mixer for tokens of width `dim`."""
        return Mamba(dim, self, causal=causal)


class MambaState(NamedTuple):
    """The last inputs of the convolution, as they came, and the states of every channel.

    `inputs`: `(batch, taps - 1, channels)`, oldest first, in the dtype of the tokens. `memory`: `(batch,
    channels, states)`, float32. Their size does not depend on the number of tokens.
    """

    inputs: Float[Tensor, "batch held channels"]
    memory: Float[Tensor, "batch channels states"]


class Mamba(Mixer):
    """A selective state space model between two gates: the branch of a block without feed-forward network.

        x, z = W_in u,  x = silu(conv(x)),  r, B, C = W_x x,  delta = softplus(W_dt r + b_dt)
        h_t = exp(delta_t A) h_(t-1) + delta_t B_t x_t,  y_t = C_t h_t + D x_t,  out = W_out (y * silu(z))

    Gu, Dao 2023, arXiv 2312.00752, with A = -exp(A_log), a matrix of rates by channel and state. Parameters
    have the names, shapes and initial values of the authors' code (`in_proj.weight`, `conv1d.weight`,
    `conv1d.bias`, `x_proj.weight`, `dt_proj.weight`, `dt_proj.bias`, `A_log`, `D`, `out_proj.weight`), so its
    weights load as they are. A_log, D and the biases are not decayed by optimisers.

    Deviation: the convolution's state has `taps - 1` inputs, since the authors' oldest one is never seen.

    Args:
        dim: Width of the tokens.
        config: Sizes, form.
        causal: Must be True; the kind `bidirectional` runs it from both ends.

    Steps, decays and sums are float32 (float64 for float64 x), whatever the autocast.

    Cost: O(T channels states) beside the projections, in every form; see `ops.selective_scan`.

    Raises:
        ValueError: `causal=False`.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("mamba", dim=16)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)
        True
    """

    spreads = True
    keeps = ("inputs",)

    def __init__(self, dim: int, config: MambaConfig | None = None, *, causal: bool = True) -> None:
        config = config or MambaConfig()
        check_causal(config.kind, causal)
        super().__init__(dim, causal=True, forms=("naive", "chunk", "recurrent"), form=config.form)
        self.config = config
        channels, states, rank = config.expansion * dim, config.states, config.step_rank or -(-dim // 16)
        self.widths = [rank, states, states]
        self.in_proj = nn.Linear(dim, 2 * channels, bias=False)
        self.conv1d = ShortConvolution(channels, config.taps)
        self.x_proj = nn.Linear(channels, sum(self.widths), bias=False)
        self.dt_proj = nn.Linear(rank, channels)
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(channels, 1))
        self.D = nn.Parameter(torch.ones(channels))
        self.out_proj = nn.Linear(channels, dim, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(initial_steps(channels))
        self.hint("A_log", "D", "dt_proj.bias", decay=False)

    def mix(self, x, state, valid):
        """Project, convolve, choose steps, scan, gate, project."""
        inputs, memory = (None, None) if state is None else state
        x, gate = self.in_proj(x).chunk(2, dim=-1)
        x, inputs = self.conv1d(x, inputs, valid)
        x = F.silu(x)
        step, key, read = self.x_proj(x).split(self.widths, dim=-1)
        exact = ops.accumulator_dtype(x.dtype)
        step = F.linear(step, self.dt_proj.weight).to(exact) + self.dt_proj.bias
        step = F.softplus(step)
        if valid is not None:
            step = torch.where(valid[..., None], step, 0)
        rates = -self.A_log.to(exact).exp()
        self.last_form = ops.selective_scan_plan(x, form=self.form).form
        y, memory = self.recur(
            partial(ops.selective_scan, x, step, rates, key, read, self.D, form=self.form),
            memory,
            lambda: ops.selective_scan_piece(x, step, rates, key),
        )
        return self.out_proj(y * F.silu(gate)), MambaState(inputs, memory)

    @property
    def out(self) -> nn.Linear:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last projection, under the name that all mixers have."""
        return self.out_proj

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        inputs = self.conv1d.initial_state(batch, dtype=dtype, device=device)
        exact = ops.accumulator_dtype(inputs.dtype)
        return MambaState(inputs, inputs.new_zeros(batch, *self.A_log.shape, dtype=exact))

    def state_size(self, length):
        """Independent of `length`."""
        dtype = self.in_proj.weight.dtype
        held, exact = self.config.taps - 1, ops.accumulator_dtype(dtype)
        return len(self.D) * (held * dtype.itemsize + self.config.states * exact.itemsize)

    def cost(self, length):
        """A decay, a write and a read of every state, an exponential counted as one operation."""
        numbers = self.A_log.numel()
        one = Cost(7 * length * numbers, 4 * numbers)
        # The decays and the states of a block of 32 tokens.
        return {"chunk": one._replace(bytes=2 * 32 * one.bytes), "recurrent": one}
