"""Local attention: a window of the last tokens, and a state of one window."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.heads import HeadedMixer
from linsight.mixers.patterned import Positions, check_choice, check_heads, place

__all__ = ["LocalAttention", "LocalAttentionConfig", "LocalAttentionState"]


@dataclass(frozen=True)
class LocalAttentionConfig(MixerConfig):
    """Local attention: `heads`, the window in tokens, and positions."""

    kind: Literal["local"] = "local"
    heads: int = 4
    window: int = 64
    positions: Positions = "none"
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        check_choice(self.kind, "positions", self.positions, ("none", "rotary"))
        if self.window < 1:
            raise ValueError(f"mixer 'local': expected window of at least 1, got {self.window}")

    def build(self, dim: int, *, causal: bool = True) -> "LocalAttention":
        """The mixer for tokens of width `dim`."""
        return LocalAttention(dim, self, causal=causal)


class LocalAttentionState(NamedTuple):
    """The keys and values that the next token sees beside its own, oldest first.

    `(batch, window - 1, heads, head_dim)` each, in the dtype of the tokens: the last is the newest, and
    places before the first token hold 0 and are not looked at. `position` `(batch,)` counts the tokens of
    every row.
    """

    keys: Float[Tensor, "batch window heads dim"]
    values: Float[Tensor, "batch window heads dim"]
    position: Int[Tensor, " batch"]


class LocalAttention(HeadedMixer):
    """o_i = sum_(i - w < j <= i) softmax_j(q_i . k_j / sqrt K) v_j, with a window of w tokens.

    Beltagy, Peters, Cohan 2020, arXiv 2004.05150, section 3.1. With `causal=False` the sum runs over
    |i - j| <= w.

    Cost: O(T w K) per head, a step O(w K). State: 2 (w - 1) dim numbers in the dtype of the tokens, plus the
    position, whatever the length.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, window, positions, form.
        causal: Whether token t sees the tokens up to t alone.

    Raises:
        ValueError: `heads` does not divide `dim`; a window below 1; rotary positions with an odd head
            dimension.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("local", dim=16, heads=2, window=8)
        >>> y, state = mixer(torch.randn(1, 30, 16))
        >>> state.keys.shape
        torch.Size([1, 7, 2, 8])
    """

    keeps = ("keys", "values")

    def __init__(self, dim: int, config: LocalAttentionConfig | None = None, *, causal: bool = True) -> None:
        config = config or LocalAttentionConfig()
        forms: tuple[Form, ...] = ("naive", "chunk")
        super().__init__("local", dim, config.heads, causal=causal, forms=forms, form=config.form)
        check_heads(self, "local", config.positions)
        self.config = config
        self.period = config.window
        self.pattern = ops.Window(config.window, causal)

    def mix(self, x, state, valid):
        """Project, put the window before the tokens, attend, keep the last window."""
        tokens = place(self, x, state, valid, self.config.positions)
        q, k, v, start = tokens.q, tokens.k, tokens.v, tokens.places[:, 0]
        self.last_form = form = "naive" if self.form == "naive" else "chunk"
        if not self.causal:
            o = ops.pattern_attention(q, k, v, self.pattern, valid=valid, form=form)
            return self.out(o.flatten(2)), None
        held = self.config.window - 1
        if state is None:
            o = ops.pattern_attention(q, k, v, self.pattern, form=form)
            k, v = (torch.cat([x.new_zeros(len(x), held, *x.shape[2:]), x], dim=1) for x in (k, v))
        else:
            k, v = torch.cat([state.keys, k], dim=1), torch.cat([state.values, v], dim=1)
            o = ops.pattern_attention(q, k, v, self.pattern, start=start, first=start - held, form=form)
        if valid is None:
            k, v = (x[:, x.shape[1] - held :] for x in (k, v))
        else:
            last = tokens.counts[:, None] + torch.arange(held, device=x.device)
            k, v = ops.take(k, last), ops.take(v, last)
        return self.out(o.flatten(2)), LocalAttentionState(k, v, start + tokens.counts)

    def initial_state(self, batch, *, dtype=None, device=None):
        """A window of zeros before the first token."""
        if not self.causal:
            return None
        weight = self.qkv.weight
        dtype, device = dtype or weight.dtype, device or weight.device
        empty = torch.zeros(
            batch, self.config.window - 1, self.heads, self.head_dim, dtype=dtype, device=device
        )
        return LocalAttentionState(empty, empty.clone(), torch.zeros(batch, dtype=torch.int64, device=device))

    def state_size(self, length):
        """Independent of `length`."""
        itemsize = self.qkv.weight.dtype.itemsize
        return 2 * (self.config.window - 1) * self.dim * itemsize + 8 if self.causal else 0

    def cost(self, length):
        """Blocks of queries against their keys, about half of which are in a window."""
        back, ahead = self.pattern.reach
        read = back + ahead + self.pattern.segment
        return {"chunk": Cost(4 * length * read * self.dim, 2 * length * (read + 4 * self.dim))}
