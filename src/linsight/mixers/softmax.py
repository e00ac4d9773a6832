"""Softmax attention, the quadratic peer: the same contract, its state is the cache of keys and values."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.cache import extended, started, uniform
from linsight.mixers.heads import HeadedMixer
from linsight.nn import rotary

__all__ = ["KeyValueCache", "SoftmaxAttention", "SoftmaxAttentionConfig"]


@dataclass(frozen=True)
class SoftmaxAttentionConfig(MixerConfig):
    """Softmax attention: `heads`, and rotary positions or none."""

    kind: Literal["softmax"] = "softmax"
    heads: int = 4
    positions: Literal["none", "rotary"] = "none"
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse positions that do not exist."""
        if self.positions not in ("none", "rotary"):
            raise ValueError(f"positions: expected 'none' or 'rotary', got {self.positions!r}")

    def build(self, dim: int, *, causal: bool = True) -> "SoftmaxAttention":
        """The mixer for tokens of width `dim`."""
        return SoftmaxAttention(dim, self, causal=causal)


class KeyValueCache(NamedTuple):
    """The keys and values of all tokens so far, `(batch, length, heads, head_dim)` each.

    `position` `(batch,)` counts the tokens of every row; `length` is the largest of them, and places beyond
    a row's own position are not looked at.
    """

    keys: Float[Tensor, "batch length heads dim"]
    values: Float[Tensor, "batch length heads dim"]
    position: Int[Tensor, " batch"]


class SoftmaxAttention(HeadedMixer):
    """o_t = sum_(j <= t) softmax_j(q_t . k_j / sqrt K) v_j, by `scaled_dot_product_attention`.

    Vaswani et al. 2017, arXiv 1706.03762; rotary positions: Su et al. 2021, arXiv 2104.09864. With
    `causal=False` the sum runs over all tokens of the row.

    Cost: O(T^2 K) per head; a decoding step costs O(position). State: 2 * position * dim numbers in the dtype
    of the tokens, plus the position. The cache grows geometrically and is written in place only where no
    other state can see it: a state that is continued twice is copied the second time.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, positions, form.
        causal: Whether token t sees the tokens up to t alone.

    Raises:
        ValueError: `heads` does not divide `dim`; rotary positions with an odd head dimension.
    """

    keeps = ("keys", "values")

    def __init__(
        self, dim: int, config: SoftmaxAttentionConfig | None = None, *, causal: bool = True
    ) -> None:
        config = config or SoftmaxAttentionConfig()
        forms: tuple[Form, ...] = ("naive", "parallel")
        super().__init__("softmax", dim, config.heads, causal=causal, forms=forms, form=config.form)
        if config.positions == "rotary" and (dim // config.heads) % 2:
            raise ValueError(
                f"mixer 'softmax': rotary positions need an even head dimension, got {dim} / {config.heads}"
            )
        self.config = config

    def mix(self, x, state, valid):
        """Project, append to the cache, attend, project."""
        batch, length, _ = x.shape
        q, k, v = self.project(x).unbind(2)
        start = x.new_zeros(batch, dtype=torch.int64) if state is None else state.position
        places = start[:, None] + torch.arange(length, device=x.device)
        if self.config.positions == "rotary":
            q, k = rotary(q, places), rotary(k, places)
        if valid is not None:
            k, v = (torch.where(valid[:, :, None, None], t, 0) for t in (k, v))
        counts = x.new_full((batch,), length, dtype=torch.int64) if valid is None else valid.sum(1)
        if not self.causal:
            mask = None if valid is None else valid[:, None, None]
            o = self._attend(q, k, v, mask, is_causal=False)
            return self.out(o.flatten(2)), None
        if state is None:
            cache = started(KeyValueCache, (k, v), counts, valid)
            o = self._attend(q, k, v, None, is_causal=True)
        else:
            cache = extended(state, (k, v), places, counts, valid)
            seen = torch.arange(cache.keys.shape[1], device=x.device)
            mask = None
            if length > 1 or not uniform(cache.position):
                mask = (seen <= places[..., None])[:, None]
            o = self._attend(q, cache.keys, cache.values, mask, is_causal=False)
        return self.out(o.flatten(2)), cache

    def _attend(self, q, k, v, mask, *, is_causal):
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        if self.form == "naive":
            self.last_form = "naive"
            return _naive(q, k, v, mask, is_causal=is_causal).transpose(1, 2)
        self.last_form = "parallel"
        if k.shape[2] == 0:  # every row of the batch is empty
            return torch.zeros_like(q).transpose(1, 2)
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal).transpose(1, 2)

    def initial_state(self, batch, *, dtype=None, device=None):
        """An empty cache."""
        if not self.causal:
            return None
        weight = self.qkv.weight
        dtype, device = dtype or weight.dtype, device or weight.device
        empty = torch.zeros(batch, 0, self.heads, self.head_dim, dtype=dtype, device=device)
        return KeyValueCache(empty, empty.clone(), torch.zeros(batch, dtype=torch.int64, device=device))

    def state_size(self, length):
        """Grows with `length`."""
        return 2 * length * self.dim * self.qkv.weight.dtype.itemsize + 8 if self.causal else 0

    def cost(self, length):
        """Quadratic in `length`; the fused attention keeps no score matrix."""
        flops = 4 * length * length * self.dim // (2 if self.causal else 1)
        return {"parallel": Cost(flops, 4 * length * self.dim)}

    @property
    def state_grows(self):
        """The cache's second axis counts tokens."""
        return True


def _naive(q, k, v, mask, *, is_causal):
    """The definition, one query at a time; q, k, v `(batch, heads, length, head_dim)`."""
    rows = []
    for t in range(q.shape[2]):
        visible = t + 1 if is_causal else k.shape[2]
        scores = (q[:, :, t, None] * k[:, :, :visible]).sum(-1) / q.shape[-1] ** 0.5
        if mask is not None:
            allowed = mask[:, :, min(t, mask.shape[2] - 1), :visible]
            allowed = allowed | ~allowed.any(-1, keepdim=True)  # an empty row: any finite value will do
            scores = scores.masked_fill(~allowed, float("-inf"))
        rows.append((scores.softmax(-1)[..., None] * v[:, :, :visible]).sum(2))
    return torch.stack(rows, dim=2)
