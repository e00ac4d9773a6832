"""The gated attention unit: one head of elementwise attention inside a gated linear unit."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

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
    """The divisor of norm `chunk`."""
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

    Cost: O(T^2 (key_dim + expansion * dim)); a step costs O(position). State: key_dim + expansion * dim
    numbers a token in the dtype of the tokens, plus the position.

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
        super().__init__("gau", dim, config, pairs=2, causal=causal, forms=("naive", "parallel"))
        self.norm = norm

    def mix(self, x, state, valid):
        """Project, append to the cache, attend, gate, project."""
        batch, length, _ = x.shape
        u, v, pairs = self.project(x)
        q, k = (part[:, :, None] for part in pairs.unbind(2))
        counts = x.new_full((batch,), length, dtype=torch.int64) if valid is None else valid.sum(1)
        self.last_form = form = "naive" if self.form == "naive" else "parallel"
        attend = partial(self._attend, q, form=form)
        if not self.causal:
            mask = None if valid is None else valid[:, None]
            seen = counts[:, None].expand(-1, length)
            o = attend(k, v, mask, seen, ops.toeplitz(self.bias.span(length)))
            return self.out(u * o), None
        tokens = torch.arange(length, device=x.device)
        if state is None:
            mask = (tokens[:, None] >= tokens)[None]
            o = attend(k, v, mask, tokens[None] + 1, ops.toeplitz(self.bias.span(length)))
            if valid is not None:
                k, v = (torch.where(valid[:, :, None, None], part, 0) for part in (k, v))
            return self.out(u * o), started(GatedAttentionCache, (k[:, :, 0], v[:, :, 0]), counts, valid)
        places = state.position[:, None] + tokens
        cache = extended(state, (k[:, :, 0], v[:, :, 0]), places, counts, valid)
        distance = places[..., None] - torch.arange(cache.keys.shape[1], device=x.device)
        keys, values = cache.keys[:, :, None], cache.values[:, :, None]
        o = attend(keys, values, distance >= 0, places + 1, self.bias(distance))
        return self.out(u * o), cache

    def _attend(self, q, k, v, mask, seen, bias, *, form):
        """The sums, `(batch, length, values)`; `seen` counts the keys that each token sees."""
        scale = 1 / self.config.chunk
        if self.norm != "chunk":
            scale = seen.clamp(min=1).to(ops.accumulator_dtype(q.dtype)).reciprocal()
        o = ops.weighted_attention(
            q, k, v, weights=self.config.kernel, scale=scale, bias=bias, mask=mask, form=form
        )
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
        return {"parallel": Cost(flops, 4 * length * length)}

    @property
    def state_grows(self):
        """The cache's second axis counts tokens."""
        return True
