"""Powers of complex numbers given by their logarithms."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

__all__ = ["accumulated", "complex_of", "pair", "power_parts", "powers", "summands"]

FLOOR = -1e30
"""The least logarithm of a magnitude: exp(FLOOR) is 0, and 0 * FLOOR is 0, where 0 * -inf would be NaN."""


def powers(log_decay: Tensor, exponents: Tensor) -> Tensor:
    """exp(log_decay * exponents) in complex128, the two broadcast against each other. See `power_parts`."""
    return torch.complex(*power_parts(log_decay, exponents))


def power_parts(log_decay: Tensor, exponents: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts of exp(log_decay * exponents), in float64 whatever the inputs.

    The angle grows with the exponent, and with it its rounding error: in float32 the thousandth power is
    wrong in the fourth digit. Never by complex `pow`, which takes many times as long.
    """
    times = exponents.double()
    magnitude = (log_decay.real.double().clamp(min=FLOOR) * times).exp()
    angle = log_decay.imag.double() * times
    return magnitude * angle.cos(), magnitude * angle.sin()


def summands(factor: Complex[Tensor, "*axes"], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Complex numbers of `dtype` that add up to `factor`: what rounding leaves over, then what it takes.

    A decay rounded to float32 turns a little more or less, the same way at every token: a memory of 1,000
    tokens is off by 1.2e-5 of its output, and with both summands by 4e-6, the rounding of the sums.
    """
    if factor.dtype == dtype:
        return (factor,)
    rounded = factor.to(dtype)
    return (factor - rounded).to(dtype), rounded


def pair(
    real: Float[Tensor, "*axes n t"], imag: Float[Tensor, "*axes n t"], dtype: torch.dtype
) -> Float[Tensor, "*axes m t"]:
    """[real; imag], m = 2 n, in `dtype`: a factor of a complex product written as a real one."""
    return torch.cat([real.to(dtype), imag.to(dtype)], dim=-2)


def complex_of(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype whose parts are of this dtype, float32 or float64."""
    return torch.complex128 if dtype == torch.float64 else torch.complex64


def accumulated(state: Complex[Tensor, "*axes"] | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """The initial state in the complex dtype of `like`, zeros for None."""
    dtype = complex_of(like.dtype)
    return torch.zeros(shape, dtype=dtype, device=like.device) if state is None else state.to(dtype)
