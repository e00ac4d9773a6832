"""What a horizontal flip of the image does to gaze, head and image: the law every reader and model obeys."""

import torch
from torch import Tensor

__all__ = ["mirror_angles", "mirror_image", "mirror_rotation", "mirror_vectors"]


def mirror_image(images: Tensor) -> Tensor:
    """Images (..., height, width) with left and right exchanged."""
    return images.flip(-1)


def mirror_angles(angles: Tensor) -> Tensor:
    """(pitch, yaw) (..., 2) of the flipped image: yaw changes sign, pitch does not. Head poses too."""
    return angles * angles.new_tensor([1, -1])


def mirror_vectors(vectors: Tensor) -> Tensor:
    """Directions or points (..., 3) in the camera's frame: x changes sign."""
    return vectors * vectors.new_tensor([-1, 1, 1])


def mirror_rotation(rotation: Tensor) -> Tensor:
    """Rotations (..., 3, 3), as of heads: F H F with F = diag(-1, 1, 1), which is a rotation again."""
    sign = torch.tensor([-1, 1, 1], dtype=rotation.dtype, device=rotation.device)
    return rotation * sign * sign[:, None]
