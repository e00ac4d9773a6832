"""The HiPPO-RNN: a gated cell whose memory is the projection of its whole past on polynomials."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, Mixer, MixerConfig
from linsight.mixers.recurrence import check_causal
from linsight.nn import legs_transition

__all__ = ["HippoRNN", "HippoRNNConfig", "HippoRNNState"]

BLOCK = 16
"""Steps whose matrices are made together."""
CACHE = 2**30
"""Bytes of them that a module keeps: 784 steps of order 512 in float32."""


@dataclass(frozen=True)
class HippoRNNConfig(MixerConfig):
    """The HiPPO-RNN: its hidden units, its memories and their order, and how time is cut into steps."""

    kind: Literal["hippo"] = "hippo"
    directions: ClassVar[tuple[bool, ...]] = (True,)
    hidden: int | None = None
    """Units of the cell; None for as many as channels."""
    order: int = 64
    """N, the coefficients of each memory."""
    memories: int = 1
    """Signals that are remembered."""
    discretisation: Literal["bilinear", "zoh", "euler"] = "bilinear"
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse sizes below 1, and steps that do not exist."""
        for name in ("hidden", "order", "memories"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"mixer 'hippo': expected {name} of at least 1, got {value}")
        if self.discretisation not in ("bilinear", "zoh", "euler"):
            raise ValueError(
                f"mixer 'hippo': expected discretisation bilinear, zoh or euler, got {self.discretisation!r}"
            )

    def build(self, dim: int, *, causal: bool = True) -> "HippoRNN":
        """The mixer for tokens of width `dim`."""
        return HippoRNN(dim, self, causal=causal)


class HippoRNNState(NamedTuple):
    """The cell, its memory, and how many tokens that holds: the next step's matrices depend on it.

    `h` `(batch, hidden)` and `m` `(batch, memories, order)`, float32; `step` `(batch,)`, int64. Bytes per
    sequence: 4 (hidden + memories * order) + 8, whatever the length.
    """

    h: Float[Tensor, "batch hidden"]
    m: Float[Tensor, "batch memories order"]
    step: Int[Tensor, "batch"]


class HippoRNN(Mixer):
    """A cell that reads the past as Legendre coefficients of everything it wrote down so far.

        u_t = W_uxh [x_t, h_(t-1)],   m_t = A_bar_t m_(t-1) + B_bar_t u_t,
        c_t = tanh(W_hxm [x_t, m_t]), g_t = sigmoid(W_gxm [x_t, m_t]), h_t = (1 - g_t) h_(t-1) + g_t c_t

    with HiPPO-LegS, whose matrices change with the number t of tokens so far (`linsight.nn.hippo`), and
    y_t = W_out h_t. Gu, Dao, Ermon, Rudra, Re 2020, arXiv 2008.07669.

    h feeds u, so that tokens can only follow one another: there is no parallel form. The matrices of a step
    are made by a triangular solve, in float64, sixteen steps at a time, and kept for the next calls.

    Args:
        dim: Width of the tokens.
        config: Hidden units, order, memories, discretisation, form.
        causal: True; a wrapper runs any causal mixer both ways.

    Cost: O(T (memories order^2 + memories order hidden)), one token after another.

    Raises:
        ValueError: a size below 1; a discretisation that does not exist.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("hippo", dim=16, order=8)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)
        True
    """

    period = BLOCK

    def __init__(self, dim: int, config: HippoRNNConfig | None = None, *, causal: bool = True) -> None:
        config = config or HippoRNNConfig()
        check_causal(config.kind, causal)
        super().__init__(dim, causal=True, forms=("naive", "recurrent"), form=config.form)
        self.hidden = config.hidden or dim
        self.order, self.memories = config.order, config.memories
        self.uxh = nn.Linear(dim + self.hidden, self.memories)
        self.hxm = nn.Linear(dim + self.memories * self.order, self.hidden)
        self.gxm = nn.Linear(dim + self.memories * self.order, self.hidden)
        self.out = nn.Linear(self.hidden, dim, bias=False)
        self.config = config
        self._blocks: dict[tuple, tuple[Tensor, Tensor]] = {}

    def mix(self, x, state, valid):
        """One token after another, then out of the cell."""
        exact = ops.accumulator_dtype(x.dtype)
        state = self.initial_state(len(x), dtype=exact, device=x.device) if state is None else state
        self.last_form = "naive" if self.form == "naive" else "recurrent"
        run = self._by_definition if self.form == "naive" else self._by_token
        h, final, m = run(x, state, valid, exact)
        tokens = x.shape[1] if valid is None else valid.sum(1)
        return self.out(h.to(x.dtype)), HippoRNNState(final, m, state.step + tokens)

    def _by_definition(self, x, state, valid, exact):
        """The equations as they are written, in the sums' dtype."""
        x, h, m = x.to(exact), state.h.to(exact), state.m.to(exact)
        outputs = []
        with ops.without_autocast(x.device):
            for t, token in enumerate(x.unbind(1)):
                u = _apply(self.uxh, torch.cat([token, h], -1))
                A, B = legs_transition(state.step + t + 1, self.order, self.config.discretisation)
                new_m = torch.einsum("bnk,bmk->bmn", A.to(exact), m) + u[..., None] * B.to(exact)[:, None]
                seen = torch.cat([token, new_m.flatten(1)], -1)
                c, g = _apply(self.hxm, seen).tanh(), _apply(self.gxm, seen).sigmoid()
                new = (1 - g) * h + g * c
                h = new if valid is None else torch.where(valid[:, t, None], new, h)
                m = new_m if valid is None else torch.where(valid[:, t, None, None], new_m, m)
                outputs.append(h)
        return torch.stack(outputs, 1), h, m

    def _by_token(self, x, state, valid, exact):
        """What depends on the tokens alone is projected at once; nine operations a token remain."""
        dim, hidden = self.dim, self.hidden
        of_x = torch.cat([self.uxh.weight[:, :dim], self.hxm.weight[:, :dim], self.gxm.weight[:, :dim]])
        bias = torch.cat([self.uxh.bias, self.hxm.bias, self.gxm.bias])
        from_x = F.linear(x, of_x, bias).to(exact)
        with ops.without_autocast(x.device):
            of_h = self.uxh.weight[:, dim:].to(exact).mT
            of_m = torch.cat([self.hxm.weight[:, dim:], self.gxm.weight[:, dim:]]).to(exact).mT
            h, m, outputs = state.h.to(exact), state.m.to(exact), []
            into_u, into_cell = from_x.split([self.memories, 2 * hidden], -1)
            tokens = zip(into_u.unbind(1), into_cell.unbind(1), strict=True)
            transitions = self._transitions(state.step, x.shape[1], exact)
            for t, ((u, cell), (A, B)) in enumerate(zip(tokens, transitions, strict=True)):
                u = torch.addmm(u, h, of_h)
                new_m = torch.addcmul(m @ A, u[..., None], B)
                cell = torch.addmm(cell, new_m.flatten(1), of_m)
                new = torch.lerp(h, cell[:, :hidden].tanh(), cell[:, hidden:].sigmoid())
                h = new if valid is None else torch.where(valid[:, t, None], new, h)
                m = new_m if valid is None else torch.where(valid[:, t, None, None], new_m, m)
                outputs.append(h)
        return torch.stack(outputs, 1), h, m

    def _transitions(self, start: Tensor, length: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """A_bar^T and B_bar of each token: one for all rows where they have come equally far."""
        if torch.compiler.is_compiling():
            for t in range(length):
                A, B = legs_transition(start + t + 1, self.order, self.config.discretisation)
                yield A.mT.to(dtype), B[:, None].to(dtype)
            return
        starts = start.tolist()
        if len(set(starts)) <= 1:
            for t in range(length):
                yield self._transition((starts or [0])[0] + t, dtype, start.device)
            return
        for t in range(length):
            rows = [self._transition(row + t, dtype, start.device) for row in starts]
            yield torch.stack([A for A, _ in rows]), torch.stack([B for _, B in rows])[:, None]

    def _transition(self, done: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        """A_bar^T and B_bar of the step after `done` tokens."""
        block, place = divmod(done, BLOCK)
        key = (block, dtype, device)
        if key not in self._blocks:
            steps = torch.arange(block * BLOCK + 1, (block + 1) * BLOCK + 1, device=device)
            with torch.no_grad():
                A, B = legs_transition(steps, self.order, self.config.discretisation)
            if len(self._blocks) * BLOCK * self.order**2 * dtype.itemsize > CACHE:
                self._blocks.clear()
            self._blocks[key] = A.mT.to(dtype).contiguous(), B.to(dtype)
        A, B = self._blocks[key]
        return A[place], B[place]

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros, and no tokens."""
        weight = self.out.weight
        dtype, device = ops.accumulator_dtype(dtype or weight.dtype), device or weight.device
        return HippoRNNState(
            torch.zeros(batch, self.hidden, dtype=dtype, device=device),
            torch.zeros(batch, self.memories, self.order, dtype=dtype, device=device),
            torch.zeros(batch, dtype=torch.int64, device=device),
        )

    def state_size(self, length):
        """Independent of `length`."""
        itemsize = ops.accumulator_dtype(self.out.weight.dtype).itemsize
        return itemsize * (self.hidden + self.memories * self.order) + 8

    def cost(self, length):
        """Memory and cell, token by token."""
        numbers = self.memories * self.order
        token = 2 * (self.memories * self.hidden + numbers * self.order + 2 * self.hidden * numbers)
        return {"recurrent": Cost(token * length, 4 * (numbers + 3 * self.hidden))}


def _apply(layer: nn.Linear, x: Tensor) -> Tensor:
    """The layer in x's dtype."""
    return F.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))
