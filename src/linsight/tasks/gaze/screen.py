"""The point of a screen that is looked at: a ray on a plane, and the plane's pixels."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from linsight.tasks.gaze.affine import FEWEST, Affine, affine_fit, ridge_fit

__all__ = ["Screen", "ScreenFit", "calibrate_screen", "screen_point"]


def screen_point(
    origin: Tensor, gaze: Tensor, point: Tensor, normal: Tensor
) -> tuple[Float[Tensor, "*batch 3"], Bool[Tensor, "*batch"]]:
    """Where the ray origin + t gaze meets the plane: t = ((point - origin) . normal) / (gaze . normal).

    Args:
        origin: (..., 3), the eye, in any unit.
        gaze: (..., 3), its direction.
        point: (..., 3), a point of the plane, in the same unit.
        normal: (..., 3), the plane's normal, of length 1; its side does not matter.

    Returns:
        The points (..., 3), and which rays meet the plane. Rays along the plane, with
        `|gaze . normal|` < 1e-6, and away from it, t < 0, do not: their points are NaN.

    Raises:
        ValueError: A last axis is not 3.
    """
    for name, tensor in (("origin", origin), ("gaze", gaze), ("point", point), ("normal", normal)):
        if tensor.ndim == 0 or tensor.shape[-1] != 3:
            raise ValueError(f"{name}: expected shape (..., 3), got {tuple(tensor.shape)}")
    slope = (gaze * normal).sum(-1)
    along = slope.abs() < 1e-6
    t = ((point - origin) * normal).sum(-1) / torch.where(along, 1.0, slope)
    meets = ~along & (t >= 0)
    found = origin + t[..., None] * gaze
    return torch.where(meets[..., None], found, math.nan), meets


@dataclass(frozen=True)
class Screen:
    """A screen in the camera's frame: where its first pixel is, where its axes point, how large a pixel is.

    Args:
        corner: The outer corner of the first pixel, in cm.
        right, down: The directions of rows and columns, of length 1.
        pitch: Side of a pixel in cm.

    Raises ValueError for directions that are not orthonormal, and a pitch that is not positive.
    """

    corner: tuple[float, float, float]
    right: tuple[float, float, float]
    down: tuple[float, float, float]
    pitch: float

    def __post_init__(self) -> None:
        """Refuse what is no screen."""
        axes = self._axes
        if (axes @ axes.mT - torch.eye(2, dtype=torch.float64)).abs().max() > 1e-6:
            raise ValueError(
                f"right, down: expected orthogonal directions of length 1, got {self.right} and {self.down}"
            )
        if not self.pitch > 0:
            raise ValueError(f"pitch: expected a number above 0, got {self.pitch}")

    @property
    def _axes(self) -> Float64[Tensor, "2 3"]:
        return torch.tensor([self.right, self.down], dtype=torch.float64)

    def pixels(self, origin: Tensor, gaze: Tensor) -> tuple[Tensor, Tensor]:
        """Continuous places (..., 2) in pixels that rays (cm) meet, and which do; NaN for the others."""
        right, down = self._axes
        corner = torch.tensor(self.corner, dtype=torch.float64)
        points, meets = screen_point(origin.double(), gaze.double(), corner, torch.linalg.cross(right, down))
        return (points - corner) @ self._axes.mT / self.pitch, meets


class ScreenFit(NamedTuple):
    """A map from places that geometry says to places that were looked at, and how far to trust it."""

    affine: Affine
    pixels: Float64[Tensor, "points"]
    """Distance in pixels at each point of a map fitted to the others; NaN where those are too few."""
    centimetres: Float64[Tensor, "points"]

    def apply(self, places: Tensor) -> Tensor:
        """Corrected places (..., 2) in pixels."""
        return self.affine.apply(places)


def calibrate_screen(places: Tensor, targets: Tensor, screen: Screen, *, kind: str = "ridge") -> ScreenFit:
    """Fit what the geometry gets wrong, from points that a person was asked to look at: usually nine.

    Args:
        places: (points, 2), where `Screen.pixels` says that the person looked.
        targets: (points, 2), where the marks were, in pixels.
        screen: For the size of a pixel.
        kind: "affine", or "ridge": shrunk to a shift as far as the leave-one-out error says.

    Raises:
        ValueError: An unknown kind; other shapes; no points; places that are not finite, as of rays that miss
            the screen; "affine" with fewer than 6 points.
    """
    if kind not in ("affine", "ridge"):
        raise ValueError(f"kind: expected 'affine' or 'ridge', got {kind!r}")
    for name, tensor in (("places", places), ("targets", targets)):
        if tensor.ndim != 2 or tensor.shape[1] != 2 or len(tensor) != len(places):
            raise ValueError(
                f"{name}: expected shape (points, 2), as of the places, got {tuple(tensor.shape)}"
            )
        if not tensor.isfinite().all():
            raise ValueError(f"{name}: expected finite places, got NaN or infinity; leave out what misses")
    least = FEWEST if kind == "affine" else 1
    if len(places) < least:
        raise ValueError(f"places: expected at least {least} points for {kind!r}, got {len(places)}")
    places, targets = places.detach().double(), targets.detach().double()
    fit = affine_fit if kind == "affine" else ridge_fit
    errors = torch.full((len(places),), math.nan, dtype=torch.float64)
    if len(places) > least:
        for row in range(len(places)):
            others = torch.arange(len(places)) != row
            found = fit(places[others], targets[others]).apply(places[row])
            errors[row] = (found - targets[row]).norm()
    return ScreenFit(fit(places, targets), errors, errors * screen.pitch)
