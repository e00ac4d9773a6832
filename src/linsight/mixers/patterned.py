"""What mixers that attend by a pattern share: heads, positions, combinations of two parts, the cache."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Cost, Form
from linsight.mixers.cache import extended, started
from linsight.mixers.heads import HeadedMixer
from linsight.nn import rotary

__all__ = ["Combine", "PatternedAttention", "Positions", "check_choice", "place"]

Combine = Literal["merged", "heads"]
Positions = Literal["none", "rotary"]


class Tokens(NamedTuple):
    """Projected tokens: queries, keys and values, the place of each, and how many of a row there are."""

    q: Tensor
    k: Tensor
    v: Tensor
    places: Tensor
    counts: Tensor


def check_choice(kind: str, option: str, choice: object, known: tuple[object, ...]) -> None:
    """Refuse a choice that does not exist."""
    if choice not in known:
        raise ValueError(f"mixer {kind!r}: expected {option} {' or '.join(map(repr, known))}, got {choice!r}")


def place(mixer: HeadedMixer, x: Tensor, state: Any, valid: Tensor | None, how: Positions) -> Tokens:
    """The tokens x, projected, each at its place: from the state's `position` onwards, or from 0."""
    batch, length, _ = x.shape
    q, k, v = mixer.project(x).unbind(2)
    start = x.new_zeros(batch, dtype=torch.int64) if state is None else state.position
    places = start[:, None] + torch.arange(length, device=x.device)
    if how == "rotary":
        q, k = rotary(q, places), rotary(k, places)
    if valid is None:
        return Tokens(q, k, v, places, torch.full_like(start, length))
    k, v = (torch.where(valid[:, :, None, None], tensor, 0) for tensor in (k, v))
    return Tokens(q, k, v, places, valid.sum(1))


class PatternedAttention(HeadedMixer):
    """Base of mixers whose state is a cache of all tokens, of which a query reads two small parts.

    `combine="merged"` attends to the union of both parts, `"heads"` gives the first part to the first half of
    the heads and the second part to the others. `part` leaves one of them out, for layers that take turns.

    Args:
        kind: The mixer's name, for messages.
        dim: Width of the tokens; `heads` must divide it.
        config: The kind's configuration: `heads`, `stride`, `combine`, `part`, `positions`, `form`.
        causal: Whether token t sees the tokens up to t alone.

    Raises:
        ValueError: `heads` does not divide `dim`, or is odd and to be halved; rotary positions with an odd
            head dimension.
    """

    keeps = ("keys", "values")
    state_type: ClassVar[Any]
    """The cache's type: a NamedTuple of `keys`, `values` and `position`."""

    def __init__(self, kind: str, dim: int, config: Any, *, causal: bool) -> None:
        forms: tuple[Form, ...] = ("naive", "chunk")
        super().__init__(kind, dim, config.heads, causal=causal, forms=forms, form=config.form)
        check_heads(self, kind, config.positions)
        if config.combine == "heads" and config.heads % 2:
            raise ValueError(
                f"mixer {kind!r}: combine='heads' halves the heads, got heads {config.heads}; "
                f"use an even number"
            )
        self.config = config
        self.period = config.stride

    @abstractmethod
    def pattern(self, part: ops.Part) -> ops.Pattern:
        """The places that a query attends to."""

    def mix(self, x, state, valid):
        """Project, append to the cache, attend to a part of it, project."""
        start = None if state is None else state.position
        q, k, v, places, counts = place(self, x, state, valid, self.config.positions)
        self.last_form = "naive" if self.form == "naive" else "chunk"
        if not self.causal:
            return self.out(self._attend(q, k, v, None, valid).flatten(2)), None
        if state is None:
            cache = started(self.state_type, (k, v), counts, valid)
        else:
            cache = extended(state, (k, v), places, counts, valid)
            k, v = cache.keys, cache.values
        return self.out(self._attend(q, k, v, start, None).flatten(2)), cache

    def _attend(self, q, k, v, start, valid):
        if self.config.combine == "merged" or self.config.part != "both":
            return self._attend_part(q, k, v, start, valid, self.config.part)
        (q1, q2), (k1, k2), (v1, v2) = (x.chunk(2, dim=2) for x in (q, k, v))
        first = self._attend_part(q1, k1, v1, start, valid, "first")
        return torch.cat([first, self._attend_part(q2, k2, v2, start, valid, "second")], dim=2)

    def _attend_part(self, q, k, v, start, valid, part):
        form = "naive" if self.form == "naive" else "chunk"
        return ops.pattern_attention(q, k, v, self.pattern(part), start=start, valid=valid, form=form)

    def initial_state(self, batch, *, dtype=None, device=None):
        """An empty cache."""
        if not self.causal:
            return None
        weight = self.qkv.weight
        dtype, device = dtype or weight.dtype, device or weight.device
        empty = torch.zeros(batch, 0, self.heads, self.head_dim, dtype=dtype, device=device)
        return self.state_type(empty, empty.clone(), torch.zeros(batch, dtype=torch.int64, device=device))

    def state_size(self, length):
        """Grows with `length`: all tokens are kept, though a step reads few of them."""
        return 2 * length * self.dim * self.qkv.weight.dtype.itemsize + 8 if self.causal else 0

    def cost(self, length):
        """What a query reads: near places twice, half of which are masked, and far candidates."""
        config = self.config
        pattern = self.pattern(config.part)
        back, ahead = pattern.reach
        device = torch.device("meta")
        far = 0
        if config.part != "first":
            start = torch.zeros(1, dtype=torch.int64, device=device)
            rows = -(-length // pattern.segment)
            far = pattern.far_places(start, rows, 1, 0, length).shape[-1]
        read = back + ahead + min(pattern.segment, length) + far
        return {"chunk": Cost(4 * length * read * self.dim, 4 * self.heads * length * read)}

    @property
    def state_grows(self):
        """The cache's second axis counts tokens."""
        return True


def check_heads(mixer: HeadedMixer, kind: str, how: Positions) -> None:
    """Refuse rotary positions with an odd head dimension."""
    if how == "rotary" and mixer.head_dim % 2:
        raise ValueError(
            f"mixer {kind!r}: rotary positions need an even head dimension, got {mixer.dim} / {mixer.heads}"
        )
