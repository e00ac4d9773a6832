"""The gated attention unit: one head of elementwise attention inside a gated linear unit."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.cache import extended, started
from linsight.mixers.gated import GatedMixer

__all__ = ["GatedAttention", "GatedAttentionCache", "GatedAttentionConfig"]

NORMS = ("chunk", "position", "length")


@dataclass(frozen=True)
class GatedAttentionConfig(MixerConfig):
    """GAU: width of values over width of tokens, width of queries, the kernel f, and what divides q . k."""

    replaces_mlp: ClassVar[bool] = True
    kind: Literal["gau"] = "gau"
    expansion: int = 2
    key_dim: int = 128
    kernel: Literal["relu2", "laplace"] = "relu2"
    norm: Literal["chunk", "position", "length"] | None = None
    """What divides q . k: `chunk`, the default where causal; the number of keys that the token sees
    (`position`); or the row's `length`, the default where not causal and refused where causal."""
    chunk: int = 256
    """The divisor of norm `chunk`, and the queries that form `chunk` takes at once."""
    form: Form = "auto"

    def build(self, dim: int, *, causal: bool = True) -> "GatedAttention":
        """The mixer for tokens of width `dim`."""
        return GatedAttention(dim, self, causal=causal)


class GatedAttentionCache(NamedTuple):
    """The keys and values of all tokens so far, `(batch, length, key_dim)` and `(batch, length, value_dim)`.

    `position` `(batch,)` counts the tokens of every row; `length` is the largest of them, and places beyond
    a row's own position are not looked at.
    """

    keys: Float[Tensor, "batch length features"]
    values: Float[Tensor, "batch length values"]
    position: Int[Tensor, " batch"]


class GatedAttention(GatedMixer):
    """Attention by elementwise weights, gated: the branch of a block that needs no feed-forward network.

        u = silu(x W_u), v = silu(x W_v), z = silu(x W_z)
        q = z * gamma_q + beta_q, k = z * gamma_k + beta_k
        y_i = (u_i * sum_j f(q_i . k_j / n + b_(i-j)) v_j) W_o        over j <= i

    Hua, Dai, Liu, Le 2022, arXiv 2202.10447, section 3.1, with f = relu^2, or `laplace` (Ma et al. 2022,
    arXiv 2209.10655). b is T5's relative bias. With `causal=False` j runs over all tokens of the row. The
    norm before and the residual around it belong to the block.

    Deviation: the paper's n is the length of the sequence, with which f(x[:50]) is not f(x)[:50], so that the
    model cannot decode; here n is `chunk` or the position. The sum over j itself is divided by nothing: far
    keys share one bias, and where f of it is not 0 the output grows with the position.

    Args:
        dim: Width of the tokens.
        config: Widths, kernel, norm, form.
        causal: Whether token t sees the tokens up to t alone.

    Cost: O(T^2 (key_dim + expansion * dim)) time; memory O(T^2) for `parallel`, O(T chunk) for `chunk`, whose
    backward computes similarities again; a step costs O(position). State: key_dim + expansion * dim numbers a
    token in the dtype of the tokens, plus the position.

    Raises:
        ValueError: An unknown kernel or norm; norm="length" with `causal`.
    """

    keeps = ("keys", "values")

    def __init__(self, dim: int, config: GatedAttentionConfig | None = None, *, causal: bool = True) -> None:
        config = config or GatedAttentionConfig()
        norm = config.norm or ("chunk" if causal else "length")
        if norm not in NORMS:
            raise ValueError(f"norm: expected one of {', '.join(NORMS)}, got {norm!r}")
        if norm == "length" and causal:
            raise ValueError(
                "norm: 'length' with causal=True divides every token's similarities by the length of the "
                "whole call, so the outputs of a prefix are not the prefix of the outputs (the prefix law) "
                "and decoding is another function; use 'chunk' or 'position'"
            )
        super().__init__("gau", dim, config, pairs=2, causal=causal, forms=("naive", "parallel", "chunk"))
        self.norm = norm

    def mix(self, x, state, valid):
        """Project, append to the cache, attend, gate, project."""
        batch, length, _ = x.shape
        u, v, pairs = self.project(x)
        q, k = (part[:, :, None] for part in pairs.unbind(2))
        counts = x.new_full((batch,), length, dtype=torch.int64) if valid is None else valid.sum(1)
        tokens = torch.arange(length, device=x.device)
        if state is not None:
            places = state.position[:, None] + tokens
            cache = extended(state, (k[:, :, 0], v[:, :, 0]), places, counts, valid)
            k, v = cache.keys[:, :, None], cache.values[:, :, None]
            look = partial(self._from_cache, places, k.shape[1])
            return self.out(u * self._attend(q, k, v, places + 1, look)), cache
        look = partial(self._from_start, tokens, self.bias.span(length), valid)
        seen = tokens[None] + 1 if self.causal else counts[:, None].expand(-1, length)
        y = self.out(u * self._attend(q, k, v, seen, look))
        if not self.causal:
            return y, None
        if valid is not None:
            k, v = (torch.where(valid[:, :, None, None], part, 0) for part in (k, v))
        return y, started(GatedAttentionCache, (k[:, :, 0], v[:, :, 0]), counts, valid)

    def _from_start(self, tokens, span, valid, first, last):
        """How many keys the queries first..last - 1 may see, which of these each does, and their bias."""
        end = last if self.causal else len(tokens)
        bias = ops.toeplitz(span, first, last, end)
        if self.causal:
            return end, (tokens[first:last, None] >= tokens[:end])[None], bias
        return end, None if valid is None else valid[:, None], bias

    def _from_cache(self, places, end, first, last):
        """The same of queries at `places`, with a cache of `end` keys before and beside them."""
        distance = places[:, first:last, None] - torch.arange(end, device=places.device)
        return end, distance >= 0, self.bias(distance)

    def _attend(self, q, k, v, seen, look):
        """The sums, `(batch, length, values)`; `seen` counts the keys that each query sees."""
        length = q.shape[1]
        form = self.form if self.form != "auto" else "chunk" if length > self.config.chunk else "parallel"
        self.last_form = form
        if form != "chunk":
            return self._attend_block(q, k, v, seen, look, form, 0, length)
        blocks = [(first, min(first + self.period, length)) for first in range(0, length, self.period)]
        attend = partial(self._attend_block, q, k, v, seen, look, "parallel")
        if torch.is_grad_enabled():
            # Similarities are computed again in the backward: kept, they are T^2 numbers.
            attend = partial(checkpoint, attend, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([attend(*block) for block in blocks], dim=1)

    def _attend_block(self, q, k, v, seen, look, form, first, last):
        end, mask, bias = look(first, last)
        scale = 1 / self.config.chunk
        if self.norm != "chunk":
            scale = seen[:, first:last].clamp(min=1).to(ops.accumulator_dtype(q.dtype)).reciprocal()
        q, k, v = q[:, first:last], k[:, :end], v[:, :end]
        kernel = self.config.kernel
        o = ops.weighted_attention(q, k, v, weights=kernel, scale=scale, bias=bias, mask=mask, form=form)
        return o[:, :, 0]

    def initial_state(self, batch, *, dtype=None, device=None):
        """An empty cache."""
        if not self.causal:
            return None
        weight = self.uvz.weight
        dtype, device = dtype or weight.dtype, device or weight.device
        keys, values = (
            torch.zeros(batch, 0, width, dtype=dtype, device=device)
            for width in (self.key_dim, self.value_dim)
        )
        return GatedAttentionCache(keys, values, torch.zeros(batch, dtype=torch.int64, device=device))

    def state_size(self, length):
        """Grows with `length`."""
        width = self.key_dim + self.value_dim
        return length * width * self.uvz.weight.dtype.itemsize + 8 if self.causal else 0

    def cost(self, length):
        """Quadratic in `length`."""
        flops = 2 * length * length * (self.key_dim + self.value_dim)
        block = min(self.config.chunk, length)
        chunk = flops * (length + block) // (2 * length) if self.causal else flops
        return {"parallel": Cost(flops, 4 * length * length), "chunk": Cost(chunk, 4 * length * block)}

    @property
    def state_grows(self):
        """The cache's second axis counts tokens."""
        return True
