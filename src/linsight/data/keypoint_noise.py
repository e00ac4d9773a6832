"""Label noise of keypoints: laws by visibility, and left taken for right, with their densities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from linsight.config import Config, of_kind
from linsight.data import noise_laws
from linsight.data.noise_laws import AnyNoiseLaw, Gauss

__all__ = [
    "AnyKeypointNoise",
    "Swap",
    "clarity_of",
    "keypoint_noise",
    "kinds",
    "log_density",
    "noisy",
    "num_uniforms",
]

_DIM = 2


@dataclass(frozen=True)
class Swap(Config):
    """Each pair is exchanged with probability `share`, and all labels are normal about where they then are.

    A label of the truth t whose partner is at p has the density
    (1 - share) N(y; t, scale) + share N(y; p, scale), and where there is no partner N(y; t, scale): two modes
    that no single Gaussian or Laplacian has. Both labels of a pair are exchanged, or neither.

    Raises ValueError for a share that is not between 0 and 1, and a scale that is not above 0.
    """

    share: float = 0.1
    scale: float = 0.01
    kind: Literal["swap"] = "swap"

    def __post_init__(self) -> None:
        """Refuse what is no mixture."""
        if not 0 < self.share < 1:
            raise ValueError(f"keypoint noise 'swap': share: expected between 0 and 1, got {self.share}")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"keypoint noise 'swap': scale: expected a number above 0, got {self.scale}")


AnyKeypointNoise = AnyNoiseLaw | Swap
"""Any law of a residual, or of exchanged pairs; told apart by `kind`."""


def kinds() -> tuple[str, ...]:
    """The names of the laws."""
    return (*noise_laws.kinds(), "swap")


def keypoint_noise(kind: str, **options: Any) -> AnyKeypointNoise:
    """The law of this name. `hetero` has the scale `clear` for a visibility of 2 and `hidden` for any other.

    Raises ValueError for an unknown name or option, or a number that a law refuses.

    Example:
        >>> keypoint_noise("swap", share=0.2)
        Swap(share=0.2, scale=0.01, kind='swap')
    """
    if kind not in kinds():
        raise ValueError(f"keypoint noise {kind!r} is not known; choose one of {', '.join(kinds())}")
    if kind == "swap":
        return of_kind("keypoint noise", {"swap": Swap}, kind, options)
    return noise_laws.noise_law(kind, **options)


def num_uniforms(law: AnyKeypointNoise) -> int:
    """How many uniform numbers the label of one keypoint is made of."""
    return _DIM + 1 if isinstance(law, Swap) else law.num_uniforms(_DIM)


def noisy(
    law: AnyKeypointNoise,
    truth: Float[Tensor, "batch joints 2"],
    visibility: Int64[Tensor, "batch joints"],
    unit: Float[Tensor, "batch 2"],
    uniform: Float[Tensor, "batch joints uniforms"],
    pairs: Sequence[tuple[int, int]] = (),
) -> Float[Tensor, "batch joints 2"]:
    """Labels of the truth under a law: a pure function of uniform numbers.

    Args:
        law: By `keypoint_noise`; its scales are shares of `unit`.
        truth: In pixels.
        visibility: COCO's, on which `hetero` depends.
        unit: Pixels along x and y that are one unit of the law, as the sides of a crop or a box.
        uniform: In [0, 1), `num_uniforms(law)` a keypoint, as of `noise.uniform`.
        pairs: (left, right) joints, for `swap`.

    Raises ValueError for another number of uniform numbers, and a joint in two pairs or beyond the joints.
    """
    if uniform.shape[-1] != num_uniforms(law):
        raise ValueError(
            f"uniform: expected {num_uniforms(law)} numbers a keypoint for {law.kind!r}, got "
            f"{uniform.shape[-1]}"
        )
    if not isinstance(law, Swap):
        residual = law.residual(uniform, clarity_of(visibility))
        return truth + unit[:, None] * residual.to(truth)
    order, paired = _order(truth.shape[1], pairs)
    # Both joints of a pair ask the first number of the earlier one.
    chosen = uniform[..., 0] < law.share
    first = torch.minimum(order, torch.arange(len(order)))
    exchanged = (chosen[:, first] & paired)[..., None]
    residual = Gauss(law.scale).residual(uniform[..., 1:])
    return torch.where(exchanged, truth[:, order], truth) + unit[:, None] * residual.to(truth)


def log_density(
    law: AnyKeypointNoise,
    labels: Float[Tensor, "batch joints 2"],
    truth: Float[Tensor, "batch joints 2"],
    visibility: Int64[Tensor, "batch joints"],
    unit: Float[Tensor, "batch 2"],
    pairs: Sequence[tuple[int, int]] = (),
) -> Float[Tensor, "batch joints"]:
    """The log density in nats of each label by itself, of places in units of `unit`; arguments as of `noisy`.

    (That of a pixel's area is less by the sum of the logarithms of `unit`.)

    Raises ValueError for `none`, which has no density, and for pairs as `noisy` does.
    """
    residual = (labels - truth) / unit[:, None]
    if not isinstance(law, Swap):
        return law.log_prob(residual, clarity_of(visibility))
    order, paired = _order(truth.shape[1], pairs)
    offset = (truth[:, order] - truth) / unit[:, None]
    own, other = (Gauss(law.scale).log_prob(places) for places in (residual, residual - offset))
    mixed = torch.logaddexp(own + math.log1p(-law.share), other + math.log(law.share))
    return torch.where(paired, mixed, own)


def clarity_of(visibility: Int64[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """1 for a keypoint that is seen, 0 for one that is hidden."""
    return (visibility == 2).double()


def _order(joints: int, pairs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Each joint's partner, or itself, and which have one."""
    used = [joint for pair in pairs for joint in pair]
    if len(set(used)) < len(used) or not all(0 <= joint < joints for joint in used):
        raise ValueError(f"pairs: expected each of {joints} joints in at most one pair, got {list(pairs)}")
    order = torch.arange(joints)
    for left, right in pairs:
        order[left], order[right] = right, left
    return order, order != torch.arange(joints)
