"""Affine maps of the plane fitted to few points: least squares, and least squares shrunk to the identity."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor

__all__ = ["FEWEST", "Affine", "affine_fit", "ridge_fit", "ridge_path"]

FEWEST = 6
"""Points for an affine map without shrinking: two numbers each for six parameters, twice as many."""

_STRENGTHS = (*(10.0**power for power in range(-6, 4)), math.inf)


class Affine(NamedTuple):
    """x -> matrix x + shift."""

    matrix: Float64[Tensor, "2 2"]
    shift: Float64[Tensor, "2"]

    def apply(self, points: Tensor) -> Tensor:
        """The images of points (..., 2), in their dtype."""
        return (points.double() @ self.matrix.mT + self.shift).to(points.dtype)


def affine_fit(points: Float64[Tensor, "points 2"], targets: Float64[Tensor, "points 2"]) -> Affine:
    """The affine map of least squares; of several, the one nearest to the identity."""
    return _solve(points, targets, 0.0)


def ridge_fit(points: Float64[Tensor, "points 2"], targets: Float64[Tensor, "points 2"]) -> Affine:
    """The map of `ridge_path` whose leave-one-out error is least; the strongest shrinking among equals."""
    errors = ridge_path(points, targets)
    best = min(reversed(errors), key=lambda strength: errors[strength])
    return _solve(points, targets, best)


def ridge_path(
    points: Float64[Tensor, "points 2"], targets: Float64[Tensor, "points 2"]
) -> dict[float, float]:
    """The leave-one-out error, a sum of squares, at each strength of shrinking.

    Minimised is sum |D (x - mean) + d - (target - x)|^2 + strength s |D|^2, where D is the matrix less the
    identity, d is free, and s is the mean square of x - mean. In closed form: with the hat matrix
    h = 1 / n + X (X^T X + strength s I)^-1 X^T, the error at a point that is left out is e / (1 - h).
    Strength inf is a shift alone. One point leaves nothing to compare by, and has that alone.
    """
    number = len(points)
    if number < 2:
        return {math.inf: 0.0}
    centred, wanted, scale = _centred(points, targets)
    finite = torch.tensor(_STRENGTHS[:-1], dtype=torch.float64)
    inverse = torch.linalg.pinv(_gram(centred, scale * finite[:, None, None]))
    # The last strength is infinite, and leaves the mean alone.
    shrunk = F.pad(centred @ inverse @ centred.mT, (0, 0, 0, 0, 0, 1))
    hat = 1 / number + shrunk
    left = 1 - hat.diagonal(dim1=1, dim2=2)
    errors = (((wanted - hat @ wanted) / left[..., None]) ** 2).sum((1, 2))
    errors = errors.where((left >= 1e-9).all(1), math.inf)
    return dict(zip(_STRENGTHS, errors.tolist(), strict=True))


def _solve(points: Tensor, targets: Tensor, strength: float) -> Affine:
    identity = torch.eye(2, dtype=torch.float64)
    mean = points.mean(0)
    shift = (targets - points).mean(0)
    if math.isinf(strength):
        return Affine(identity, shift)
    centred, wanted, scale = _centred(points, targets)
    extra = (torch.linalg.pinv(_gram(centred, strength * scale)) @ centred.mT @ wanted).mT
    return Affine(identity + extra, shift - extra @ mean)


def _centred(points: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, float]:
    centred = points - points.mean(0)
    return centred, targets - points, float((centred**2).sum(1).mean())


def _gram(centred: Tensor, strength: float | Tensor) -> Tensor:
    return centred.mT @ centred + strength * torch.eye(2, dtype=torch.float64)
