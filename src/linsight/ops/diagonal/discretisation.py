"""From a diagonal system in continuous time to one in steps."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

__all__ = ["METHODS", "discretise_diagonal"]

METHODS = ("zoh", "bilinear", "euler", "dirac")
NEAR = 1 / 16
TERMS = 10


def discretise_diagonal(
    A: Complex[Tensor, "*axes N"], dt: Float[Tensor, "*axes"], method: str = "zoh"
) -> tuple[Complex[Tensor, "*axes N"], Complex[Tensor, "*axes N"]]:
    """log A_bar and B_bar / B of x' = A x + B u, A diagonal, such that x_t = A_bar x_(t-1) + B_bar u_t.

    * `zoh`: A_bar = exp(dt A), B_bar = (exp(dt A) - 1) / A * B; exact for u constant within a step.
    * `bilinear`: A_bar = (1 + dt A / 2) / (1 - dt A / 2), B_bar = dt / (1 - dt A / 2) * B.
    * `euler`: A_bar as zoh, B_bar = dt B (as Mamba has it: Gu, Dao 2023, arXiv 2312.00752).
    * `dirac`: A_bar as zoh, B_bar = B; u is a train of impulses.

    Gu, Gupta, Goel, Re 2022, arXiv 2206.11893, section 3.1. |A_bar| < 1 wherever Re A < 0. All is
    float64: in float32 exp(z) - 1 is wrong by 1e-3 at z = -5e-6, and of the logarithm powers are made.

    Args:
        A: Eigenvalues, Re A <= 0. Any may be 0.
        dt: Steps, above 0.
        method: One of the four.

    Returns:
        The logarithm of A_bar, and the factor of B, both complex128.

    Raises:
        ValueError: another `method`.

    Example:
        >>> log_decay, _ = discretise_diagonal(torch.tensor([-0.5 + 3.14159j]), torch.tensor(0.1), "bilinear")
        >>> f"{log_decay.exp().abs().item():.6f}"
        '0.952367'
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    A, step = A.to(torch.complex128), dt.double()[..., None]
    z = step * A
    if method == "bilinear":
        # Two logarithms, and not that of the ratio: log(1 + z) would lose z = 1e-9 beside the 1.
        return torch.log1p(z / 2) - torch.log1p(-z / 2), step / (1 - z / 2)
    factor = torch.ones_like(z)
    if method == "zoh":
        factor = step * _growth(z)
    elif method == "euler":
        factor = step * factor
    return z, factor


def _growth(z: Complex[Tensor, "*axes"]) -> Complex[Tensor, "*axes"]:
    """(exp(z) - 1) / z, and 1 at z = 0.

    Near 0 by its series, sum_k z^k / (k + 1)!, ten terms of which are right to the last bit: the derivative
    of the ratio is a difference of two numbers of about 1 / z, off by 1e4 where z is 1e-20.
    """
    near = z.abs() < NEAR
    small, large = torch.where(near, z, 0), torch.where(near, 1, z)
    series = torch.zeros_like(z)
    for k in reversed(range(TERMS)):
        series = series * small + 1 / math.factorial(k + 1)
    return torch.where(near, series, torch.expm1(large) / large)
