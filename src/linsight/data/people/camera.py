"""A pinhole camera for each image, whose places in the image are exact."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

__all__ = ["Camera", "extent", "framing"]

_FINEST = 2.0**10


class Camera(NamedTuple):
    """Pinholes that look along z, x to the right and y down, with square pixels.

    A point (X, Y, Z) in metres is at focal (X, Y) / Z + centre: a continuous place in pixels, where pixel i
    covers [i, i + 1). A crop of an image is the same camera with another centre, a change of size another
    focal length.
    """

    focal: Float64[np.ndarray, "batch"]
    """Focal length in pixels."""
    centre: Float64[np.ndarray, "batch 2"]
    """Where the optical axis meets the image: x and y in pixels, anywhere."""

    def places(self, points: Float64[np.ndarray, "batch points 3"]) -> Float64[np.ndarray, "batch points 2"]:
        """Continuous places (x, y) of points before the camera."""
        return self.focal[:, None, None] * points[..., :2] / points[..., 2:] + self.centre[:, None]

    def keypoints(
        self, points: Float64[np.ndarray, "batch points 3"]
    ) -> Float64[np.ndarray, "batch points 2"]:
        """Indices of pixel centres: half a pixel less than `places`."""
        return self.places(points) - 0.5

    def mirrored(self, width: int) -> "Camera":
        """The camera of the image with left and right exchanged."""
        flipped = np.stack([width - self.centre[:, 0], self.centre[:, 1]], 1)
        return Camera(self.focal, flipped)

    def slopes(
        self, size: tuple[int, int], samples: int
    ) -> tuple[Float32[np.ndarray, "batch columns"], Float32[np.ndarray, "batch rows"]]:
        """X / Z of the columns and Y / Z of the rows of samples, `samples` of each a pixel."""
        x, y = (
            ((np.arange(side * samples) + 0.5) / samples - self.centre[:, axis : axis + 1])
            / self.focal[:, None]
            for axis, side in ((0, size[1]), (1, size[0]))
        )
        return x.astype(np.float32), y.astype(np.float32)


def extent(
    centres: Float64[np.ndarray, "batch spheres 3"], radii: Float64[np.ndarray, "batch spheres"]
) -> Float64[np.ndarray, "batch spheres 4"]:
    """The least and greatest slopes, X / Z and Y / Z, of spheres: x1, y1, x2, y2.

    Rays (s, 1) in the plane of X and Z touch a circle at (X, Z) of radius r where
    s = (X Z +- r sqrt(X^2 + Z^2 - r^2)) / (Z^2 - r^2).

    Raises ValueError for a sphere that is not wholly before the camera.
    """
    depth = centres[..., 2]
    if not (depth > radii).all():
        raise ValueError(
            f"centres: expected spheres before the camera, got one at a depth of {depth.min():.3g} m"
        )
    below = depth**2 - radii**2
    spread = radii[..., None] * np.sqrt(centres[..., :2] ** 2 + below[..., None])
    middle = centres[..., :2] * depth[..., None]
    return np.concatenate([middle - spread, middle + spread], -1) / below[..., None]


def framing(
    slopes: Float64[np.ndarray, "batch 4"],
    size: tuple[int, int],
    zoom: Float64[np.ndarray, "batch"],
    shift: Float64[np.ndarray, "batch 2"],
) -> Camera:
    """The camera whose image is a crop about what has these slopes.

    At a zoom of 1 what is seen spans the whole width or height, whichever it fills first. Its middle is
    `shift` (x, y) from the middle of the image, in shares of width and height. Numbers are rounded to 2^-10.
    """
    sides = np.array([size[1], size[0]], np.float64)
    focal = (sides / (slopes[:, 2:] - slopes[:, :2])).min(1) * zoom
    focal = np.rint(focal * _FINEST) / _FINEST
    middle = (slopes[:, :2] + slopes[:, 2:]) / 2
    centre = (0.5 + shift) * sides - focal[:, None] * middle
    return Camera(focal, np.rint(centre * _FINEST) / _FINEST)
