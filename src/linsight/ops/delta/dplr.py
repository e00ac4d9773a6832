"""The generalised delta rule: a diagonal plus one rank, and a key and value added."""

import torch
from jaxtyping import Float
from torch import Tensor

from linsight import kernels
from linsight.ops.delta.arguments import check
from linsight.ops.delta.chunk import chunked
from linsight.ops.delta.naive import naive_dplr
from linsight.ops.delta.plan import delta_rule_plan
from linsight.ops.delta.recurrent import recurrent
from linsight.ops.forms import Plan
from linsight.ops.linear.precision import accumulator_dtype, without_autocast

__all__ = ["dplr_delta_rule", "evolve", "planned", "scaled", "start"]


def dplr_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    log_decay: Tensor | None = None,
    *,
    scale: float = 1.0,
    initial_state: Tensor | None = None,
    form: str = "auto",
    chunk_size: int | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """The delta rule with free vectors: a memory under a diagonal plus a matrix of rank one.

        S_t = diag(exp g_t) S_(t-1) + b_t (a_t^T S_(t-1)) + k_t v_t^T
        o_t = scale * S_t^T q_t

    a reads the old state, before its decay. Peng et al. 2025, arXiv 2503.14456 (RWKV-7: a = kappa, b =
    -kappa * learning rate). `delta_rule` is the special case a = exp(g) k, b = -beta k.

    Axes: B batch, T tokens, H heads, K features of a key, V of a value; any strides, any of B, T, H, V may be
    0. A token whose k, b and log_decay are 0 is as if absent.

    Args:
        q, k: Queries and keys `(B, T, H, K)`.
        v: Values `(B, T, H, V)`.
        a, b: What reads the state, and where what was read is added, `(B, T, H, K)`.
        log_decay: g, never positive, -inf for a reset: `(B, T, H)` or `(B, T, H, K)`; None for none.
        scale: Factor of the outputs.
        initial_state: S_0 `(B, H, K, V)`; None for zeros.
        form: How it is computed, never what: `naive` is the definition token by token; `chunk` a triangular
            solve in each block of `chunk_size` and one product a block between them; `recurrent` one update a
            token, for decoding; `compiled` is the kernel of `linsight.kernels.cpu`, float32 on a CPU; `auto`
            is `delta_rule_plan`'s.
        chunk_size: Tokens of a block, for `chunk` and `auto`; need not divide T. None for the plan's own.

    Returns:
        o `(B, T, H, V)` in v's dtype, and the final state `(B, H, K, V)` in float32 (float64 if any of q, k
        and v is). All is computed in that dtype; autocast is disregarded.

    Cost a head: `recurrent` and `compiled` O(T K V) time; `chunk` O(T (C (K + V) + C^2 + K (K + V))) with
    blocks of C. For the backward, `recurrent` keeps O(T K V) numbers and `chunk` O(T (C + K + V) + T K (K +
    V) / C), by feature also O(T K log C); `compiled` O(T (K + V + K V / 32)), and has no second derivative.

    Raises:
        TypeError: an input that is not a floating-point tensor.
        ValueError: a shape, `form` or `chunk_size` that does not fit the others; `compiled` where it does
            not run, with the reason.

    Example:
        Without decay, a token with a = -b = k of length 1 replaces the value stored at k.

        >>> import torch
        >>> k = torch.nn.functional.normalize(torch.randn(1, 3, 2, 4), dim=-1)
        >>> v = torch.randn(1, 3, 2, 5)
        >>> o, state = dplr_delta_rule(k, k, v, a=k, b=-k)
        >>> torch.allclose(o, v, atol=1e-5)
        True
    """
    extra = {name: (x, tuple(q.shape)) for name, x in (("a", a), ("b", b))}
    check(q, k, v, log_decay, initial_state, extra=extra, form=form, chunk_size=chunk_size)
    exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
    plan = planned(q, k, v, form=form, chunk_size=chunk_size)
    with without_autocast(q.device):
        query, key, value, reader, writer = (x.to(exact) for x in (q, k, v, a, b))
        decay = None if log_decay is None else log_decay.to(exact)
        if plan.form == "compiled":
            given = (query, key, value, reader, writer, None, decay)
            state = None if initial_state is None else initial_state.to(exact)
            o, state = kernels.cpu.delta_rule(*given, state, scale=scale)
            return o.to(v.dtype), state
        state = start(q, v, initial_state, exact)
        o, state = evolve(scaled(query, scale), key, value, reader, writer, decay, state, plan)
    return o.to(v.dtype), state


def planned(q: Tensor, k: Tensor, v: Tensor, *, form: str, chunk_size: int | None) -> Plan:
    """The plan of a call, refused where it does not run; of no tokens nothing runs, and any form will do."""
    if q.shape[1] == 0:
        return Plan("naive")
    plan = delta_rule_plan(q, k, v, form=form, chunk_size=chunk_size)
    if plan.form == "compiled":
        kernels.require("delta_rule", "compiled", q.device, accumulator_dtype(q.dtype, k.dtype, v.dtype))
    return plan


def evolve(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    plan: Plan,
) -> tuple[Tensor, Tensor]:
    """`dplr_delta_rule` by torch's operations, on checked arguments in the accumulators' dtype."""
    if q.shape[1] == 0:
        return v.clone(), state.clone()
    if plan.form == "naive":
        return naive_dplr(q, k, v, a, b, log_decay, state)
    if plan.form == "recurrent":
        return recurrent(q, k, v, a, b, log_decay, state)
    return chunked(q, k, v, a, b, log_decay, state, plan.chunk_size or 1)


def start(q: Tensor, v: Tensor, initial_state: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The initial state in `dtype`, zeros for None."""
    if initial_state is not None:
        return initial_state.to(dtype)
    batch, _, heads, features = q.shape
    return q.new_zeros(batch, heads, features, v.shape[-1], dtype=dtype)


def scaled(q: Tensor, scale: float) -> Tensor:
    """Queries times the scale."""
    return q if scale == 1.0 else q * scale
