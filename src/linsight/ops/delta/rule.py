"""The gated delta rule: decay, look up, correct."""

from jaxtyping import Float
from torch import Tensor

from linsight import kernels
from linsight.ops.delta.arguments import check
from linsight.ops.delta.dplr import evolve, planned, scaled, start
from linsight.ops.delta.naive import naive_delta_rule
from linsight.ops.linear.precision import accumulator_dtype, without_autocast

__all__ = ["delta_rule"]


def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor | None = None,
    *,
    scale: float = 1.0,
    initial_state: Tensor | None = None,
    form: str = "auto",
    chunk_size: int | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """The (gated) delta rule: what a key recalls is moved towards its new value by the fraction beta.

        S <- diag(exp g_t) S
        S <- S + beta_t k_t (v_t - S^T k_t)^T        the error is that of the decayed state
        o_t = scale * S^T q_t

    Schlag, Irie, Schmidhuber 2021, arXiv 2102.11174 (without decay); Yang, Kautz, Hatamizadeh 2024, arXiv
    2412.06464 (decay of a head); Kimi Team 2025, arXiv 2510.26692 (of a feature). Keys should have length 1
    and beta be within 0..2, or the memory may grow without bound.

    Args:
        q, k: Queries and keys `(B, T, H, K)`.
        v: Values `(B, T, H, V)`.
        beta: Fractions `(B, T, H)`. A token with beta = 0 and log_decay = 0 is as if absent.
        log_decay, scale, initial_state, form, chunk_size: As `dplr_delta_rule`, which also tells the cost.

    Returns:
        o `(B, T, H, V)` in v's dtype, and the final state `(B, H, K, V)` in float32 (float64 if any of q, k
        and v is). All is computed in that dtype; autocast is disregarded.

    Raises:
        TypeError: an input that is not a floating-point tensor.
        ValueError: a shape, `form` or `chunk_size` that does not fit the others; `compiled` where it does
            not run, with the reason.

    Example:
        With beta = 1, no decay and orthonormal keys the memory recalls every value.

        >>> import torch
        >>> k = torch.eye(4).reshape(1, 4, 1, 4)
        >>> v = torch.randn(1, 4, 1, 3)
        >>> o, state = delta_rule(k, k, v, torch.ones(1, 4, 1))
        >>> torch.allclose(state[0, 0].T @ k[0, 1, 0], v[0, 1, 0])
        True
    """
    extra = {"beta": (beta, tuple(q.shape[:3]))}
    check(q, k, v, log_decay, initial_state, extra=extra, form=form, chunk_size=chunk_size)
    exact = accumulator_dtype(q.dtype, k.dtype, v.dtype)
    plan = planned(q, k, v, form=form, chunk_size=chunk_size)
    with without_autocast(q.device):
        query, k, values, beta = (x.to(exact) for x in (q, k, v, beta))
        decay = None if log_decay is None else log_decay.to(exact)
        if plan.form == "compiled":
            state = None if initial_state is None else initial_state.to(exact)
            o, state = kernels.cpu.delta_rule(query, k, values, None, None, beta, decay, state, scale=scale)
            return o.to(v.dtype), state
        query, state = scaled(query, scale), start(q, v, initial_state, exact)
        if plan.form == "naive" and q.shape[1]:
            o, state = naive_delta_rule(query, k, values, beta, decay, state)
            return o.to(v.dtype), state
        reads = k if decay is None else k * (decay if decay.ndim == 4 else decay.unsqueeze(-1)).exp()
        fraction = beta.unsqueeze(-1)
        o, state = evolve(query, k, fraction * values, reads, -fraction * k, decay, state, plan)
    return o.to(v.dtype), state
