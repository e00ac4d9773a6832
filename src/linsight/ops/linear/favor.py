"""FAVOR+: attention by features whose logarithms are given, relative to the largest key so far."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from linsight import kernels
from linsight.ops.forms import check_form
from linsight.ops.linear.arguments import FORMS, check_extra, check_tokens
from linsight.ops.linear.attention import linear_attention
from linsight.ops.linear.auto import linear_attention_plan
from linsight.ops.linear.bidirectional import global_linear_attention
from linsight.ops.linear.peaked import peaked_attention
from linsight.ops.linear.precision import accumulator_dtype, without_autocast

__all__ = ["favor_attention", "global_favor_attention"]

OP = "favor_attention"
NONE = -1e30
"""The logarithm of no feature at all: -inf that can be subtracted from itself."""


def favor_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_weights: Tensor,
    *,
    initial_state: tuple[Tensor, Tensor] | None = None,
    form: str = "auto",
    chunk_size: int | None = None,
) -> tuple[Float[Tensor, "B T H V"], tuple[Float[Tensor, "B H M W"], Float[Tensor, "B H"]]]:
    """Causal attention whose similarities are products of positive features, given by their logarithms.

        o_t = sum_(j <= t) exp(u_j) (exp q_t . exp k_j) v_j / sum_(j <= t) exp(u_j) (exp q_t . exp k_j)

    FAVOR+ of Choromanski et al. 2021, arXiv 2009.14794. Neither features nor sums need be numbers that exist:
    a query is divided by the sum of its features, and with the largest sum of a key's features so far,
    c_t = max(c_(t-1), u_t + log sum exp k_t), the state is

        S_t = exp(c_(t-1) - c_t) S_(t-1) + exp(k_t + u_t - c_t) [v_t, 1]^T

    The largest so far never depends on later tokens, and nothing is added to the denominator. A query that
    meets the keys at less than 1e-30 (1e-292 in float64), both as parts of their sums, reads 0.

    Axes: B batch, T tokens, H heads, M features, V of a value, W = V + 1. Any of them may be 0, and any
    strides will do; features that lie together, of a head token after token, are read fastest.

    Args:
        q: Logarithms of the queries' features `(B, T, H, M)`, up to a constant of each query.
        k: Of the keys' features `(B, T, H, M)`.
        v: Values `(B, T, H, V)`.
        log_weights: u `(B, T, H)`, what a key's features have in common; -inf for a token that is not there.
        initial_state: S_0 `(B, H, M, W)` and c_0 `(B, H)`; None for nothing seen, zeros and -inf.
        form, chunk_size: As in `linear_attention`, whose plan is taken; `chunk` and `compiled` make features
            of a few tokens at a time.

    Returns:
        o `(B, T, H, V)` in v's dtype, and S_T and c_T in float32 (float64 if any of q, k and v is).

    Cost: as `linear_attention` of K = M features. `compiled` keeps for its backward the inputs, o and two
    numbers a token and head; it has no second derivative.

    Raises:
        TypeError: an input that is not a floating-point tensor.
        ValueError: a shape, `form` or `chunk_size` that does not fit; `compiled` where it does not run, with
            the reason.

    Example:
        >>> import torch
        >>> q, k, v = torch.randn(3, 1, 5, 2, 4).unbind(0)
        >>> u = -k.square().sum(-1) / 2
        >>> whole, _ = favor_attention(q, k, v, u)
        >>> first, state = favor_attention(q[:, :3], k[:, :3], v[:, :3], u[:, :3])
        >>> rest, _ = favor_attention(q[:, 3:], k[:, 3:], v[:, 3:], u[:, 3:], initial_state=state)
        >>> torch.allclose(whole, torch.cat([first, rest], 1), atol=1e-6)
        True
    """
    check_form(FORMS, form, chunk_size)
    check_tokens(q, k, v)
    batch, length, heads, features = q.shape
    check_extra("log_weights", log_weights, q.device, (batch, length, heads))
    exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
    if initial_state is None:
        memory = v.new_zeros(batch, heads, features, v.shape[3] + 1, dtype=exact)
        peak = v.new_full((batch, heads), NONE, dtype=exact)
    else:
        memory, peak = (x.to(exact) for x in initial_state)
        check_extra("initial_state[0]", memory, q.device, (batch, heads, features, v.shape[3] + 1))
        check_extra("initial_state[1]", peak, q.device, (batch, heads))
        peak = peak.clamp(min=NONE)
    if 0 in q.shape:
        return v * 0, (memory.clone(), peak.clone())
    if form == "compiled":
        kernels.require(OP, "compiled", q.device, exact)
    form, chunk_size = linear_attention_plan(q, k, v, form=form, chunk_size=chunk_size)
    queries, keys, values, weights = (x.to(exact) for x in (q, k, v, log_weights))
    with without_autocast(q.device):
        if form == "compiled":
            o, memory, peak = kernels.cpu.favor_attention(queries, keys, values, weights, memory, peak)
            return o.to(v.dtype), (memory, peak)
        counted = _counted(values)
        if form in ("parallel", "chunk"):
            size, outputs = chunk_size or length, []
            blocks = (x.split(size, 1) for x in (queries, keys, counted, weights))
            for qc, kc, vc, wc in zip(*blocks, strict=True):
                parts, logs = _parts(kc, wc)
                sums, memory, peak = peaked_attention(_softmax(qc), parts, vc, logs, memory, peak)
                outputs.append(sums)
            sums = torch.cat(outputs, 1)
        else:
            parts, logs = _parts(keys, weights)
            peaks = torch.cat([peak[:, None], logs], 1).cummax(1).values
            relative = parts * (logs - peaks[:, 1:]).exp()[..., None]
            decay, peak = peaks[:, :-1] - peaks[:, 1:], peaks[:, -1]
            sums, memory = linear_attention(
                _softmax(queries), relative, counted, decay, initial_state=memory, form=form
            )
        return _divided(sums).to(v.dtype), (memory, peak)


def global_favor_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_weights: Tensor,
    *,
    form: Literal["auto", "naive", "parallel"] = "auto",
) -> Float[Tensor, "B T H V"]:
    """`favor_attention` in which every token reads all tokens, past and future.

    Args:
        q, k, v, log_weights: As there; one constant serves all keys of a row.
        form: As in `global_linear_attention`: `naive`, `parallel` or `auto`.

    Returns:
        o `(B, T, H, V)` in v's dtype. O(T M V) time a head; `naive` O(T^2 (M + V)).

    Raises:
        TypeError: an input that is not a floating-point tensor.
        ValueError: a shape or `form` that does not fit.
    """
    check_tokens(q, k, v)
    check_extra("log_weights", log_weights, q.device, q.shape[:3])
    if 0 in q.shape:
        return v * 0
    exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
    queries, keys, values, weights = (x.to(exact) for x in (q, k, v, log_weights))
    with without_autocast(q.device):
        queries, (keys, logs) = _softmax(queries), _parts(keys, weights)
        shares = (logs - logs.amax(1, keepdim=True).clamp(min=NONE)).exp()
        counted = _counted(values) * shares[..., None]
        sums = global_linear_attention(queries, keys, counted, form=form)
        return _divided(sums).to(v.dtype)


def _parts(keys: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Features of keys as parts of their sum, and the logarithm of that sum."""
    parts = _softmax(keys)
    return parts, keys.amax(-1) - parts.amax(-1).log() + weights


def _softmax(logs: Float[Tensor, "B T H M"]) -> Float[Tensor, "B T H M"]:
    """Over the features; those of a head lie together in memory, as products by head read them."""
    return logs.transpose(1, 2).softmax(-1).transpose(1, 2)


def _counted(values: Float[Tensor, "B T H V"]) -> Float[Tensor, "B T H W"]:
    """Values and a column of ones, whose weighted sum is the sum of weights."""
    return F.pad(values, (0, 1), value=1.0)


def _divided(sums: Float[Tensor, "B T H W"]) -> Float[Tensor, "B T H V"]:
    """Weighted sums of values over the sum of weights, the last column."""
    num, den = sums[..., :-1], sums[..., -1:]
    info = torch.finfo(sums.dtype)
    # Below, the terms of the sums are not normal numbers any more. A NaN is not below.
    unread = den <= info.tiny / info.eps
    return torch.where(unread, 0, num / torch.where(unread, 1, den))  # 1 / den has a gradient that overflows
