"""Losses of an error that has no scale of its own: absolute, squared, and what is between."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["l1_loss", "l2_loss", "smooth_l1_loss", "wing_loss"]


def l1_loss(error: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """The sum over coordinates of |e|."""
    return error.abs().sum(-1)


def l2_loss(error: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """The sum over coordinates of e^2."""
    return error.square().sum(-1)


def smooth_l1_loss(error: Float[Tensor, "*batch dim"], beta: float = 1.0) -> Float[Tensor, "*batch"]:
    """The sum over coordinates of e^2 / (2 beta) where |e| < beta, and |e| - beta / 2 beyond.

    Girshick 2015, arXiv 1504.08083. `beta` is in units of the error.

    Raises:
        ValueError: beta not above 0.
    """
    _check("beta", beta)
    size = error.abs()
    return torch.where(size < beta, error.square() / (2 * beta), size - beta / 2).sum(-1)


def wing_loss(
    error: Float[Tensor, "*batch dim"], width: float = 10.0, curvature: float = 2.0
) -> Float[Tensor, "*batch"]:
    """The sum over coordinates of w ln(1 + |e| / eps) where |e| < w, and |e| - C beyond.

    C = w - w ln(1 + w / eps), so that it is continuous. Feng et al. 2018, arXiv 1711.06753, equation 5; their
    w = 10 and eps = 2 are pixels. `width` w and `curvature` eps are in units of the error.

    Raises:
        ValueError: width or curvature not above 0.
    """
    _check("width", width)
    _check("curvature", curvature)
    size = error.abs()
    constant = width - width * math.log1p(width / curvature)
    # The clamp keeps the logarithm's own gradient out of the linear part.
    near = width * torch.log1p(size.clamp(max=width) / curvature)
    return torch.where(size < width, near, size - constant).sum(-1)


def _check(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name}: expected a number above 0, got {value}")
