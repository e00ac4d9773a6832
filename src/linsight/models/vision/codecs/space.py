"""What a codec's points are: places in a crop, or directions of gaze."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from linsight.models.vision.codecs.activations import BoundedAngles
from linsight.ops import directions

__all__ = ["Directions", "Pixels", "Space"]


class Space(ABC):
    """The coordinates of points `(batch, joints, dim)`, and how errors are measured there.

    A network predicts `inner` coordinates; errors and sigmas are in the space's own unit.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Coordinates of a point."""

    @property
    @abstractmethod
    def centre(self) -> float:
        """The inner coordinate that a fresh head predicts."""

    @property
    @abstractmethod
    def sigma_range(self) -> tuple[float, float]:
        """The least and the greatest sigma that a head can give, in the unit of errors."""

    @abstractmethod
    def check(self, points: Tensor, selected: Tensor) -> None:
        """Refuse selected points that cannot be meant; ValueError naming the sample."""

    @abstractmethod
    def inside(self, points: Tensor) -> Tensor:
        """Which points `(..., dim)` a network can be asked for: `(...)`."""

    @abstractmethod
    def to_inner(self, points: Tensor) -> Tensor:
        """Inner coordinates of points."""

    @abstractmethod
    def to_points(self, inner: Tensor) -> Tensor:
        """Points of inner coordinates."""

    @abstractmethod
    def error(self, found: Tensor, truth: Tensor) -> Tensor:
        """found - truth of inner coordinates, in the unit of errors."""

    @abstractmethod
    def to_point_unit(self, sigma: Tensor) -> Tensor:
        """Sigmas `(..., dim)` in the unit of the points."""

    @abstractmethod
    def mirror(self, inner: Tensor) -> Tensor:
        """The inner coordinates in the mirrored image."""

    @abstractmethod
    def mean(self, one: Tensor, other: Tensor) -> Tensor:
        """The point between two, both inner."""

    def reported_nll(self, nll: Tensor, error: Tensor) -> Tensor:
        """-log p of a density over errors as one over the reported unit."""
        return nll

    def bound(self) -> nn.Module:
        """What stands between a linear layer and inner coordinates."""
        return nn.Identity()


@dataclass(frozen=True)
class Pixels(Space):
    """Places (x, y) or (x, y, z) in a crop, as indices of pixel centres.

    Inner coordinates and errors are fractions of the crop: u = (x + 1/2) / width, 0 and 1 at its edges, so
    that sigma and -log p are in crops, whatever the aspect.

    Args:
        width, height: Of the crop in pixels.
        depth: Of it in the same unit, for points in space; None in the plane.

    Raises:
        ValueError: A side below 1.
    """

    width: int
    height: int
    depth: int | None = None

    def __post_init__(self) -> None:
        """Refuse an empty crop."""
        for name in ("width", "height", "depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")

    @property
    def dim(self) -> int:
        """2, or 3 with a depth."""
        return len(self.sides)

    @property
    def centre(self) -> float:
        """The middle of the crop."""
        return 0.5

    @property
    def sigma_range(self) -> tuple[float, float]:
        """A thousandth of the crop, to all of it."""
        return 1e-3, 1.0

    @property
    def sides(self) -> tuple[int, ...]:
        """width, height, and depth where there is one."""
        return tuple(side for side in (self.width, self.height, self.depth) if side is not None)

    def check(self, points: Tensor, selected: Tensor) -> None:
        """Any finite place may be meant: those outside of the crop get no weight."""

    def inside(self, points: Tensor) -> Tensor:
        """Within the edges of the crop, which are half a pixel outside of the outermost centres."""
        inner = self.to_inner(points)
        return ((inner >= 0) & (inner <= 1)).all(-1)

    def to_inner(self, points: Tensor) -> Tensor:
        """(x + 1/2) / width."""
        return (points + 0.5) / self._like(points)

    def to_points(self, inner: Tensor) -> Tensor:
        """u width - 1/2."""
        return inner * self._like(inner) - 0.5

    def error(self, found: Tensor, truth: Tensor) -> Tensor:
        """The difference, in crops."""
        return found - truth

    def to_point_unit(self, sigma: Tensor) -> Tensor:
        """In pixels."""
        return sigma * self._like(sigma)

    def mirror(self, inner: Tensor) -> Tensor:
        """u -> 1 - u of the first coordinate."""
        return torch.cat([1 - inner[..., :1], inner[..., 1:]], dim=-1)

    def mean(self, one: Tensor, other: Tensor) -> Tensor:
        """The midpoint."""
        return 0.5 * (one + other)

    def _like(self, tensor: Tensor) -> Tensor:
        return _constant(self.sides, tensor)


@dataclass(frozen=True)
class Directions(Space):
    """Directions of gaze as (pitch, yaw) in radians; see `linsight.ops.directions`.

    Args:
        residual: `tangent`: errors lie in the plane that touches the sphere at the prediction, so that their
            length is the angle, whatever the pitch. `angles`: differences of pitch and yaw, the yaw wrapped.
        unit: Errors and sigmas are in this many radians.
        jacobian: Report -log p per steradian instead of per square radian of the plane (`tangent` alone).

    Raises:
        ValueError: An unknown residual, a unit that is not above 0, `jacobian` without `tangent`.
    """

    residual: Literal["tangent", "angles"] = "tangent"
    unit: float = 1.0
    jacobian: bool = False

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.residual not in ("tangent", "angles"):
            raise ValueError(f"residual: expected 'tangent' or 'angles', got {self.residual!r}")
        if not self.unit > 0:
            raise ValueError(f"unit: expected a number of radians above 0, got {self.unit}")
        if self.jacobian and self.residual != "tangent":
            raise ValueError(f"jacobian: expected residual 'tangent' with it, got {self.residual!r}")

    @property
    def dim(self) -> int:
        """2."""
        return 2

    @property
    def centre(self) -> float:
        """Into the camera."""
        return 0.0

    @property
    def sigma_range(self) -> tuple[float, float]:
        """A tenth of a degree to 60 degrees."""
        return math.radians(0.1) / self.unit, math.radians(60) / self.unit

    def check(self, points: Tensor, selected: Tensor) -> None:
        """Refuse a pitch beyond the poles by more than 1e-3, and a yaw beyond 2 pi."""
        far = (points[..., 0].abs() > math.pi / 2 + 1e-3) | (points[..., 1].abs() > 2 * math.pi)
        if (far & selected).any():
            first = (far & selected).nonzero()[0].tolist()
            raise ValueError(
                f"keypoints: expected |pitch| <= pi/2 and |yaw| <= 2 pi in radians, got "
                f"{[round(value, 4) for value in points[tuple(first)].tolist()]} in sample {first[0]}; "
                "are they degrees?"
            )

    def inside(self, points: Tensor) -> Tensor:
        """Every direction can be asked for."""
        return torch.ones_like(points[..., 0], dtype=torch.bool)

    def to_inner(self, points: Tensor) -> Tensor:
        """The angles themselves."""
        return points

    def to_points(self, inner: Tensor) -> Tensor:
        """The angles themselves."""
        return inner

    def error(self, found: Tensor, truth: Tensor) -> Tensor:
        """The negative of the residual of the truth at the prediction, in `unit`."""
        residual = directions.log_map if self.residual == "tangent" else directions.angle_residual
        return -residual(found, truth) / self.unit

    def to_point_unit(self, sigma: Tensor) -> Tensor:
        """In radians."""
        return sigma * self.unit

    def mirror(self, inner: Tensor) -> Tensor:
        """The yaw changes its sign, the pitch does not."""
        return inner * _constant((1.0, -1.0), inner)

    def mean(self, one: Tensor, other: Tensor) -> Tensor:
        """Of the two vectors, not of their angles."""
        both = torch.stack([directions.to_vector(one), directions.to_vector(other)], dim=-2)
        return directions.to_pitchyaw(directions.mean_direction(both))

    def reported_nll(self, nll: Tensor, error: Tensor) -> Tensor:
        """Per square radian, or per steradian with `jacobian`."""
        nll = nll + self.dim * math.log(self.unit)
        return nll - directions.log_area_ratio(error * self.unit) if self.jacobian else nll

    def bound(self) -> nn.Module:
        """Pitch within pi/2, yaw within pi."""
        return BoundedAngles()


def _constant(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)
