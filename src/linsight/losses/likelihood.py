"""-log p of an error under a Laplace, a Gaussian, or a von Mises-Fisher density."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["gaussian_nll", "laplace_nll", "vmf_nll"]


def laplace_nll(
    error: Float[Tensor, "*batch dim"], scale: Float[Tensor, "*batch one_or_dim"]
) -> Float[Tensor, "*batch"]:
    """sum over coordinates d of log(2 b_d) + |e_d| / b_d, in nats.

    Args:
        error: e, any unit.
        scale: b > 0 in that unit, one for each coordinate, or one for all; the standard deviation / sqrt 2.
    """
    return ((2 * scale).log() + error.abs() / scale).sum(-1)


def gaussian_nll(
    error: Float[Tensor, "*batch dim"], scale: Float[Tensor, "*batch one_or_dim"]
) -> Float[Tensor, "*batch"]:
    """sum over coordinates d of log(sigma_d sqrt(2 pi)) + (e_d / sigma_d)^2 / 2, in nats.

    Args:
        error: e, any unit.
        scale: sigma > 0 in that unit, one for each coordinate, or one for all.
    """
    return (scale.log() + 0.5 * math.log(2 * math.pi) + 0.5 * (error / scale).square()).sum(-1)


def vmf_nll(
    mean: Float[Tensor, "*batch 3"],
    direction: Float[Tensor, "*batch 3"],
    concentration: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """-log p of a direction v on the sphere, a density per steradian, about a mean direction u.

    log p = log k - log(2 pi) - log(1 - e^{-2 k}) + k (u.v - 1): von Mises-Fisher. With k to 0 it is
    -log(4 pi); u.v - 1 is taken as -|u - v|^2 / 2, which keeps small angles in float32.

    Args:
        mean: u, a unit vector.
        direction: v, a unit vector.
        concentration: k >= 0; the angle's standard deviation along an axis is about 1 / sqrt k radians.
    """
    gap = 0.5 * (mean - direction).square().sum(-1)
    small = concentration < 1e-3
    safe = torch.where(small, 1.0, concentration)
    # log(k / (1 - e^{-2k})) = log(1/2) + k + log(k / sinh k); below 1e-3 the series is exact to 1e-13.
    ratio = torch.where(
        small,
        math.log(0.5) + concentration + torch.log1p(-concentration.square() / 6),
        safe.log() - (-torch.expm1(-2 * safe)).log(),
    )
    return math.log(2 * math.pi) - ratio + concentration * gap
