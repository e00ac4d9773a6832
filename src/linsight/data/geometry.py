"""Affine maps of a batch of images that move pixels, masks, boxes, keypoints and directions together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Integer, Shaped
from torch import Tensor

from linsight.config import Config
from linsight.data import noise

__all__ = ["STILL", "Augmentation", "Warp"]

Padding = Literal["zeros", "border", "reflection"]


@dataclass(frozen=True, eq=False)
class Warp:
    """An affine map for each image of a batch, from places in the source to places in the target.

    place' = matrix (x, y, 1), where places are continuous: pixel i covers [i, i + 1) and has its centre at
    i + 1/2 (half-pixel geometry, torch's `align_corners=False`). Boxes are such places; keypoints are indices
    of pixel centres, x' + 1/2 = matrix (x + 1/2, ...).

    Methods take batches, and give what they are given in its own type. Cost: one sampling in float64.

    Raises ValueError for a matrix that is not finite or cannot be inverted, and sizes below 1.

    Example:
        >>> mirror = Warp.flip(1, (2, 4))
        >>> mirror.boxes(torch.tensor([[[0.0, 0.0, 1.0, 2.0]]])).tolist()
        [[[3.0, 0.0, 4.0, 2.0]]]
        >>> mirror.keypoints(torch.tensor([[[0.0, 1.0]]])).tolist()
        [[[3.0, 1.0]]]
    """

    matrix: Float64[Tensor, "batch 2 3"]
    source: tuple[int, int]
    """Height and width of the images."""
    target: tuple[int, int]
    """Height and width of the results."""

    def __post_init__(self) -> None:
        """Refuse what maps no image."""
        for name, size in (("source", self.source), ("target", self.target)):
            if min(size) < 1:
                raise ValueError(f"{name}: expected height and width of at least 1, got {size}")
        if not self.matrix.isfinite().all():
            raise ValueError("matrix: expected finite numbers, got NaN or infinity")
        flat = torch.linalg.det(self.matrix[:, :, :2]).abs() < 1e-12
        if flat.any():
            raise ValueError(f"matrix: expected one that can be inverted, got none for image {_first(flat)}")

    @classmethod
    def identity(cls, batch: int, size: tuple[int, int]) -> "Warp":
        """Nothing moves."""
        return cls(torch.eye(2, 3, dtype=torch.float64).repeat(batch, 1, 1), size, size)

    @classmethod
    def flip(cls, batch: int, size: tuple[int, int]) -> "Warp":
        """Left and right are exchanged: x' = width - x."""
        matrix = torch.tensor([[-1.0, 0.0, size[1]], [0.0, 1.0, 0.0]], dtype=torch.float64)
        return cls(matrix.repeat(batch, 1, 1), size, size)

    @classmethod
    def resize(cls, batch: int, size: tuple[int, int], target: tuple[int, int]) -> "Warp":
        """Edges go to edges: x' = x width' / width. Shrinking does not blur, hence aliases beyond 2 to 1."""
        rows = [[target[1] / size[1], 0.0, 0.0], [0.0, target[0] / size[0], 0.0]]
        return cls(torch.tensor(rows, dtype=torch.float64).repeat(batch, 1, 1), size, target)

    @classmethod
    def crop(
        cls, corners: Float[Tensor, "batch 4"], size: tuple[int, int], target: tuple[int, int]
    ) -> "Warp":
        """The box (x1, y1, x2, y2) of each image fills the target. Raises ValueError for an empty box."""
        box = corners.double()
        sides = box[:, 2:] - box[:, :2]
        empty = ~(sides > 0).all(1)
        if empty.any():
            raise ValueError(f"corners: expected x1 < x2 and y1 < y2, got {box[_first(empty)].tolist()}")
        scale = torch.tensor([target[1], target[0]], dtype=torch.float64) / sides
        return cls(torch.cat([torch.diag_embed(scale), (-scale * box[:, :2])[..., None]], 2), size, target)

    @classmethod
    def about_the_centre(
        cls,
        angle: Float64[Tensor, "batch"],
        scale: Float64[Tensor, "batch"],
        shift: Float64[Tensor, "batch 2"],
        size: tuple[int, int],
    ) -> "Warp":
        """Turn by `angle` (radians, clockwise as seen) and enlarge about the centre, then move by (x, y)."""
        cosine, sine = scale * angle.cos(), scale * angle.sin()
        linear = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
        centre = torch.tensor([size[1] / 2, size[0] / 2], dtype=torch.float64)
        offset = centre + shift - (linear @ centre)
        return cls(torch.cat([linear, offset[..., None]], 2), size, size)

    def then(self, other: "Warp") -> "Warp":
        """This map, and the other one on its results: one sampling in place of two."""
        if other.source != self.target or len(other.matrix) != len(self.matrix):
            raise ValueError(
                f"other: expected a map of {len(self.matrix)} images of {self.target}, "
                f"got one of {len(other.matrix)} of {other.source}"
            )
        linear, offset = other.matrix[:, :, :2], other.matrix[:, :, 2:]
        return Warp(linear @ self.matrix + _offset(offset), self.source, other.target)

    def inverse(self) -> "Warp":
        """The map back: of places exactly, of pixels as far as sampling lets them survive."""
        linear = torch.linalg.inv(self.matrix[:, :, :2])
        return Warp(torch.cat([linear, -linear @ self.matrix[:, :, 2:]], 2), self.target, self.source)

    @property
    def mirrors(self) -> Shaped[Tensor, "batch"]:
        """Which maps exchange left and right handedness."""
        return torch.linalg.det(self.matrix[:, :, :2]) < 0

    def image(
        self, images: Shaped[Tensor, "batch channels height width"], padding: Padding = "zeros"
    ) -> Shaped[Tensor, "batch channels target_height target_width"]:
        """The images, bilinear; beyond the source 0, or what `padding` says. uint8 is rounded."""
        self._check(images)
        places = self._sources()
        height, width = self.source
        grid = 2 * places / torch.tensor([width, height], dtype=torch.float64) - 1
        found = F.grid_sample(images.double(), grid, "bilinear", padding, align_corners=False)
        if images.dtype == torch.uint8:
            found = found.round().clamp(0, 255)
        return found.to(images.dtype)

    def mask(
        self, masks: Shaped[Tensor, "batch channels height width"], fill: int = 0
    ) -> Shaped[Tensor, "batch channels target_height target_width"]:
        """Labels or truth values: those of the pixel that the centre of the target's pixel falls into.

        Beyond the source it is `fill`. Nothing is ever between two labels.
        """
        self._check(masks)
        height, width = self.source
        # A centre on an edge belongs to the pixel after it, whatever the last bit of its place.
        column, row = (self._sources() + 1e-9).floor().long().unbind(-1)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
        batch, channels = masks.shape[:2]
        found = masks.flatten(2).gather(2, place[:, None].expand(batch, channels, -1))
        return found.reshape(batch, channels, *self.target).masked_fill(~inside[:, None], fill)

    def points(self, places: Float[Tensor, "batch points 2"]) -> Float[Tensor, "batch points 2"]:
        """Continuous places (x, y)."""
        matrix = self.matrix[:, None]
        moved = (matrix[..., :2] @ places.double()[..., None])[..., 0] + matrix[..., 2]
        return moved.to(places.dtype)

    def boxes(
        self, boxes: Float[Tensor, "batch boxes 4"], *, clip: bool = True
    ) -> Float[Tensor, "batch boxes 4"]:
        """x1, y1, x2, y2 around the moved corners, clipped to the target.

        Exact for flips, crops and changes of size. After a turn it is the box around a box, which may be
        looser than one around the object; take boxes of moved masks where that matters. A box that has left
        the target has no area.
        """
        corners = boxes[..., [0, 1, 2, 1, 0, 3, 2, 3]].unflatten(-1, (4, 2))
        moved = self.points(corners.flatten(1, 2)).unflatten(1, corners.shape[1:3])
        low, high = moved.amin(2), moved.amax(2)
        if clip:
            edge = torch.tensor([self.target[1], self.target[0]], dtype=boxes.dtype)
            low, high = low.clamp_min(0).minimum(edge), high.clamp_min(0).minimum(edge)
        return torch.cat([low, high], -1)

    def keypoints(
        self, keypoints: Float[Tensor, "batch joints 2"], pairs: Sequence[tuple[int, int]] = ()
    ) -> Float[Tensor, "batch joints 2"]:
        """Indices (x, y) of pixel centres; joints of a pair (left, right) change places where it mirrors.

        Visibilities go the same way by `exchange`; which joints are beyond the target, `inside` tells.
        """
        return self.exchange(self.points(keypoints + 0.5) - 0.5, pairs)

    def inside(self, keypoints: Float[Tensor, "batch joints 2"]) -> Shaped[Tensor, "batch joints"]:
        """Which moved keypoints are within the target's pixels."""
        edge = torch.tensor([self.target[1], self.target[0]], dtype=keypoints.dtype) - 0.5
        return ((keypoints >= -0.5) & (keypoints < edge)).all(-1)

    def exchange(
        self, values: Shaped[Tensor, "batch joints *rest"], pairs: Sequence[tuple[int, int]]
    ) -> Shaped[Tensor, "batch joints *rest"]:
        """The values with those of each pair exchanged in the images that are mirrored.

        Raises ValueError for a joint paired with itself, in two pairs, or beyond the joints.
        """
        joints = values.shape[1]
        used = [joint for pair in pairs for joint in pair]
        if len(set(used)) < len(used) or not all(0 <= joint < joints for joint in used):
            raise ValueError(
                f"pairs: expected each of {joints} joints in at most one pair, got {list(pairs)}"
            )
        order = list(range(joints))
        for left, right in pairs:
            order[left], order[right] = right, left
        mirrors = self.mirrors.reshape(-1, *[1] * (values.ndim - 1))
        return torch.where(mirrors, values[:, order], values)

    def directions(
        self, directions: Float[Tensor, "batch vectors 3"], pairs: Sequence[tuple[int, int]] = ()
    ) -> Float[Tensor, "batch vectors 3"]:
        """Directions in the camera's frame (x right, y down, z forward): x and y turn with the image.

        For gaze: a flip changes the sign of x, hence of yaw, and not pitch. A change of size changes
        nothing. Vectors of a pair, as of two eyes, change places where the image is mirrored.

        Raises ValueError for a map that is more than turn, flip and size: it has no direction to give.
        """
        linear = self.matrix[:, :, :2]
        size = torch.linalg.det(linear).abs().sqrt()[:, None, None]
        turn = linear / size
        wrong = ((turn @ turn.mT - torch.eye(2, dtype=torch.float64)).abs() > 1e-6).flatten(1).any(1)
        if wrong.any():
            raise ValueError(
                f"directions: expected one scale along both axes and no shear, got "
                f"{linear[_first(wrong)].tolist()} for image {_first(wrong)}"
            )
        plane = (turn[:, None] @ directions[..., :2, None].double())[..., 0].to(directions.dtype)
        return self.exchange(torch.cat([plane, directions[..., 2:]], -1), pairs)

    def _check(self, images: Shaped[Tensor, "batch channels height width"]) -> None:
        if len(images) != len(self.matrix) or tuple(images.shape[-2:]) != self.source:
            raise ValueError(
                f"images: expected {len(self.matrix)} of {self.source}, got {len(images)} of "
                f"{tuple(images.shape[-2:])}"
            )

    def _sources(self) -> Float64[Tensor, "batch target_height target_width 2"]:
        """Where the centre of each pixel of the target is in the source."""
        rows, columns = (torch.arange(side, dtype=torch.float64) + 0.5 for side in self.target)
        centres = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1)
        back = self.inverse().matrix[:, None, None]
        return (back[..., :2] @ centres[..., None])[..., 0] + back[..., 2]


@dataclass(frozen=True)
class Augmentation(Config):
    """Random flips, turns, sizes and shifts; that of item i in epoch e is a function of (seed, e, i) alone.

    Args:
        flip: The share of images that are mirrored. (Digits and letters must not be.)
        degrees: Turns are uniform in +- so much.
        least, most: The scale, uniform in its logarithm.
        shift: Shifts are uniform in +- this share of the side.

    Raises ValueError for shares outside 0 to 1, and scales that are not 0 < least <= most.
    """

    flip: float = 0.5
    degrees: float = 10.0
    least: float = 0.8
    most: float = 1.25
    shift: float = 0.1

    def __post_init__(self) -> None:
        """Refuse settings out of range."""
        for name in ("flip", "shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}")
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"degrees: expected 0 to 180, got {self.degrees}")
        if not 0 < self.least <= self.most < math.inf:
            raise ValueError(f"least, most: expected 0 < least <= most, got {self.least} and {self.most}")

    def draw(
        self,
        items: Integer[np.ndarray, "batch"],
        size: tuple[int, int],
        *,
        seed: int = 0,
        epoch: int = 0,
    ) -> Warp:
        """The map of each item in this epoch, whatever else is in the batch."""
        drawn = noise.uniform(noise.key(seed, "augmentation"), items, 5, epoch=epoch)
        flip, turn, scale, *shift = torch.from_numpy(drawn).unbind(1)
        sides = torch.tensor([size[1], size[0]], dtype=torch.float64)
        moved = Warp.about_the_centre(
            math.radians(self.degrees) * (2 * turn - 1),
            self.least * (self.most / self.least) ** scale,
            self.shift * sides * (2 * torch.stack(shift, 1) - 1),
            size,
        )
        mirrored = Warp.flip(len(items), size).then(moved)
        matrix = torch.where((flip < self.flip)[:, None, None], mirrored.matrix, moved.matrix)
        return Warp(matrix, size, size)


STILL = Augmentation(flip=0.0, degrees=0.0, least=1.0, most=1.0, shift=0.0)
"""Nothing is moved."""


def _offset(offset: Float64[Tensor, "batch 2 1"]) -> Float64[Tensor, "batch 2 3"]:
    return F.pad(offset, (2, 0))


def _first(which: Shaped[Tensor, "batch"]) -> int:
    return int(which.nonzero()[0, 0])
