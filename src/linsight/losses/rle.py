"""Residual log-likelihood estimation: a flow learns the law of the error that a regression makes."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.densities import RealNVP

__all__ = [
    "RLEValues",
    "exact_rle",
    "flow_log_prob",
    "log_normalizer",
    "mmpose_rle",
    "official_rle",
]

_FLOOR = 1e-9  # of the public code, whose scales have no floor of their own


class RLEValues(NamedTuple):
    """Of each joint: the loss to minimise, and -log p(y) of the flow by itself, in nats.

    nll = sum over coordinates of log sigma - log phi(x): the flow's parameters see nothing else in any
    variant, so it is a fitted density and integrates to 1 over y, whatever the loss is.
    """

    loss: Float[Tensor, "*batch"]
    nll: Float[Tensor, "*batch"]


def official_rle(
    error: Float[Tensor, "*batch dim"],
    sigma: Float[Tensor, "*batch dim"],
    flow: RealNVP,
    *,
    limit: float = 50.0,
) -> RLEValues:
    """The published objective (Li et al. 2021, arXiv 2107.11291, and its code), in nats.

    sum over d of log sigma_d - log phi(x) + log(sigma_d sqrt(2 pi)) + |e_d| / (sqrt(2) sigma_d + 1e-9), with
    x = e / sigma. log phi, a number of the whole vector, is counted in each of its D coordinates, and
    log sigma twice: exp(-loss) is no density of y, and sigma no calibrated scale.

    Args:
        error: e = prediction - truth (in this order), in units of the crop.
        sigma: > 0, in that unit.
        flow: phi, a density of D-vectors shared by all joints.
        limit: An x beyond it enters the flow as the limit; its gradient is from the other terms alone.

    Cost: one pass of the flow over the joints.

    Raises:
        ValueError: A flow of another dimension; D other than 2 and 3; limit not above 0.
    """
    log_phi = flow_log_prob(flow, error / sigma, limit)
    log_sigma = sigma.log()
    base = log_sigma + 0.5 * math.log(2 * math.pi) + error.abs() / (math.sqrt(2) * sigma + _FLOOR)
    return RLEValues((log_sigma - log_phi[..., None] + base).sum(-1), log_sigma.sum(-1) - log_phi)


def mmpose_rle(
    error: Float[Tensor, "*batch dim"],
    sigma: Float[Tensor, "*batch dim"],
    flow: RealNVP,
    *,
    base: str = "laplace",
    residual: bool = True,
    limit: float = 50.0,
) -> RLEValues:
    """The objective as MMPose has it, and YOLO26 after it; arguments and errors as `official_rle`.

    x = e / (sigma + 1e-9); sum over d of log sigma_d - log phi(x) + log(2 sigma_d) + |x_d| with base
    `laplace`, + log(sigma_d sqrt(2 pi)) + x_d^2 / 2 with `gaussian`. Without `residual` the last two are left
    out: direct likelihood estimation, where nothing but the flow holds the prediction, and it drifts.

    Raises:
        ValueError: An unknown base.
    """
    if base not in ("laplace", "gaussian"):
        raise ValueError(f"base: expected 'laplace' or 'gaussian', got {base!r}")
    x = error / (sigma + _FLOOR)
    log_phi = flow_log_prob(flow, x, limit)
    log_sigma = sigma.log()
    loss = log_sigma - log_phi[..., None]
    if residual and base == "laplace":
        loss = loss + log_sigma + math.log(2) + x.abs()
    elif residual:
        loss = loss + log_sigma + 0.5 * math.log(2 * math.pi) + 0.5 * x.square()
    return RLEValues(loss.sum(-1), log_sigma.sum(-1) - log_phi)


def exact_rle(
    error: Float[Tensor, "*batch dim"],
    sigma: Float[Tensor, "*batch dim"],
    flow: RealNVP,
    *,
    normalizer: str | None = "detach",
    points: int | None = None,
    limit: float = 50.0,
) -> RLEValues:
    """Each term once, and the normaliser: exp(-loss) is a density of y; arguments as `official_rle`.

    loss = sum_d log sigma_d + sum_d (log 2 + |x_d|) - log phi(x) + log Z, Z = integral of Q phi,
    Q(x) = prod_d exp(-|x_d|) / 2: equation 9 of the paper with its s = 1 / Z, which it drops.

    Args:
        normalizer: `detach`: log Z is in the value and not in the gradient. `grad`: in both, for study: the
            flow can then cancel Q, and the prediction drifts. None: left out.
        points: Of `log_normalizer`.

    Raises:
        ValueError: An unknown normaliser.
    """
    if normalizer not in ("detach", "grad", None):
        raise ValueError(f"normalizer: expected 'detach', 'grad' or None, got {normalizer!r}")
    x = error / sigma
    log_phi = flow_log_prob(flow, x, limit)
    log_sigma = sigma.log().sum(-1)
    loss = log_sigma + (math.log(2) + x.abs()).sum(-1) - log_phi
    if normalizer is not None:
        with torch.set_grad_enabled(normalizer == "grad" and torch.is_grad_enabled()):
            log_z = log_normalizer(flow, points, limit=limit)
        loss = loss + log_z
    return RLEValues(loss, log_sigma - log_phi)


def log_normalizer(flow: RealNVP, points: int | None = None, *, limit: float = 50.0) -> Float[Tensor, ""]:
    """log Z, Z = integral of Q phi = the mean of phi under Q(x) = prod_d exp(-|x_d|) / 2.

    By the midpoints of n equally probable parts of Q on each axis: x = log(2 u) below u = 1/2, else
    -log(2 - 2 u), u = (i + 1/2) / n. A standard normal phi has 0.26158 an axis; n = 24 gives 0.26155.

    Args:
        flow: phi.
        points: n, at least 1; None for 24 in the plane and 10 in space: 576 and 1,000 points.
        limit: As of `official_rle`.

    Cost: one pass of the flow over n^D points, whatever the batch.

    Raises:
        ValueError: points below 1.
    """
    n = (24 if flow.dim == 2 else 10) if points is None else points
    if n < 1:
        raise ValueError(f"points: expected at least 1, got {n}")
    like = next(flow.parameters())
    u = (torch.arange(n, dtype=torch.float64, device=like.device) + 0.5) / n
    axis = torch.where(u < 0.5, (2 * u).log(), -(2 - 2 * u).log())
    grid = torch.cartesian_prod(*[axis.to(like.dtype)] * flow.dim)
    return flow_log_prob(flow, grid, limit).logsumexp(0) - math.log(len(grid))


def flow_log_prob(
    flow: RealNVP, x: Float[Tensor, "*batch dim"], limit: float = 50.0
) -> Float[Tensor, "*batch"]:
    """log phi(x) in nats of x within [-limit, limit], in the flow's own precision whatever autocast says.

    Raises:
        ValueError: A flow of another dimension than x; D other than 2 and 3; limit not above 0.
    """
    if x.shape[-1] not in (2, 3):
        raise ValueError(f"x: expected 2 or 3 coordinates, got {x.shape[-1]}")
    if flow.dim != x.shape[-1]:
        raise ValueError(f"flow: expected one of dim {x.shape[-1]}, as x has, got {flow.dim}")
    if not limit > 0:
        raise ValueError(f"limit: expected a number above 0, got {limit}")
    like = next(flow.parameters())
    with torch.autocast(x.device.type, enabled=False):
        return flow.log_prob(x.clamp(-limit, limit).to(like.dtype))
