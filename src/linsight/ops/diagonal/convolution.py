"""Causal convolution along the whole length, by the Fourier transform."""

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.ops.linear import accumulator_dtype

__all__ = ["fast_size", "fft_convolution"]


def fft_convolution(x: Float[Tensor, "B T D"], kernel: Tensor) -> Float[Tensor, "B T D"]:
    """y_t = sum_(j <= t) kernel_(t-j) x_j, channel by channel.

    The transform has at least T + L - 1 places, where a shorter one would wrap the end of the row around to
    its beginning. Its sums run over all places, so y_t keeps the past's value to rounding, not to the bit.

    Args:
        x: Tokens.
        kernel: `(D, L)`, any L >= 1 (beyond T it has no effect); or `(B, D, L)`, one for every row.

    Returns:
        y in x's dtype. The transform itself is float32 (float64 if any input is) under any autocast.

    Cost: O(D T log T) time a row; O(D T) memory.

    Raises:
        ValueError: `kernel` of another number of channels, or of length 0.

    Example:
        >>> x = torch.tensor([1.0, 0.0, 2.0]).reshape(1, 3, 1)
        >>> fft_convolution(x, torch.tensor([[1.0, 10.0]])).flatten().round().tolist()
        [1.0, 10.0, 2.0]
    """
    if kernel.ndim not in (2, 3) or kernel.shape[-2] != x.shape[-1] or kernel.shape[-1] == 0:
        raise ValueError(
            f"kernel: expected shape (channels {x.shape[-1]}, length >= 1), perhaps with a batch before it, "
            f"got {tuple(kernel.shape)}"
        )
    exact, length = accumulator_dtype(x.dtype, kernel.dtype), x.shape[1]
    if x.numel() == 0:  # which the transform refuses
        return x.clone()
    kernel = kernel[..., :length].to(exact)
    places = fast_size(length + kernel.shape[-1] - 1)
    spectrum = torch.fft.rfft(x.mT.to(exact), n=places) * torch.fft.rfft(kernel, n=places)
    return torch.fft.irfft(spectrum, n=places)[..., :length].mT.to(x.dtype)


def fast_size(size: int) -> int:
    """The least even number from `size` on whose prime factors are 2, 3 and 5: 1,568 becomes 1,600."""
    best = 1 << (size - 1).bit_length()
    best, fives = max(best, 2), 1
    while fives < best:
        threes = fives
        while threes < best:
            quotient = max(-(-size // threes), 2)
            candidate = threes << (quotient - 1).bit_length()
            best = min(best, candidate)
            threes *= 3
        fives *= 5
    return best
