"""The kernel of a diagonal state space, by a product of two levels."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from linsight.ops.diagonal.powers import pair, power_parts, powers

__all__ = ["diagonal_kernel"]


def diagonal_kernel(
    log_decay: Complex[Tensor, "D N"],
    read: Complex[Tensor, "*batch D N"],
    length: int,
    *,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "*batch D {length}"]:
    """K_l = Re sum_n read_n exp(l log_decay_n) for l = 0..length - 1: a Vandermonde product.

    With l = i s + j and s = floor(sqrt(length)),

        K_(i s + j) = Re sum_n (read_n exp(i s x_n)) exp(j x_n)

    so 2 N sqrt(length) exponentials and one real matrix product of inner size 2 N replace N length
    exponentials. Exponentials are float64 and the product is of `dtype`: at length 4096 in float32 the error
    is 1e-7 of the kernel, where powers in complex64 have 3e-6.

    Args:
        log_decay: Logarithms, by channel and state, real parts not above 0 (-inf for a state that forgets at
            once).
        read: Weights; leading axes are a batch of kernels of the same decays.
        length: Of the kernel; any from 0.
        dtype: Of the result; None for that of `read`'s parts.

    Cost a channel: O(N length) multiplications and O(N sqrt(length)) exponentials; nothing of N length
    numbers is ever held.

    Example:
        >>> K = diagonal_kernel(torch.tensor([[-0.5 + 0j]]), torch.tensor([[2 + 0j]]), 3)
        >>> torch.allclose(K, 2 * torch.tensor([[0.0, -0.5, -1.0]]).exp())
        True
    """
    dtype = dtype or read.real.dtype
    inner = max(math.isqrt(length), 1)
    outer = -(-length // inner)
    device = log_decay.device
    decay = log_decay[..., None]
    near = pair(*power_parts(decay, torch.arange(inner, device=device)), dtype)
    far = read[..., None] * powers(decay, inner * torch.arange(outer, device=device))
    return (pair(far.real, -far.imag, dtype).mT @ near).flatten(-2)[..., :length]
