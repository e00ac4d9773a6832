"""Attention whose weights are a function of each similarity alone, or softmax over them."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from linsight.ops.linear.arguments import check_tokens
from linsight.ops.linear.precision import accumulator_dtype, product_dtype, without_autocast

__all__ = ["WEIGHTS", "toeplitz", "weighted_attention"]


def weighted_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    weights: str = "softmax",
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    form: str = "parallel",
) -> Float[Tensor, "B T H V"]:
    """Each query's sum of the values it may see, weighed by a function f of its similarity to their keys.

        o_i = sum_j f(scale_i q_i . k_j + b_ij) v_j   over the j that the mask allows

    f is `softmax` over the allowed j, or element by element `relu`, `relu2` = max(x, 0)^2 (So et al. 2021,
    arXiv 2109.08668) or `laplace` = (1 + erf((x - sqrt(1/2)) / (sigma sqrt 2))) / 2, sigma = sqrt(1/(4 pi)),
    which resembles relu2 and is bounded (Ma et al. 2022, arXiv 2209.10655, equation 16). What the mask hides
    has weight 0; a query that may see nothing reads 0 (with `softmax` a finite value of no meaning).

    Axes: B batch, T queries, S keys, H heads, K features of a key, V of a value.

    Args:
        q: Queries `(B, T, H, K)`.
        k: Keys `(B, S, H, K)`.
        v: Values `(B, S, H, V)`.
        weights: f, one of `WEIGHTS`.
        scale: A number, or one for each query, `(B or 1, T)`.
        bias: b, `(T, S)` or `(B, T, S)`, the same for all heads.
        mask: True where query i sees key j, `(B or 1, T or 1, S)`; None for everywhere.
        form: `naive` goes query by query, `parallel` forms all similarities at once.

    Returns:
        o in v's dtype. Similarities and weights are float32 (float64 if any of q, k and v is) whatever the
        autocast; products are bfloat16 where all of q, k and v are.

    Cost: O(T S (K + V)) a head; memory O(T S) a head, `naive` O(S (K + V)).

    Raises:
        TypeError: an input that is not floating point.
        ValueError: shapes that do not fit; another f.
    """
    _check(q, k, v, weights)
    exact, dtype = (of(q.dtype, k.dtype, v.dtype) for of in (accumulator_dtype, product_dtype))
    if isinstance(scale, Tensor):
        scale = scale.to(exact)[:, None, :, None]
    bias = None if bias is None else bias.to(exact).unsqueeze(-3)
    mask = None if mask is None else mask.unsqueeze(-3)
    with without_autocast(q.device):
        queries, keys, values = (x.transpose(1, 2).to(dtype) for x in (q, k, v))
        if form == "naive":
            o = _by_query(queries.to(exact), keys.to(exact), values.to(exact), weights, scale, bias, mask)
        else:
            scores = (queries @ keys.mT).to(exact) * scale
            o = _weigh(scores if bias is None else scores + bias, mask, weights).to(dtype) @ values
    return o.transpose(1, 2).to(v.dtype)


def toeplitz(
    bias: Float[Tensor, "distances"], first: int = 0, last: int | None = None, end: int | None = None
) -> Float[Tensor, "rows columns"]:
    """b_(i-j) for i in first..last - 1 and j in 0..end - 1, of b at the 2 T - 1 distances from 1 - T up.

    By default all T rows and columns. A copy of what is asked, without a gather.
    """
    length = (len(bias) + 1) // 2
    last, end = length if last is None else last, length if end is None else end
    near = bias[length + first - end : length + last - 1]
    return near.flip(0).unfold(0, end, 1).flip(0)


def _weigh(
    scores: Float[Tensor, "B H T S"], mask: Bool[Tensor, "..."] | None, weights: str
) -> Float[Tensor, "B H T S"]:
    """f of the scores where the mask allows, 0 elsewhere."""
    if weights != "softmax":
        found = _ELEMENTWISE[weights](scores)
        return found if mask is None else torch.where(mask, found, 0)
    if mask is not None:
        # A query that sees nothing (padding) would be 0 / 0, whose gradient is NaN even where it is unused.
        mask = mask | ~mask.any(-1, keepdim=True)
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1)


def _by_query(queries, keys, values, weights, scale, bias, mask):
    """The definition, one query at a time; the axes are `(B, H, T, K)`."""
    rows = []
    for t in range(queries.shape[2]):
        scores = (queries[:, :, t : t + 1] * keys).sum(-1)[:, :, None]
        scores = scores * (scale[:, :, t : t + 1] if isinstance(scale, Tensor) else scale)
        if bias is not None:
            scores = scores + bias[..., t : t + 1, :]
        allowed = mask if mask is None or mask.shape[-2] == 1 else mask[..., t : t + 1, :]
        rows.append((_weigh(scores, allowed, weights).mT * values).sum(2))
    return torch.stack(rows, dim=2)


def _laplace(x: Tensor) -> Tensor:
    # sigma sqrt 2 = 1 / sqrt(2 pi)
    return 0.5 * (1 + torch.erf((x - 0.5**0.5) * (2 * torch.pi) ** 0.5))


_ELEMENTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu2": lambda x: x.relu().square(),
    "laplace": _laplace,
}

WEIGHTS = ("softmax", *_ELEMENTWISE)
"""The functions f of `weighted_attention`."""


def _check(q: Tensor, k: Tensor, v: Tensor, weights: str) -> None:
    check_tokens(q, q, q)
    check_tokens(k, k, v)
    if (q.shape[0], *q.shape[2:]) != (k.shape[0], *k.shape[2:]):
        raise ValueError(
            f"k: expected the batch, heads and features of q {tuple(q.shape)}, got {tuple(k.shape)}"
        )
    if weights not in WEIGHTS:
        raise ValueError(f"weights: expected one of {', '.join(WEIGHTS)}, got {weights!r}")
