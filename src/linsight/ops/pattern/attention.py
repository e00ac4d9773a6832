"""Softmax attention over a pattern of places, in its forms."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from linsight.ops.linear import accumulator_dtype
from linsight.ops.linear.precision import without_autocast
from linsight.ops.pattern.patterns import Pattern
from linsight.ops.rows import take

__all__ = ["pattern_attention"]

FORMS = ("auto", "naive", "chunk")


def pattern_attention(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B N H K"],
    v: Float[Tensor, "B N H V"],
    pattern: Pattern,
    *,
    start: Int[Tensor, " B"] | None = None,
    first: Int[Tensor, " B"] | None = None,
    valid: Bool[Tensor, "B N"] | None = None,
    form: str = "auto",
) -> Float[Tensor, "B T H V"]:
    """o_i = sum_(j in N(i)) softmax_j(q_i . k_j / sqrt K) v_j, where N is a pattern; 0 where N(i) is empty.

    Query t of row b is at place `start[b] + t`, key n at place `first[b] + n`; keys at negative places are
    not there. The keys hold those of the queries' own places.

    Axes: B batch, T queries, N keys, H heads, K features of a key, V of a value.

    Args:
        q, k, v: Queries, keys, values.
        pattern: Which places a query attends to: `Window`, `Strided`, `Fixed`.
        start: Place of each row's first query; None for 0.
        first: Place of each row's first key; None for 0.
        valid: Which keys there are, for patterns that look ahead; a causal one needs it only for holes.
        form: `naive` is the definition, a masked matrix of all pairs; `chunk` computes the pairs that the
            pattern can have, segment by segment (and `auto` is `chunk`).

    Returns:
        o `(B, T, H, V)` in v's dtype.

    Cost a head: `naive` O(T N (K + V)); `chunk` with a near part of R places and a far part of M candidates
    O(T (2 R + M) (K + V)) time and O(T (2 R + M)) memory. A window has M = 0; a stride l R = l, M = N / l.

    Raises:
        ValueError: an unknown form.

    Example:
        >>> import torch
        >>> from linsight.ops import Window, pattern_attention
        >>> q, k, v = torch.randn(3, 1, 100, 2, 8)
        >>> pattern_attention(q, k, v, Window(16)).shape
        torch.Size([1, 100, 2, 8])
    """
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    if k.shape[1] == 0:  # every row of the batch is empty
        return v.new_zeros(*q.shape[:3], v.shape[-1])
    zero = torch.zeros(1, dtype=torch.int64, device=q.device)
    before = 0 if start is None else k.shape[1]
    start, first = (zero if place is None else place for place in (start, first))
    if form == "naive":
        return _naive(q, k, v, pattern, start, first, valid)
    return _chunk(q, k, v, pattern, start, first, valid, before)


def _naive(q, k, v, pattern, start, first, valid):
    i = (start[:, None] + torch.arange(q.shape[1], device=q.device))[..., None]
    j = (first[:, None] + torch.arange(k.shape[1], device=q.device))[:, None]
    far = pattern.far(i, j)
    seen = pattern.near(i, j) if far is None else pattern.near(i, j) | far
    seen = seen & (j >= 0) if valid is None else seen & (j >= 0) & valid[:, None]
    exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
    with without_autocast(q.device):
        scores = torch.einsum("bthk,bnhk->bhtn", q.to(exact) / q.shape[-1] ** 0.5, k.to(exact))
        (weights,) = _softmax(scores.masked_fill(~seen[:, None], float("-inf")))
        return torch.einsum("bhtn,bnhk->bthk", weights, v.to(exact)).to(v.dtype)


def _chunk(q, k, v, pattern, start, first, valid, before):
    """Segments of neighbouring queries, each against its near keys, and all against the far candidates."""
    batch, length = q.shape[:2]
    columns = min(pattern.segment, length)
    rows = -(-length // columns)
    q = F.pad(q, (0, 0, 0, 0, 0, rows * columns - length)).unflatten(1, (rows, columns))
    back, ahead = pattern.reach
    place = torch.arange(rows * columns, device=q.device).unflatten(0, (rows, columns))
    i = start[:, None, None] + place  # (batch or 1, rows, columns)
    j = i[:, :, :1] + torch.arange(-back, columns + ahead, device=q.device)
    near_k, near_v, there = _at(j - first[:, None, None], k, v, valid)
    there = (there & (j >= 0))[:, :, None]
    i, j = i[..., None], j[:, :, None]
    near = pattern.near(i, j) & there
    if pattern.far(i, i) is None:
        near = near | (i == j)  # padding that sees nothing would be NaN
        o = _fused(q, near_k, near_v, near.expand(batch, -1, -1, -1))
        return o.flatten(1, 2)[:, :length].to(v.dtype)
    exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
    with without_autocast(q.device):
        q = q.to(exact) / q.shape[-1] ** 0.5
        far_j = pattern.far_places(start, rows, columns, before, k.shape[1])
        far_k, far_v, far_there = _at(far_j - first[:, None, None], k, v, valid)
        groups = far_j.shape[1]
        far = pattern.far(i, far_j[:, None]) & (far_there & (far_j >= 0))[:, None]
        # Heads before segments before queries; a far group is one column of all segments, or everything.
        near_scores = torch.einsum("brchk,brwhk->bhrcw", q, near_k.to(exact))
        grouped = q.transpose(1, 2) if groups > 1 else q.flatten(1, 2)[:, None]
        far_scores = torch.einsum("bgnhk,bgmhk->bhgnm", grouped, far_k.to(exact))
        far_scores = _by_segment(far_scores, rows, columns, groups)
        near_weights, far_weights = _softmax(
            near_scores.masked_fill(~near[:, None], float("-inf")),
            far_scores.masked_fill(~far[:, None], float("-inf")),
        )
        o = torch.einsum("bhrcw,brwhk->brchk", near_weights, near_v.to(exact))
        far_weights = far_weights.transpose(2, 3) if groups > 1 else far_weights.flatten(2, 3)[:, :, None]
        far_o = torch.einsum("bhgnm,bgmhk->bhgnk", far_weights, far_v.to(exact))
        o = o + _by_segment(far_o, rows, columns, groups).movedim(1, 3)
        return o.flatten(1, 2)[:, :length].to(v.dtype)


def _fused(q, k, v, seen):
    """One part alone: a block a segment, `scaled_dot_product_attention` inside."""
    segments = q.shape[:2]
    dtype = torch.promote_types(q.dtype, k.dtype)
    q, k, v = (x.to(dtype).flatten(0, 1).transpose(1, 2) for x in (q, k, v))
    o = F.scaled_dot_product_attention(q, k, v, seen.flatten(0, 1)[:, None])
    return o.transpose(1, 2).unflatten(0, segments)


def _by_segment(x, rows, columns, groups):
    """`(batch, heads, groups, queries, last)` as `(batch, heads, rows, columns, last)`."""
    return x.transpose(2, 3) if groups > 1 else x.squeeze(2).unflatten(2, (rows, columns))


def _at(index, k, v, valid):
    """Keys and values at `index` `(batch or 1, segments, places)`, and whether they are there."""
    length = k.shape[1]
    inside = (index >= 0) & (index < length)
    index = index.clamp(0, length - 1)
    if valid is not None:
        inside = inside & take(valid, index)
    return take(k, index), take(v, index), inside


def _softmax(*scores):
    """Weights over the last axes of all parts together; 0 where nothing may be seen."""
    floor = torch.finfo(scores[0].dtype).min
    peak = torch.stack([part.detach().amax(-1) for part in scores]).amax(0).clamp(min=floor)[..., None]
    weights = [(part - peak).exp() for part in scores]
    total = torch.stack([part.sum(-1) for part in weights]).sum(0)[..., None]
    # The largest weight is 1, so a total is at least 1 or exactly 0.
    return [part / total.clamp(min=1) for part in weights]
