"""Data normalisation of gaze: a virtual camera that looks at the eye or face from a fixed distance."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor

__all__ = ["NORMALISED_CAMERAS", "Normalisation", "NormalisedCamera", "normalisation"]


@dataclass(frozen=True)
class NormalisedCamera:
    """The camera that normalised images are taken with.

    Args:
        width, height: Of the image, in pixels.
        focal: Focal length in pixels.
        distance: From the eye or face, in the unit of its position; metres in the presets.

    The principal point is the middle of the image.

    Raises ValueError for numbers that are not positive.
    """

    width: int
    height: int
    focal: float
    distance: float

    def __post_init__(self) -> None:
        """Refuse what is no camera."""
        for name in ("width", "height", "focal", "distance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a number above 0, got {getattr(self, name)}")

    @property
    def matrix(self) -> Float64[Tensor, "3 3"]:
        """C_n: camera coordinates to continuous places, where pixel i covers [i, i + 1)."""
        rows = [[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1]]
        return torch.tensor(rows, dtype=torch.float64)


NORMALISED_CAMERAS = {
    "eye": NormalisedCamera(60, 36, 960, 0.6),
    "face": NormalisedCamera(224, 224, 1600, 1.0),
    "xgaze_face": NormalisedCamera(448, 448, 960, 0.3),
    "xgaze_eye": NormalisedCamera(128, 128, 1800, 0.6),
}
"""Public settings: eyes as MPIIGaze's; faces (their distance is unverified); ETH-XGaze's faces and eyes."""


class Normalisation(NamedTuple):
    """The rotation and the homography of a batch, and what they do to labels, heads, points and images.

    Labels turn by R alone, never by S R: scaling the distance moves no direction. (The original MPIIGaze was
    made with S R, MPIIFaceGaze with R.)
    """

    rotation: Float64[Tensor, "batch 3 3"]
    """R, whose rows are the axes of the normalised camera."""
    homography: Float64[Tensor, "batch 3 3"]
    """W = C_n S R C^-1, from places in the image to places in the normalised image."""
    scale: Float64[Tensor, "batch"]
    """d_n / |c|, the factor of the distance."""
    camera: NormalisedCamera

    def gaze(self, vectors: Tensor) -> Tensor:
        """g_n = R g, for vectors (batch, 3) in the camera's frame."""
        return _turn(self.rotation, vectors)

    def gaze_back(self, vectors: Tensor) -> Tensor:
        """g = R^T g_n: what a model says, in the frame of the camera that took the image."""
        return _turn(self.rotation.mT, vectors)

    def head(self, head: Tensor) -> Tensor:
        """R H, for head rotations (batch, 3, 3); H R would be wrong by some ten degrees."""
        return (self.rotation @ head.double()).to(head.dtype)

    def places(self, places: Tensor) -> Tensor:
        """Continuous places (batch, points, 2) of the image, in the normalised image."""
        return _apply(self.homography, places)

    def places_back(self, places: Tensor) -> Tensor:
        """Continuous places of the normalised image, in the image."""
        return _apply(torch.linalg.inv(self.homography), places)

    def image(self, images: Tensor) -> Tensor:
        """The normalised images (batch, channels, height, width): bilinear, 0 beyond the image.

        Each centre of a pixel is taken where the exact homography says. uint8 is rounded.

        Raises:
            ValueError: Another number of images, or no images.
        """
        if images.ndim != 4 or len(images) != len(self.rotation):
            raise ValueError(
                f"images: expected ({len(self.rotation)}, channels, height, width), got {tuple(images.shape)}"
            )
        height, width = images.shape[-2:]
        rows, columns = (
            torch.arange(side, dtype=torch.float64) + 0.5 for side in (self.camera.height, self.camera.width)
        )
        centres = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1).flatten(0, 1)
        back = torch.linalg.inv(self.homography)
        found = _homogeneous(back, centres[None].expand(len(images), -1, -1))
        places = found[..., :2] / found[..., 2:]
        # What is behind the camera is nowhere in its image.
        places = torch.where(found[..., 2:] > 0, places, -1e3)
        grid = 2 * places / torch.tensor([width, height], dtype=torch.float64) - 1
        grid = grid.unflatten(1, (self.camera.height, self.camera.width))
        warped = F.grid_sample(images.double(), grid, "bilinear", "zeros", align_corners=False)
        if images.dtype == torch.uint8:
            warped = warped.round().clamp(0, 255)
        return warped.to(images.dtype)


def normalisation(
    centre: Tensor, head: Tensor, camera: Tensor, target: NormalisedCamera = NORMALISED_CAMERAS["eye"]
) -> Normalisation:
    """The normalisation of Zhang, Sugano & Bulling 2018, Revisiting data normalization for gaze estimation.

    z = c / |c|; y = z x h_x, of length 1; x = y x z, with h_x the first column of the head's rotation; R has
    the rows x, y, z; S = diag(1, 1, d_n / |c|); W = C_n S R C^-1. The centre comes to the principal point of
    the normalised camera, and the head has no roll.

    Args:
        centre: c, (batch, 3): the eye's or face's centre in the camera's frame, in the unit of
            `target.distance`.
        head: H, (batch, 3, 3), rotations from the head's frame to the camera's.
        camera: C, (3, 3) or (batch, 3, 3), for continuous places: a matrix that counts pixel centres from 0,
            as OpenCV's does, has 1/2 less in its principal point.
        target: The normalised camera.

    Raises:
        ValueError: Other shapes; numbers that are not finite; a centre nearer than 1e-3; H no rotation to
            1e-3; h_x parallel to z; C singular.
    """
    centre, head, camera = centre.double(), head.double(), camera.double()
    if centre.ndim != 2 or centre.shape[1] != 3:
        raise ValueError(f"centre: expected shape (batch, 3), got {tuple(centre.shape)}")
    batch = len(centre)
    if head.shape != (batch, 3, 3):
        raise ValueError(f"head: expected shape ({batch}, 3, 3), got {tuple(head.shape)}")
    if camera.shape not in ((3, 3), (batch, 3, 3)):
        raise ValueError(f"camera: expected shape (3, 3) or ({batch}, 3, 3), got {tuple(camera.shape)}")
    for name, tensor in (("centre", centre), ("head", head), ("camera", camera)):
        if not tensor.isfinite().all():
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    camera = camera.expand(batch, 3, 3)
    distance = torch.linalg.vector_norm(centre, dim=1)
    _refuse(distance < 1e-3, "centre: expected at least 1e-3 from the camera, got a smaller distance")
    identity = torch.eye(3, dtype=torch.float64)
    off = (head @ head.mT - identity).flatten(1).norm(dim=1) > 1e-3
    _refuse(off | (torch.linalg.det(head) < 0), "head: expected rotations, got another matrix")
    z = centre / distance[:, None]
    y = torch.linalg.cross(z, head[:, :, 0])
    length = torch.linalg.vector_norm(y, dim=1, keepdim=True)
    _refuse(length[:, 0] < 1e-6, "head: expected an x axis that is not the line of sight, got one that is")
    y = y / length
    rotation = torch.stack([torch.linalg.cross(y, z), y, z], dim=1)
    size = camera.flatten(1).norm(dim=1)
    _refuse(
        torch.linalg.det(camera).abs() <= 1e-12 * size, "camera: expected a matrix with an inverse, got none"
    )
    scale = target.distance / distance
    scaling = torch.diag_embed(torch.stack([torch.ones_like(scale), torch.ones_like(scale), scale], dim=1))
    homography = target.matrix @ scaling @ rotation @ torch.linalg.inv(camera)
    return Normalisation(rotation, homography, scale, target)


def _refuse(wrong: Tensor, message: str) -> None:
    if wrong.any():
        raise ValueError(f"{message} at index {int(wrong.nonzero()[0, 0])}")


def _turn(rotation: Tensor, vectors: Tensor) -> Tensor:
    return (rotation @ vectors.double()[..., None])[..., 0].to(vectors.dtype)


def _homogeneous(matrix: Tensor, places: Tensor) -> Tensor:
    return F.pad(places.double(), (0, 1), value=1.0) @ matrix.mT


def _apply(matrix: Tensor, places: Tensor) -> Tensor:
    found = _homogeneous(matrix, places)
    return (found[..., :2] / found[..., 2:]).to(places.dtype)
