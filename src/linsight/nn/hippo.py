"""HiPPO: a history as its coefficients in a basis, kept up to date by a linear differential equation."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "HippoMeasure",
    "NormalLowRank",
    "discretise",
    "hippo",
    "hippo_basis",
    "hippo_density",
    "legs_transition",
    "normal_low_rank",
    "reconstruct",
]

HippoMeasure = Literal["legs", "legt", "fourier"]

MEASURES = ("legs", "legt", "fourier")
DISCRETISATIONS = ("zoh", "bilinear", "euler", "dirac")


def hippo(measure: str, order: int) -> tuple[Float[Tensor, "N N"], Float[Tensor, "N"]]:
    """A and B, float64, of the equation that keeps the best N coefficients of a signal u so far.

    * `legs`, the whole past, every moment with the same weight, in Legendre polynomials:
      x' = (A x + B u) / t, A_nk = -sqrt((2n+1)(2k+1)) below the diagonal and -(n+1) on it, B_n = sqrt(2n+1).
    * `legt`, a window of length theta: x' = (A x + B u) / theta, the same with (-1)^(n-k) above the diagonal
      and 1 from it on.
    * `fourier`, a window of length theta, in 1, sqrt(2) cos(2 pi n s), sqrt(2) sin(2 pi n s): B_n twice the
      basis at the window's end, A the derivative's rotation less twice the product of that with itself. The
      twice: at its jump a Fourier series is the mean of both sides.

    Gu, Dao, Ermon, Rudra, Re 2020, arXiv 2008.07669, theorems 1 and 2; Gu, Johnson, Timalsina, Rudra, Re
    2022, arXiv 2206.12037 (Fourier). Deviation: of that paper's states the constant's partner, sin(0) = 0, is
    left out, so `fourier` has an odd number.

    Args:
        measure: One of the three.
        order: N, the number of coefficients.

    Raises:
        ValueError: another measure; an order below 1, or even for `fourier`.

    Example:
        >>> A, B = hippo("legs", 3)
        >>> A[2].tolist()
        [-2.23606797749979, -3.872983346207417, -3.0]
    """
    _check(measure, order)
    n = torch.arange(order, dtype=torch.float64)
    B = hippo_basis(measure, order, torch.ones(1))[0]
    if measure == "legs":
        return -(B[:, None] * B).tril(-1) - torch.diag(n + 1), B
    if measure == "legt":
        sign = 1 - 2 * ((n[:, None] - n) % 2)
        return -(B[:, None] * B) * torch.where(n[:, None] >= n, 1, sign), B
    turn = torch.zeros(order - 1, dtype=torch.float64)
    turn[1::2] = 2 * math.pi * torch.arange(1, order // 2 + 1)
    return torch.diag(turn, 1) - torch.diag(turn, -1) - 2 * B[:, None] * B, 2 * B


def hippo_density(measure: str, t: float, s: Tensor, theta: float = 1.0) -> Tensor:
    """The weight at time t of the moments s: 1 / t on [0, t] (`legs`), or 1 / theta on [t - theta, t].

    It integrates to 1. The coefficients are those of the polynomial (or series) that is nearest to the signal
    in mean square under this weight.
    """
    _check(measure, 1)
    length = t if measure == "legs" else theta
    return torch.where((s >= t - length) & (s <= t), 1 / length, 0.0)


def hippo_basis(measure: str, order: int, s: Tensor) -> Float[Tensor, "*places N"]:
    """The basis at places s of the history or window, 0 its oldest moment and 1 the present; float64.

    Orthonormal on [0, 1]: sqrt(2n+1) P_n(2 s - 1) with Legendre's polynomials (`legs`, `legt`), or
    1, sqrt(2) cos(2 pi s), sqrt(2) sin(2 pi s), sqrt(2) cos(4 pi s), ... (`fourier`).
    """
    _check(measure, order)
    s = s.double()
    values = [torch.ones_like(s)]
    if measure == "fourier":
        for n in range(1, order // 2 + 1):
            angle = 2 * math.pi * n * s
            values += [math.sqrt(2) * angle.cos(), math.sqrt(2) * angle.sin()]
        return torch.stack(values, -1)
    z = 2 * s - 1
    values.append(z)
    for n in range(1, order - 1):
        values.append(((2 * n + 1) * z * values[n] - n * values[n - 1]) / (n + 1))
    norms = (2 * torch.arange(order, dtype=torch.float64, device=s.device) + 1).sqrt()
    return torch.stack(values[:order], -1) * norms


def reconstruct(
    x: Float[Tensor, "*axes N"], s: Float[Tensor, "places"], measure: str = "legs"
) -> Float[Tensor, "*axes places"]:
    """The signal that the coefficients x stand for, at places s of the history or window (0 old, 1 now).

    >>> reconstruct(torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 0.5, 1.0])).tolist()
    [2.0, 2.0, 2.0]
    """
    return x @ hippo_basis(measure, x.shape[-1], s).mT.to(x.dtype)


def discretise(
    A: Float[Tensor, "N N"], B: Float[Tensor, "N"], dt: float, method: str = "bilinear"
) -> tuple[Float[Tensor, "N N"], Float[Tensor, "N"]]:
    """A_bar and B_bar of x' = A x + B u in steps of dt: x_t = A_bar x_(t-1) + B_bar u_t.

    * `zoh`: the exact solution for a u that is constant within a step; A may be singular.
    * `bilinear`: (1 - dt A / 2)^-1 (1 + dt A / 2) and (1 - dt A / 2)^-1 dt B. Stable where A is.
    * `euler`: 1 + dt A and dt B. Stable for small dt alone: eigenvalues within 1 / dt of -1 / dt.
    * `dirac`: exp(dt A) and B; u is a train of impulses.

    Raises:
        ValueError: another method.
    """
    if method not in DISCRETISATIONS:
        raise ValueError(f"method: expected one of {', '.join(DISCRETISATIONS)}, got {method!r}")
    eye = torch.eye(len(A), dtype=A.dtype, device=A.device)
    if method == "bilinear":
        solved = torch.linalg.solve(eye - dt / 2 * A, torch.cat([eye + dt / 2 * A, dt * B[:, None]], 1))
        return solved[:, :-1], solved[:, -1]
    if method == "euler":
        return eye + dt * A, dt * B
    both = torch.zeros(len(A) + 1, len(A) + 1, dtype=A.dtype, device=A.device)
    both[:-1, :-1], both[:-1, -1] = dt * A, dt * B
    grown = torch.linalg.matrix_exp(both)
    return grown[:-1, :-1], grown[:-1, -1] if method == "zoh" else B


def legs_transition(
    step: Tensor, order: int, method: str = "bilinear"
) -> tuple[Float[Tensor, "*axes N N"], Float[Tensor, "*axes N"]]:
    """A_bar and B_bar, float64, of LegS at steps k = 1, 2, ...: they change as the past grows.

    * `bilinear`: (1 - A / 2k)^-1 (1 + A / 2k) and (1 - A / 2k)^-1 B / k, by one triangular solve.
    * `euler`: 1 + A / k and B / k. Grows like k^-1 binomials while k < N / 2: for small N alone.
    * `zoh`: with log t for time the equation does not change, so exp(A log((k+1) / k)) is exact.

    Args:
        step: k >= 1, of any shape.
        order: N.
        method: One of the three.
    """
    A, B = hippo("legs", order)
    A, B = A.to(step.device), B.to(step.device)
    eye = torch.eye(order, dtype=A.dtype, device=A.device)
    k = step.double()[..., None, None]
    if method == "bilinear":
        right = torch.cat([eye + A / (2 * k), (B / k[..., 0])[..., None]], -1)
        solved = torch.linalg.solve_triangular(eye - A / (2 * k), right, upper=False)
        return solved[..., :-1], solved[..., -1]
    if method == "euler":
        return eye + A / k, B / k[..., 0]
    if method == "zoh":
        grown = torch.linalg.matrix_exp(A * torch.log1p(1 / k))
        change = (grown - eye) @ B
        return grown, torch.linalg.solve_triangular(A, change[..., None], upper=False)[..., 0]
    raise ValueError(f"method: expected one of bilinear, euler, zoh, got {method!r}")


class NormalLowRank(NamedTuple):
    """A = V (diag(values) - P P^*) V^* of a HiPPO matrix, in the basis V of its normal part; complex128.

    `values` `(N,)`, `P` `(N, rank)`, `B` `(N,)`, `V` `(N, N)` unitary. Pairs of conjugates come one after the
    other's mirror: those of positive imaginary part, from the largest on, are the first half.
    """

    values: Tensor
    P: Tensor
    B: Tensor
    V: Tensor


def normal_low_rank(measure: str, order: int) -> NormalLowRank:
    """A HiPPO matrix as a normal one less P P^*, diagonalised: the form that S4 computes with.

    With P_n = sqrt(n + 1/2) A + P P^T of `legs` is -1/2 plus a skew-symmetric matrix; `legt` needs two
    columns, sqrt(2n+1) at even and at odd n, `fourier` one. Such a matrix has an orthonormal basis of
    eigenvectors, which A itself has not: its own grow exponentially with N.

    Gu, Goel, Re 2022, arXiv 2111.00396, theorem 1. The eigenproblem is Hermitian, i times the skew part, in
    float64.
    """
    A, B = hippo(measure, order)
    norms = hippo_basis(measure, order, torch.ones(1))[0]
    if measure == "legs":
        P = (norms / math.sqrt(2))[:, None]
    elif measure == "legt":
        even = torch.arange(order)[:, None] % 2 == torch.arange(2)
        P = torch.where(even, norms[:, None], 0)
    else:
        P = math.sqrt(2) * norms[:, None]
    normal = A + P @ P.mT
    real = normal.diagonal().mean()
    skew = (normal - normal.mT) / 2
    angles, V = torch.linalg.eigh(skew * -1j)
    angles, V = angles.flip(0), V.flip(1)
    values = torch.complex(real.expand(order), angles)
    P, B = V.mH @ P.to(V.dtype), V.mH @ B.to(V.dtype)
    return NormalLowRank(values, P, B, V)


def _check(measure: str, order: int) -> None:
    if measure not in MEASURES:
        raise ValueError(f"measure: expected one of {', '.join(MEASURES)}, got {measure!r}")
    if order < 1:
        raise ValueError(f"order: expected at least 1, got {order}")
    if measure == "fourier" and order % 2 == 0:
        raise ValueError(f"order: 'fourier' has a constant and pairs, an odd number, got {order}")
