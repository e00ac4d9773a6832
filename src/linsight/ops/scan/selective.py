"""The selective scan op: one recurrence in three forms."""

import torch
from jaxtyping import Float
from torch import Tensor

from linsight import kernels
from linsight.ops.linear import accumulator_dtype, without_autocast
from linsight.ops.scan.arguments import check
from linsight.ops.scan.chunk import chunk
from linsight.ops.scan.loops import naive, recurrent
from linsight.ops.scan.plan import selective_scan_plan

__all__ = ["selective_scan"]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    initial_state: Tensor | None = None,
    form: str = "auto",
    chunk_size: int | None = None,
) -> tuple[Float[Tensor, "batch length channels"], Float[Tensor, "batch channels states"]]:
    """N numbers a channel that decay at the token's own rate, take in u, and are read by C.

        h_t = exp(delta_t A) h_(t-1) + delta_t u_t B_t,    y_t = C_t . h_t + D u_t        in every channel

    Gu, Dao 2023, arXiv 2312.00752, section 3.2 and algorithm 2: A is discretised by zero-order hold, B by
    Euler's rule, as the authors' code does. Any of the sizes may be 0, and any strides will do.

    Args:
        u: Inputs `(batch, length, channels)`.
        delta: Steps `(batch, length, channels)`, never negative. A token with delta = 0 is as if absent.
        A: Rates `(channels, states)`, finite and never positive.
        B: What writes u to the states, `(batch, length, states)`, shared by the channels.
        C: What reads them, `(batch, length, states)`.
        D: `(channels,)`, the weight of u itself; None for 0.
        initial_state: h_0 `(batch, channels, states)`; None for zeros.
        form: How it is computed, never what: `naive` is the definition token by token; `chunk` computes
            decays for `chunk_size` tokens at a time; `recurrent` one update a token, for decoding; `compiled`
            is the kernel of `linsight.kernels.cpu`, float32 on a CPU; `auto` is `selective_scan_plan`'s.
        chunk_size: Tokens of a block, for `chunk` and `auto`; need not divide the length. None for 32.

    Returns:
        y `(batch, length, channels)` in u's dtype, and the final state `(batch, channels, states)` in float32
        (float64 if any of u, delta, B and C is).

    Precision: states, decays and sums are float32 (or float64), under autocast too.

    Cost: O(length channels states) time. Nothing of that size is held by `chunk` and `compiled`: their
    backward computes the states again from one in every `chunk_size` or 32, and has no second derivative.
    Autograd keeps all of them for the other forms.

    Raises:
        TypeError: an input that is not a floating-point tensor.
        ValueError: a shape, `form` or `chunk_size` that does not fit the others; `compiled` where it does
            not run, with the reason.

    Example:
        >>> import torch
        >>> u, delta = torch.randn(1, 5, 3), torch.rand(1, 5, 3)
        >>> A, (B, C) = -torch.rand(3, 4), torch.randn(2, 1, 5, 4)
        >>> whole, final = selective_scan(u, delta, A, B, C)
        >>> _, state = selective_scan(*(x[:, :2] for x in (u, delta)), A, B[:, :2], C[:, :2])
        >>> rest, state = selective_scan(
        ...     *(x[:, 2:] for x in (u, delta)), A, B[:, 2:], C[:, 2:], initial_state=state)
        >>> torch.allclose(whole[:, 2:], rest, atol=1e-6), torch.allclose(final, state, atol=1e-6)
        (True, True)
    """
    check(u, delta, A, B, C, D, initial_state, form=form, chunk_size=chunk_size)
    exact = accumulator_dtype(u.dtype, delta.dtype, B.dtype, C.dtype)
    dtype, device = u.dtype, u.device
    form, chunk_size = selective_scan_plan(u, form=form, chunk_size=chunk_size, dtype=exact)
    if form == "compiled":
        kernels.require("selective_scan", "compiled", device, exact)
    u, delta, A, B, C = (x.to(exact) for x in (u, delta, A, B, C))
    if initial_state is None:
        state = torch.zeros(len(u), *A.shape, dtype=exact, device=device)
    else:
        state = initial_state.to(exact)
    if u.shape[1] == 0:
        return u.to(dtype, copy=True), state.clone()
    with without_autocast(device):
        if form == "compiled":
            y, state = kernels.cpu.selective_scan(
                u, delta, A, B, C, None if D is None else D.to(exact), state
            )
            return y.to(dtype), state
        if form == "naive":
            y, state = naive(u, delta, A, B, C, state)
        elif form == "recurrent":
            y, state = recurrent(u, delta, A, B, C, state)
        else:
            assert chunk_size is not None  # the plan's
            y, state = chunk(u, delta, A, B, C, state, chunk_size)
        if D is not None:
            y = torch.addcmul(y, u, D.to(exact))
        return y.to(dtype), state
