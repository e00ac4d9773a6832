"""A network of keypoints on a picture of any size: its crop about a box, its joints in the picture."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from linsight.data.crops import PADDING, crop_images, top_down
from linsight.models.vision import KeypointNet

__all__ = ["Joints", "found_in_box"]


class Joints(NamedTuple):
    """The joints of one person, in pixels of the picture."""

    xy: Float[Tensor, "joints 2"]
    score: Float[Tensor, " joints"]
    sigma: Float[Tensor, "joints 2"] | None
    """None of a codec without one."""


@torch.inference_mode()
def found_in_box(
    net: KeypointNet,
    picture: Float[np.ndarray, "height width 3"],
    box: tuple[float, float, float, float] | None = None,
) -> Joints:
    """Where the network, on its own device, sees the joints of the person in a box.

    The crop is the box, `PADDING` times larger and enlarged to the crop's shape, with one scale on both axes,
    and 0 beyond the picture; without a box the picture itself, enlarged to that shape.

    Args:
        net: In evaluation mode.
        picture: In [0, 1].
        box: x1, y1, x2, y2 in pixels.

    Raises:
        ValueError: A box without area, or that is not finite.
    """
    height, width = picture.shape[:2]
    padding = PADDING if box is not None else 1.0
    corners = torch.tensor([box or (0.0, 0.0, float(width), float(height))], dtype=torch.float64)
    warp = top_down(corners, (height, width), net.config.size, padding)
    pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    crop = crop_images([pixels], warp).float().to(next(net.parameters()).device)
    found = net.keypoints(crop)
    inverse = warp.inverse()
    # One scale on both axes, and no turn.
    scale = float(inverse.matrix[0, 0, 0])
    return Joints(
        inverse.keypoints(found.xy.double().cpu())[0],
        found.score[0].double().cpu(),
        None if found.sigma is None else scale * found.sigma[0].double().cpu(),
    )
