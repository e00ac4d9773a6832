"""A network of gaze on a picture of any size: the crop of an eye, and where it looks."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from linsight.data.crops import crop_images, padded_boxes
from linsight.data.gaze import GREY, mirror_angles
from linsight.data.geometry import Warp
from linsight.models.vision import GazeNet
from linsight.tasks.gaze.calibration import GazeCalibration
from linsight.tasks.gaze.found import deviations

__all__ = ["Look", "gaze_in_box"]


class Look(NamedTuple):
    """Where one eye looks; angles are (pitch, yaw) in radians."""

    angles: Float[Tensor, "2"]
    sigma: Float[Tensor, "2"] | None
    """Deviations; None of a codec without one."""
    middle: tuple[float, float]
    """Of the crop, x and y in pixels of the picture."""
    width: float
    """Of the crop, likewise."""


@torch.inference_mode()
def gaze_in_box(
    net: GazeNet,
    picture: Float[np.ndarray, "height width 3"],
    box: tuple[float, float, float, float] | None = None,
    *,
    right: bool = False,
    head: tuple[float, float] | None = None,
    calibration: GazeCalibration | None = None,
) -> Look:
    """Where the network, on its own device, says that the eye in a box looks.

    The crop is the box, or the picture, enlarged to the crop's shape: one scale on both axes, and 0 beyond
    the picture. In training crops are 37.5 mm wide, the eye in their middle, and right eyes are mirrored.

    Args:
        net: In evaluation mode.
        picture: In [0, 1].
        box: x1, y1, x2, y2 in pixels.
        right: Whether the eye is the person's right one, whose nose is to the right in the picture: it is
            mirrored, and its gaze mirrored back.
        head: Pitch and yaw of the head in radians, for a network that takes it.
        calibration: The person's, of the gaze as the network says it: of a left eye, or a mirrored right one.

    Raises:
        ValueError: A box without area, or that is not finite; no head for a network that takes it.
    """
    height, width = picture.shape[:2]
    corners = torch.tensor([box or (0.0, 0.0, float(width), float(height))], dtype=torch.float64)
    corners = padded_boxes(corners, net.config.size, padding=1.0)
    warp = Warp.crop(corners, (height, width), net.config.size)
    pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    if net.config.backbone.in_channels == 1:
        pixels = (pixels * pixels.new_tensor(GREY)[:, None, None]).sum(0, keepdim=True)
    like = next(net.parameters())
    crop = crop_images([pixels], warp).to(like)
    pose = None if head is None else like.new_tensor([head])
    if right:
        crop, pose = crop.flip(3), None if pose is None else mirror_angles(pose)
    found = net.gaze(crop, pose)
    angles = found.xy[0, 0].double().cpu()
    if calibration is not None:
        angles = calibration(angles)
    left, top, edge, bottom = corners[0].tolist()
    return Look(
        mirror_angles(angles) if right else angles,
        None if found.sigma is None else deviations(net.codec, found.sigma[0, 0]).double().cpu(),
        ((left + edge) / 2 - 0.5, (top + bottom) / 2 - 0.5),
        edge - left,
    )
