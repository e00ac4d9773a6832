"""Laws of label noise whose density is known, so that a learnt density can be laid beside the true one."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from linsight.config import Config, of_kind

__all__ = [
    "AnyNoiseLaw",
    "Gauss",
    "Hetero",
    "Laplace",
    "NoNoise",
    "NoiseLaw",
    "Outlier",
    "Skew",
    "kinds",
    "noise_law",
]

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class NoiseLaw(Config, ABC):
    """The law of a residual e = label - truth, a vector of D coordinates.

    Residuals are a function of uniform numbers alone, so that they may come from a generator or from the
    counter of an item (`linsight.data.noise`). Units are the caller's: radians of the tangent plane
    (`linsight.ops.exp_map`) for gaze, shares of the box for people.

    `clarity` in [0, 1] says how well the label could be seen: a share of the iris, or the visibility of a
    joint. Laws that it does not change ignore it.
    """

    needs_clarity: ClassVar[bool] = False

    def num_uniforms(self, dim: int) -> int:
        """How many uniform numbers a residual of `dim` coordinates is made of."""
        return dim

    @abstractmethod
    def residual(self, uniform: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The residuals (..., D) of uniform numbers (..., num_uniforms(D)) in [0, 1).

        Raises:
            ValueError: The law needs a clarity, and there is none, or one outside [0, 1].
        """

    @abstractmethod
    def log_prob(self, residual: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The log density in nats of residuals (..., D), over all coordinates together: (...).

        Raises:
            ValueError: As `residual`; or the law has no density.
        """

    def sample(
        self,
        generator: torch.Generator | None,
        shape: Sequence[int],
        clarity: Tensor | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Residuals of `shape`, whose last axis is the D coordinates of a vector.

        Args:
            generator: Where the uniform numbers come from; None takes torch's own.
            shape: (..., D).
            clarity: (...), where the law needs it.
            dtype: Of the residuals; they are computed in float64.

        Raises:
            ValueError: As `residual`; or an empty shape.
        """
        if len(shape) == 0:
            raise ValueError("shape: expected at least the axis of coordinates, got ()")
        size = (*shape[:-1], self.num_uniforms(shape[-1]))
        uniform = torch.rand(size, generator=generator, dtype=torch.float64)
        return self.residual(uniform, clarity).to(dtype)


@dataclass(frozen=True)
class NoNoise(NoiseLaw):
    """Labels are the truth; there is no density."""

    kind: Literal["none"] = "none"

    def residual(self, uniform: Tensor, clarity: Tensor | None = None) -> Tensor:
        """Zeros."""
        return torch.zeros_like(uniform)

    def log_prob(self, residual: Tensor, clarity: Tensor | None = None) -> Tensor:
        """Refused: all mass is in one point."""
        raise ValueError("noise law 'none' has no density; compare learnt densities on another law")


@dataclass(frozen=True)
class Gauss(NoiseLaw):
    """Independent normal coordinates of standard deviation `scale`."""

    scale: float = 0.03
    kind: Literal["gauss"] = "gauss"

    def __post_init__(self) -> None:
        """Refuse scales that are no scale."""
        _positive(self.kind, scale=self.scale)

    def residual(self, uniform: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The quantiles of the uniform numbers."""
        return self.scale * _normal(uniform)

    def log_prob(self, residual: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The sum over coordinates of log N(e; 0, scale)."""
        return _log_normal(residual, self.scale).sum(-1)


@dataclass(frozen=True)
class Laplace(NoiseLaw):
    """Independent coordinates of density exp(-|e| / scale) / (2 scale); standard deviation scale sqrt(2)."""

    scale: float = 0.02
    kind: Literal["laplace"] = "laplace"

    def __post_init__(self) -> None:
        """Refuse scales that are no scale."""
        _positive(self.kind, scale=self.scale)

    def residual(self, uniform: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The quantiles of the uniform numbers."""
        side = _inside(uniform) - 0.5
        return -self.scale * side.sign() * torch.log1p(-2 * side.abs())

    def log_prob(self, residual: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The sum over coordinates of -log(2 scale) - |e| / scale."""
        return (-residual.abs() / self.scale - math.log(2 * self.scale)).sum(-1)


@dataclass(frozen=True)
class Hetero(NoiseLaw):
    """Independent normal coordinates, less certain where less is seen.

    The standard deviation is `clear` at clarity 1 and `hidden` at clarity 0, geometric between them:
    hidden^(1 - c) clear^c.
    """

    clear: float = 0.01
    hidden: float = 0.05
    kind: Literal["hetero"] = "hetero"
    needs_clarity: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse scales that are no scale."""
        _positive(self.kind, clear=self.clear, hidden=self.hidden)

    def scale(self, clarity: Tensor) -> Tensor:
        """The standard deviation at this clarity."""
        return self.hidden * (self.clear / self.hidden) ** clarity

    def residual(self, uniform: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The quantiles of the uniform numbers; `clarity` (...) is needed."""
        return self.scale(_clarity(self.kind, clarity, uniform))[..., None] * _normal(uniform)

    def log_prob(self, residual: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The sum over coordinates of log N(e; 0, scale(clarity)); `clarity` (...) is needed."""
        return _log_normal(residual, self.scale(_clarity(self.kind, clarity, residual))[..., None]).sum(-1)


@dataclass(frozen=True)
class Outlier(NoiseLaw):
    """Normal coordinates, but a share of the vectors is uniform on one side of every coordinate.

    With probability `share` all coordinates of a vector are U(least, most), otherwise all are N(0, scale):
    (1 - share) prod N(e_d; 0, scale) + share prod U(e_d; least, most).
    """

    scale: float = 0.02
    share: float = 0.15
    least: float = 0.05
    most: float = 0.30
    kind: Literal["outlier"] = "outlier"

    def __post_init__(self) -> None:
        """Refuse what is no mixture."""
        _positive(self.kind, scale=self.scale)
        if not 0 < self.share < 1:
            raise ValueError(f"noise law 'outlier': share: expected between 0 and 1, got {self.share}")
        if not -math.inf < self.least < self.most < math.inf:
            raise ValueError(
                f"noise law 'outlier': least, most: expected least < most, got {self.least} and {self.most}"
            )

    def num_uniforms(self, dim: int) -> int:
        """One chooses the side of the mixture."""
        return dim + 1

    def residual(self, uniform: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The first uniform number chooses, the others are the coordinates."""
        chosen, rest = uniform[..., :1] < self.share, uniform[..., 1:]
        far = self.least + (self.most - self.least) * rest
        return torch.where(chosen, far, self.scale * _normal(rest))

    def log_prob(self, residual: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The log of the mixture; -inf nowhere, since the normal part is everywhere."""
        inside = ((residual >= self.least) & (residual <= self.most)).all(-1)
        near = _log_normal(residual, self.scale).sum(-1) + math.log1p(-self.share)
        far = math.log(self.share) - residual.shape[-1] * math.log(self.most - self.least)
        return torch.where(inside, torch.logaddexp(near, torch.full_like(near, far)), near)


@dataclass(frozen=True)
class Skew(NoiseLaw):
    """Independent skew-normal coordinates, 2 / w phi(z) Phi(shape z) with z = (e - place) / w.

    Azzalini 1985, A class of distributions which includes the normal ones. `w` and `place` are such that the
    mean is 0 and the standard deviation `scale`: labels are right on average, and their mode and median are
    not. A positive `shape` has its long tail upwards.
    """

    scale: float = 0.03
    shape: float = 5.0
    kind: Literal["skew"] = "skew"

    def __post_init__(self) -> None:
        """Refuse scales that are no scale, and shapes that are no number."""
        _positive(self.kind, scale=self.scale)
        if not math.isfinite(self.shape):
            raise ValueError(f"noise law 'skew': shape: expected a finite number, got {self.shape}")

    def num_uniforms(self, dim: int) -> int:
        """Two normal numbers make a skewed one."""
        return 2 * dim

    def residual(self, uniform: Tensor, clarity: Tensor | None = None) -> Tensor:
        """place + w (delta |a| + sqrt(1 - delta^2) b) of normal a and b."""
        delta, width, place = self._constants()
        one, other = _normal(uniform).chunk(2, -1)
        return place + width * (delta * one.abs() + math.sqrt(1 - delta**2) * other)

    def log_prob(self, residual: Tensor, clarity: Tensor | None = None) -> Tensor:
        """The sum over coordinates of log(2 / w phi(z) Phi(shape z))."""
        _, width, place = self._constants()
        z = (residual - place) / width
        skewed = torch.special.log_ndtr(self.shape * z) + math.log(2)
        return (_log_normal(z, 1.0) + skewed - math.log(width)).sum(-1)

    def _constants(self) -> tuple[float, float, float]:
        """delta = shape / sqrt(1 + shape^2), w and place."""
        delta = self.shape / math.hypot(1, self.shape)
        mean = delta * math.sqrt(2 / math.pi)
        width = self.scale / math.sqrt(1 - mean**2)
        return delta, width, -width * mean


AnyNoiseLaw = NoNoise | Gauss | Laplace | Hetero | Outlier | Skew
"""Any law of this file, told apart by `kind`."""

_KINDS: dict[str, type[NoiseLaw]] = {
    "none": NoNoise,
    "gauss": Gauss,
    "laplace": Laplace,
    "hetero": Hetero,
    "outlier": Outlier,
    "skew": Skew,
}


def kinds() -> tuple[str, ...]:
    """The names of the laws."""
    return tuple(_KINDS)


def noise_law(kind: str, **options: Any) -> AnyNoiseLaw:
    """The law of this name.

    Raises:
        ValueError: An unknown name or option, or a scale that is none.

    Example:
        >>> law = noise_law("laplace", scale=0.5)
        >>> law.log_prob(torch.zeros(2)).item()
        0.0
    """
    return of_kind("noise law", _KINDS, kind, options)


def _inside(uniform: Tensor) -> Tensor:
    """Never 0 or 1, whose quantiles are infinite: at least 2^-54 from both."""
    return uniform.double().clamp(2.0**-54, 1 - 2.0**-53)


def _normal(uniform: Tensor) -> Tensor:
    return torch.special.ndtri(_inside(uniform))


def _log_normal(residual: Tensor, scale: float | Tensor) -> Tensor:
    log_scale = scale.log() if isinstance(scale, Tensor) else math.log(scale)
    return -0.5 * (residual / scale) ** 2 - log_scale - _HALF_LOG_TAU


def _clarity(kind: str, clarity: Tensor | None, residual: Tensor) -> Tensor:
    if clarity is None:
        raise ValueError(f"noise law {kind!r}: clarity: expected one for each residual, got none")
    if not ((clarity >= 0) & (clarity <= 1)).all():
        raise ValueError(
            f"noise law {kind!r}: clarity: expected shares from 0 to 1, got {clarity.min().item()} "
            f"to {clarity.max().item()}"
        )
    return clarity.to(residual)


def _positive(kind: str, **scales: float) -> None:
    for name, scale in scales.items():
        if not 0 < scale < math.inf:
            raise ValueError(f"noise law {kind!r}: {name}: expected a number above 0, got {scale}")
