"""The pyramid backbone: an image to maps of strides 4, 8, 16, 32, with any mixer."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from jaxtyping import Float
from torch import Tensor, nn

from linsight.config import Config
from linsight.models.sequence import SequenceConfig
from linsight.models.vision.parts import ChannelNorm, padded_to_even, require_channels
from linsight.models.vision.stage import Positions, Scan, Stage
from linsight.nn.upsampling import IndexedMaxPool

__all__ = ["Pyramid", "PyramidBackbone", "PyramidConfig"]

Downsample = Literal["patches", "pool"]


class Pyramid(NamedTuple):
    """What a backbone makes of images: maps from fine to coarse, and where pooling found its maxima.

    `indices[i]` leads from `maps[i + 1]`'s grid back to `maps[i]`'s; empty where nothing is pooled.
    """

    maps: tuple[Tensor, ...]
    indices: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class PyramidConfig(Config):
    """The stages of a pyramid backbone, and how the grid gets coarser between them."""

    kind: Literal["pyramid"] = "pyramid"
    in_channels: int = 3
    stages: tuple[SequenceConfig, ...] = (
        SequenceConfig(dim=32, layers=1, mlp_dim=64),
        SequenceConfig(dim=64, layers=1, mlp_dim=128),
        SequenceConfig(dim=128, layers=2, mlp_dim=256),
        SequenceConfig(dim=256, layers=1, mlp_dim=512),
    )
    """Width, depth and mixers of each stage, the first at `stem_stride`, each at twice the one before."""
    stem_stride: int = 4
    """Of the first stage, 2 or 4: 2 sees thin things, at four times the cost."""
    positions: Positions = "convolution"
    """A depthwise convolution before each stage, or none."""
    scan: Scan = "alternate"
    """Rows and columns in turn, or rows alone."""
    convolutions: int = 0
    """Residual 3 x 3 convolutions before the blocks of each stage."""
    downsample: Downsample = "patches"
    """2 x 2 pixels as one, by a matrix; or max-pooling whose indices `unpool` needs."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.in_channels < 1:
            raise ValueError(f"in_channels: expected at least 1, got {self.in_channels}")
        if not self.stages:
            raise ValueError("stages: expected at least one, got none")
        if self.stem_stride not in (2, 4):
            raise ValueError(f"stem_stride: expected 2 or 4, got {self.stem_stride}")
        if self.convolutions < 0:
            raise ValueError(f"convolutions: expected at least 0, got {self.convolutions}")
        for name, kinds in (("positions", Positions), ("scan", Scan), ("downsample", Downsample)):
            if getattr(self, name) not in get_args(kinds):
                known = " or ".join(map(repr, get_args(kinds)))
                raise ValueError(f"{name}: expected {known}, got {getattr(self, name)!r}")
        if self.stages[0].dim % 2:
            raise ValueError(f"stages: expected an even width in the first, got {self.stages[0].dim}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the maps, from fine to coarse."""
        return tuple(stage.dim for stage in self.stages)

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps, from fine to coarse: 4, 8, 16, 32 where the stem has stride 4."""
        return tuple(self.stem_stride * 2**number for number in range(len(self.stages)))

    def build(self) -> "PyramidBackbone":
        """The backbone."""
        return PyramidBackbone(self)


class PyramidBackbone(nn.Module):
    """Maps of strides 4, 8, 16, 32 (or 2, 4, ...) of images of any size: `maps, indices = backbone(images)`.

    The pyramid is that of Wang et al. 2021, arXiv 2102.12122, with mixers whose cost is linear in pixels, so
    that no stage has to look at fewer of them. Every halving rounds up, as if the last row and column were
    there twice, so a map has ceil(H / stride) rows; its pixel (i, j) stands for the pixels from
    (stride i, stride j) on, and half-pixel centres are kept. (Patches and kernels of 4 by 2 keep them; the
    usual 3 by 2 would shift every map.)

    Args:
        config: See `PyramidConfig`.

    Cost: linear in pixels where the mixers are linear in tokens.

    Example:
        >>> import torch
        >>> [tuple(one.shape[1:]) for one in PyramidConfig().build()(torch.rand(1, 3, 33, 47)).maps]
        [(32, 9, 12), (64, 5, 6), (128, 3, 3), (256, 2, 2)]
    """

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.config = config
        self.channels, self.strides = config.channels, config.strides
        first = self.channels[0]
        narrow = first if config.stem_stride == 2 else first // 2
        self.stem = nn.ModuleList([nn.Conv2d(config.in_channels, narrow, 4, stride=2, padding=1)])
        if config.stem_stride == 4:
            again = nn.Conv2d(narrow, first, 4, stride=2, padding=1)
            self.stem.append(nn.Sequential(ChannelNorm(narrow), nn.GELU(), again))
        self.pool = IndexedMaxPool(2, ceil_mode=True) if config.downsample == "pool" else None
        side = 1 if self.pool else 2
        self.merges = nn.ModuleList(
            nn.Conv2d(fine, coarse, side, stride=side)
            for fine, coarse in zip(self.channels[:-1], self.channels[1:], strict=True)
        )
        self.stages = nn.ModuleList(
            Stage(stage, positions=config.positions, scan=config.scan, convolutions=config.convolutions)
            for stage in config.stages
        )

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Pyramid:
        """The pyramid of images `(batch, in_channels, height, width)`, of any size from 1 x 1 on.

        Raises:
            ValueError: Images of other channels.
        """
        require_channels(images, self.config.in_channels)
        x = images
        for halve in self.stem:
            x = halve(padded_to_even(x))
        maps, indices = [self.stages[0](x)], []
        for merge, stage in zip(self.merges, self.stages[1:], strict=True):
            x = maps[-1]
            if self.pool is None:
                x = padded_to_even(x)
            else:
                x, where, _ = self.pool(x)
                indices.append(where)
            maps.append(stage(merge(x)))
        return Pyramid(tuple(maps), tuple(indices))
