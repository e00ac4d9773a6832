"""Top-down crops: each box fills a crop of one size, by a map that takes keypoints there and back."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from linsight.data.geometry import Warp

__all__ = ["PADDING", "crop_images", "padded_boxes", "top_down"]

PADDING = 1.25
"""How much larger than its box a crop is, as in Xiao et al. 2018 (arXiv 1804.06208) and since."""


def padded_boxes(
    boxes: Float[Tensor, "batch 4"], size: tuple[int, int], padding: float = PADDING
) -> Float[Tensor, "batch 4"]:
    """The boxes about the same middles that have the shape of a crop and contain these, `padding` times.

    With the aspect a = width / height of the crop, width' = padding max(width, a height) and
    height' = width' / a.

    Args:
        boxes: x1, y1, x2, y2 in pixels, edges between pixels; those of COCO by `annotations.to_xyxy`.
        size: Height and width of the crop.
        padding: Of both sides.

    Raises ValueError for a box without area or that is not finite, a crop without pixels, and a padding that
    is not above 0.

    Example:
        >>> padded_boxes(torch.tensor([[10.0, 10.0, 20.0, 50.0]]), (64, 48)).tolist()
        [[-3.75, 5.0, 33.75, 55.0]]
    """
    if min(size) < 1:
        raise ValueError(f"size: expected height and width of at least 1, got {size}")
    if not 0 < padding < math.inf:
        raise ValueError(f"padding: expected a number above 0, got {padding}")
    sides = boxes[:, 2:] - boxes[:, :2]
    wrong = ~((sides > 0).all(1) & boxes.isfinite().all(1))
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"boxes: expected finite x1 < x2 and y1 < y2, got {boxes[row].tolist()} in row {row}"
        )
    aspect = size[1] / size[0]
    width = padding * torch.maximum(sides[:, 0], aspect * sides[:, 1])
    half = torch.stack([width, width / aspect], 1) / 2
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return torch.cat([middle - half, middle + half], 1)


def top_down(
    boxes: Float[Tensor, "batch 4"],
    source: tuple[int, int],
    size: tuple[int, int],
    padding: float = PADDING,
) -> Warp:
    """The map from images to crops about boxes: `padded_boxes` fill the crop, with one scale on both axes.

    `map.keypoints` are in the crop what keypoints are in the image, `map.inverse().keypoints` what is found
    in the crop is in the image: both are indices of pixel centres. Flips, turns and changes of scale of the
    crop are further maps: `top_down(...).then(Augmentation().draw(items, size))`.

    Args:
        boxes: x1, y1, x2, y2 in pixels, one an image; they may reach beyond it.
        source: Height and width of the images, or of a canvas that they all fit on from its upper left.
        size: Height and width of the crops.
        padding: How much larger than the box the crop is.

    Raises what `padded_boxes` raises.
    """
    return Warp.crop(padded_boxes(boxes.double(), size, padding), source, size)


def crop_images(
    images: Sequence[Tensor], warp: Warp
) -> Shaped[Tensor, "batch channels crop_height crop_width"]:
    """Each image (channels, height, width), of whatever size, by its row of the map, in its type.

    Bilinear, 0 beyond the image, half-pixel geometry. Where the crop is k times smaller or more, pixels are
    first averaged over blocks of k x k, so that what is too fine for the crop is grey in it and not noise.
    Of an image nothing but the part under the crop is read.

    Raises ValueError for another number of images than the map has.
    """
    if len(images) != len(warp.matrix):
        raise ValueError(f"images: expected {len(warp.matrix)}, as many as the map has, got {len(images)}")
    pairs = zip(images, warp.matrix, strict=True)
    return torch.stack([_cropped(image, matrix, warp.target) for image, matrix in pairs])


def _cropped(
    image: Shaped[Tensor, "channels height width"], matrix: Float64[Tensor, "2 3"], target: tuple[int, int]
) -> Shaped[Tensor, "channels crop_height crop_width"]:
    source = (image.shape[-2], image.shape[-1])
    # A crop that is exactly k times smaller has a scale of 1 / k but for its rounding.
    block = max(1, math.floor(float(torch.linalg.det(matrix[:, :2]).abs()) ** -0.5 + 1e-9))
    whole = torch.tensor([[[0.0, 0.0, target[1], target[0]]]], dtype=torch.float64)
    low, high = Warp(matrix[None], source, target).inverse().boxes(whole, clip=False)[0, 0].split(2)
    left, top = (max(math.floor(edge) - block, 0) for edge in low.tolist())
    right, bottom = (
        min(math.ceil(edge) + block, side) for edge, side in zip(high.tolist(), source[::-1], strict=True)
    )
    if left >= right or top >= bottom:
        return torch.zeros(len(image), *target, dtype=image.dtype)
    part = image[None, :, top:bottom, left:right].double()
    part = F.avg_pool2d(F.pad(part, (0, (left - right) % block, 0, (top - bottom) % block)), block)
    # Block (r, c) covers the places from block (c, r) + (left, top) on.
    offset = matrix[:, :2] @ torch.tensor([left, top], dtype=torch.float64) + matrix[:, 2]
    moved = torch.cat([block * matrix[:, :2], offset[:, None]], 1)
    found = Warp(moved[None], (part.shape[-2], part.shape[-1]), target).image(part)[0]
    if image.dtype == torch.uint8:
        found = found.round().clamp(0, 255)
    return found.to(image.dtype)
