"""A small residual network: an image to maps of doubling strides, by convolutions alone."""

from dataclasses import dataclass
from typing import Literal, cast

from jaxtyping import Float
from torch import Tensor, nn

from linsight.config import Config
from linsight.models.vision.backbone import Pyramid
from linsight.models.vision.parts import padded_to_even, require_channels

__all__ = ["ResidualBackbone", "ResidualConfig"]


@dataclass(frozen=True)
class ResidualConfig(Config):
    """Widths and depth of a residual network."""

    kind: Literal["residual"] = "residual"
    in_channels: int = 3
    widths: tuple[int, ...] = (16, 32, 64)
    """Of the stages, the first at `stem_stride`, each at twice the one before."""
    blocks: int = 1
    """Residual blocks of each stage, of two convolutions each: 3 stages of 1 and a head are 8 layers."""
    stem_stride: int = 2
    """Of the first stage, 1 or 2."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths: expected at least one, each at least 1, got {self.widths}")
        for name in ("in_channels", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.stem_stride not in (1, 2):
            raise ValueError(f"stem_stride: expected 1 or 2, got {self.stem_stride}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the maps, from fine to coarse."""
        return self.widths

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps, from fine to coarse."""
        return tuple(self.stem_stride * 2**number for number in range(len(self.widths)))

    def build(self) -> "ResidualBackbone":
        """The backbone."""
        return ResidualBackbone(self)


class ResidualBackbone(nn.Module):
    """Maps of doubling strides of images of any size, called as `PyramidBackbone` is.

    Blocks are pre-activated (He et al. 2016, arXiv 1603.05027): x + conv(act(norm(conv(act(norm(x)))))), the
    network of 8 layers that pytorch_mpiigaze trains for eyes. Deviation: the norm is over the channels and
    places of one image, so that images of a batch do not know each other; GELU; patches of 2 x 2 between
    stages, which keep half-pixel centres.

    Args:
        config: See `ResidualConfig`.

    Cost: linear in pixels; 9 million multiply-adds for 36 x 60 with the default widths.

    Example:
        >>> import torch
        >>> [tuple(one.shape[1:]) for one in ResidualConfig().build()(torch.rand(1, 3, 36, 60)).maps]
        [(16, 18, 30), (32, 9, 15), (64, 5, 8)]
    """

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__()
        self.config = config
        self.channels, self.strides = config.channels, config.strides
        first = config.widths[0]
        side = 4 if config.stem_stride == 2 else 3
        self.stem = nn.Conv2d(config.in_channels, first, side, stride=config.stem_stride, padding=1)
        self.merges = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2)
            for fine, coarse in zip(config.widths[:-1], config.widths[1:], strict=True)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(config.blocks))) for width in config.widths
        )

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Pyramid:
        """The maps of images `(batch, in_channels, height, width)`, each side rounded up where it is halved.

        Raises:
            ValueError: Images of other channels.
        """
        require_channels(images, self.config.in_channels)
        x = self.stem(padded_to_even(images) if self.config.stem_stride == 2 else images)
        maps = [self.stages[0](x)]
        for merge, stage in zip(self.merges, self.stages[1:], strict=True):
            maps.append(stage(merge(padded_to_even(maps[-1]))))
        return Pyramid(tuple(maps))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
            layers += [nn.GroupNorm(1, width), nn.GELU(), conv]
        # A fresh block is the identity, and a stack of them no deeper than its stem.
        nn.init.zeros_(cast(nn.Conv2d, layers[-1]).weight)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)
