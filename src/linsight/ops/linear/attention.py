"""The linear attention op: one recurrence in four forms."""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from linsight import kernels
from linsight.ops.linear.arguments import check, check_state
from linsight.ops.linear.auto import linear_attention_plan
from linsight.ops.linear.decayed import decayed
from linsight.ops.linear.features import check_feature_map, elu1
from linsight.ops.linear.naive import naive
from linsight.ops.linear.precision import accumulator_dtype, product_dtype, without_autocast
from linsight.ops.linear.recurrent import recurrent
from linsight.ops.linear.undecayed import FLOOR, undecayed

__all__ = ["linear_attention"]


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    *,
    scale: float = 1.0,
    bonus: Tensor | None = None,
    initial_state: Tensor | None = None,
    read: str = "after",
    normalise: bool = False,
    feature_map: str = "identity",
    form: str = "auto",
    chunk_size: int | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K W"]]:
    """Causal linear attention: a matrix that decays, takes in k v^T, and is read by q.

        S_t = diag(exp g_t) S_(t-1) + k_t v_t^T
        o_t = scale * q_t^T S_t                                  read="after"
        o_t = scale * q_t^T (S_(t-1) + diag(bonus) k_t v_t^T)    read="before": S_(t-1) not yet decayed by g_t

    Katharopoulos et al. 2020, arXiv 2006.16236 (no decay, `normalise`); Sun et al. 2023, arXiv 2307.08621
    (decay of a head); Dao, Gu 2024, arXiv 2405.21060 (of a token); Yang et al. 2023, arXiv 2312.06635 (of a
    feature); Peng et al. 2024, arXiv 2404.05892 (read before the update, with a bonus).

    Axes: B batch, T tokens, H heads, K features of a key, V of a value, W = V (V + 1 with `normalise`). Any
    of them may be 0, and any strides will do.

    Args:
        q: Queries `(B, T, H, K)`.
        k: Keys `(B, T, H, K)`. A token whose k_t, after the feature map, is 0, with log_decay = 0, is as if
            absent.
        v: Values `(B, T, H, V)`.
        log_decay: g, never positive, -inf for a reset: `(H,)`, `(B, T, H)` or `(B, T, H, K)`; None for none.
        scale: Factor of the similarities.
        bonus: `(H, K)`, the weight of a token's own key and value, read="before" alone; None weighs them 0.
        initial_state: S_0 `(B, H, K, W)`; None for zeros.
        read: "after" or "before": whether token t reads S_t or, before its own update, S_(t-1).
        normalise: Divide o_t by the same expression with every v = 1, floored at 1e-6; similarities must not
            be negative. The state's last column is then the sum of keys. Deviation: the floor instead of an
            epsilon that is added, so that a constant v gives o = v.
        feature_map: `identity`, or `elu1`: for q and k above stand elu(q) + 1 and elu(k) + 1, which the
            kernel computes where it reads them; of -inf that is 0. Other maps are applied before.
        form: How it is computed, never what: `naive` is the definition token by token; `parallel` one masked
            product over all pairs of tokens; `chunk` such products in blocks of `chunk_size` and the state
            between them; `recurrent` one update a token, for decoding; `compiled` is the kernel of
            `linsight.kernels.cpu`, float32 on a CPU; `auto` is `linear_attention_plan`'s.
        chunk_size: Tokens of a block, for `chunk` and `auto`; need not divide T. None for the plan's own.

    Returns:
        o `(B, T, H, V)` in v's dtype, and the final state `(B, H, K, W)` in float32 (float64 if any of q, k
        and v is).

    Precision: the inputs' dtype decides, autocast is disregarded. States, decays and denominators are float32
    (or float64), and so is everything for float16, and in `compiled`, which rounds its results once. With
    bfloat16 inputs and no decay, `parallel` and `chunk` round similarities to bfloat16: relative RMS error of
    o below 0.005, of gradients below 0.01. (Normalised and with values of one sign, q's gradient is a small
    difference: 0.06 at 784 tokens; softmax has 0.07.)

    Cost a head: `recurrent` O(T K V) time; `chunk` O(T (K V + C (K + V))) with blocks of C; `parallel`
    O(T^2 (K + V)) time and O(T^2) memory. For the backward, `recurrent` keeps O(T K V) numbers and `chunk`
    O(T (K + V + C + K V / C)). `compiled` takes O(T K V) time, and keeps the inputs and o. It has no second
    derivative, nor without decay have `parallel` and `chunk`.

    Raises:
        TypeError: an input that is not a floating-point tensor.
        ValueError: a shape, `read`, `form` or `chunk_size` that does not fit the others; `compiled` where it
            does not run, with the reason.

    Example:
        >>> import torch
        >>> q, k, v = torch.rand(3, 1, 5, 2, 4).unbind(0)
        >>> whole, final = linear_attention(q, k, v, normalise=True)
        >>> first, state = linear_attention(q[:, :3], k[:, :3], v[:, :3], normalise=True)
        >>> rest, state = linear_attention(q[:, 3:], k[:, 3:], v[:, 3:], initial_state=state, normalise=True)
        >>> torch.allclose(whole, torch.cat([first, rest], 1)), torch.allclose(final, state)
        (True, True)
    """
    check(q, k, v, log_decay, bonus, read=read, form=form, chunk_size=chunk_size)
    check_feature_map(feature_map)
    exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
    batch, length, heads, features = q.shape
    shape = (batch, heads, features, v.shape[-1] + normalise)
    check_state(initial_state, shape, q.device)
    state = None if initial_state is None else initial_state.to(exact)
    zeros = partial(q.new_zeros, shape, dtype=exact)
    if length == 0:
        return v.clone(), zeros() if state is None else state.clone()
    if form == "compiled":
        kernels.require("linear_attention", "compiled", q.device, exact)
    form, chunk_size = linear_attention_plan(q, k, v, log_decay, form=form, chunk_size=chunk_size)
    exclusive = read == "before"
    fused = form == "compiled" and bonus is None
    with without_autocast(q.device):
        if feature_map == "elu1" and not fused:
            q, k = elu1(q), elu1(k)
        if form in ("parallel", "chunk") and log_decay is None and bonus is None:
            dtype = product_dtype(q.dtype, k.dtype, v.dtype)
            q, k, values = _scaled(q.to(dtype), scale), k.to(dtype), v.to(dtype)
            o, state = undecayed(q, k, values, state, chunk_size, exclusive=exclusive, normalise=normalise)
            return o.to(v.dtype), state
        q, k, values = (x if fused and x.dtype == torch.bfloat16 else x.to(exact) for x in (q, k, v))
        decay = None if log_decay is None else log_decay.to(exact)
        own = None if bonus is None else bonus.to(exact)
        if form == "compiled":
            o, state = kernels.cpu.linear_attention(
                *(q, k, values, decay, own, state),
                scale=scale,
                exclusive=exclusive,
                normalise=normalise,
                elu1=fused and feature_map == "elu1",
            )
            return o.to(v.dtype), state
        q = _scaled(q, scale)
        values = F.pad(values, (0, 1), value=1.0) if normalise else values
        state = zeros() if state is None else state
        if form == "naive":
            o, state = naive(q, k, values, decay, own, state, exclusive=exclusive)
        elif form == "recurrent":
            o, state = recurrent(q, k, values, decay, state, exclusive=exclusive)
        elif decay is None:
            o, state = undecayed(q, k, values, state, chunk_size, exclusive=exclusive, normalise=False)
        else:
            o, state = decayed(q, k, values, decay, state, chunk_size, exclusive=exclusive)
        if own is not None and form != "naive":
            o = o + (q * own * k).sum(-1, keepdim=True) * values
        if normalise:
            num, den = o.split((v.shape[-1], 1), dim=-1)
            o = num / den.clamp(min=FLOOR)
        return o.to(v.dtype), state


def _scaled(x: Tensor, scale: float) -> Tensor:
    return x if scale == 1.0 else x * scale
