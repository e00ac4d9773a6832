"""A detector without anchors: maps of centres, sizes and offsets, and the boxes read off them."""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from linsight.config import Config
from linsight.models.vision.backbone import PyramidConfig
from linsight.models.vision.decoders import AnyDecoderConfig, UNetConfig, require_features
from linsight.models.vision.parts import convolve
from linsight.nn import Hinted
from linsight.ops import accumulator_dtype, box_clip, nms_mask

__all__ = ["CentreMaps", "Detector", "DetectorConfig", "Found", "found_boxes"]

_RARE = 0.01
_LARGEST = 1000.0


class CentreMaps(NamedTuple):
    """What a detector says of every cell, `stride` pixels apart: ceil(height / stride) rows."""

    heat: Float[Tensor, "batch classes rows columns"]
    """Logits: is the centre of an object of this class here?"""
    boxes: Float[Tensor, "batch rows columns 4"]
    """The box of such an object, xyxy in pixels, not clipped."""


class Found(NamedTuple):
    """Detections of a batch of images, each image's by descending score, as many places in each."""

    boxes: Float[Tensor, "batch places 4"]
    """xyxy in pixels, clipped to the image."""
    scores: Float[Tensor, "batch places"]
    labels: Int64[Tensor, "batch places"]
    kept: Bool[Tensor, "batch places"]
    """Which places hold a detection: not those below the least score, nor the suppressed."""


@dataclass(frozen=True)
class DetectorConfig(Config):
    """A backbone, a decoder of features, the width of the heads, the number of classes."""

    kind: Literal["detector"] = "detector"
    classes: int = 10
    backbone: PyramidConfig = field(default_factory=PyramidConfig)
    decoder: AnyDecoderConfig = field(default_factory=UNetConfig)
    """`unet` or `fpn`."""
    dim: int = 64
    """Of the decoder's features and of the heads."""
    side: float = 16.0
    """Width and height in pixels that an untrained detector gives its boxes: about that of the objects."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name in ("classes", "dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not 0 < self.side <= _LARGEST:
            raise ValueError(f"side: expected more than 0 and at most {_LARGEST:g} pixels, got {self.side}")
        require_features(self.decoder)
        self.decoder.check_pooling(self.backbone.downsample)

    def build(self) -> "Detector":
        """The network."""
        return Detector(self)


class Detector(Hinted):
    """Objects as points: `maps = detector(images)`, and `found_boxes(maps, size)` for the detections.

    Zhou, Wang, Kraehenbuehl 2019, arXiv 1904.07850. The backbone's maps are decoded to features at its finest
    stride, and two heads, a 3 x 3 convolution and a 1 x 1 each, say of every cell (i, j) the class logits of
    an object whose centre is there and, should there be one, its box:

        centre = stride (j + 1/2 + dx, i + 1/2 + dy),    (w, h) = side exp(s)

    Deviations: sides by their logarithm, so that a box is never empty, at most 1000 pixels; offsets are
    counted from the middle of the cell, of any length. Untrained, it calls a centre one cell in a hundred.

    Args:
        config: See `DetectorConfig`.

    Cost: that of the backbone and the decoder, and of three 3 x 3 convolutions at the finest stride.

    Example:
        >>> maps = DetectorConfig(classes=3).build()(torch.rand(1, 3, 33, 47))
        >>> maps.heat.shape, maps.boxes.shape
        (torch.Size([1, 3, 9, 12]), torch.Size([1, 9, 12, 4]))
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.stride = config.backbone.strides[0]
        # To the decoder, the cells of the finest map are the pixels.
        relative = tuple(stride // self.stride for stride in config.backbone.strides)
        self.decoder = config.decoder.build(config.backbone.channels, relative, config.dim)
        self.heat = _head(config.dim, config.classes, math.log(_RARE / (1 - _RARE)))
        self.box = _head(config.dim, 4, 0.0)
        self.hint_outputs("heat.1", "box.1")

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> CentreMaps:
        """The maps of images `(batch, channels, height, width)` in [0, 1], of any size from 1 x 1 on."""
        maps, indices = self.backbone(images)
        features = F.gelu(self.decoder(maps, tuple(maps[0].shape[2:]), indices))
        return CentreMaps(self.heat(features), self._boxes(self.box(features)))

    def _boxes(self, told: Float[Tensor, "batch 4 rows columns"]) -> Float[Tensor, "batch rows columns 4"]:
        told = told.to(accumulator_dtype(told.dtype)).permute(0, 2, 3, 1)
        rows, columns = (
            torch.arange(cells, dtype=told.dtype, device=told.device) + 0.5 for cells in told.shape[1:3]
        )
        middle = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
        centre = self.stride * (middle + told[..., :2])
        half = self.config.side / 2 * told[..., 2:].clamp_max(math.log(_LARGEST / self.config.side)).exp()
        return torch.cat([centre - half, centre + half], -1)


def _head(dim: int, channels: int, bias: float) -> nn.Sequential:
    last = nn.Conv2d(dim, channels, 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.constant_(cast(Tensor, last.bias), bias)
    return nn.Sequential(convolve(dim, dim), last)


@torch.no_grad()
def found_boxes(
    maps: CentreMaps,
    size: tuple[int, int],
    *,
    most: int = 100,
    least: float = 0.01,
    threshold: float = 0.6,
) -> Found:
    """The detections that maps of centres tell of.

    Of each class, cells that are not below any of their eight neighbours; of all these in an image the `most`
    likely, of equal ones those first by class, row and column; their boxes, clipped to the image; of those of
    a class that overlap by an IoU above `threshold` the likeliest.

    Args:
        maps: Of `Detector`.
        size: (height, width) of the images, in pixels.
        most: Places of an image.
        least: Less likely ones are left out.
        threshold: Of `ops.nms_mask`.

    Raises:
        ValueError: Numbers out of range; NaN in the maps.
    """
    if most < 1:
        raise ValueError(f"most: expected at least 1, got {most}")
    if not 0 <= least <= 1:
        raise ValueError(f"least: expected a score from 0 to 1, got {least}")
    heat = maps.heat.to(accumulator_dtype(maps.heat.dtype)).sigmoid()
    if heat.isnan().any():
        raise ValueError("maps: expected numbers, got NaN")
    peak = heat == F.max_pool2d(heat, 3, stride=1, padding=1)
    likely = torch.where(peak, heat, 0.0).flatten(1)
    scores, place = likely.sort(dim=1, descending=True, stable=True)
    scores, place = scores[:, :most], place[:, :most]
    cells = heat[0, 0].numel()
    cell = (place % cells)[..., None]
    boxes = maps.boxes.flatten(1, 2).gather(1, cell.expand(-1, -1, 4))
    boxes, labels = box_clip(boxes, size), place // cells
    kept = (scores >= least) & (scores > 0) & nms_mask(boxes, scores, labels, threshold=threshold)
    return Found(boxes, scores, labels, kept)
