"""FPN: a top-down path of one width beside the backbone, and the sum of its levels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from linsight.models.vision.decoders.base import Decoder, DecoderConfig, climb
from linsight.models.vision.parts import convolve
from linsight.nn.upsampling import Upsampler, make_upsampler

__all__ = ["FPN", "FPNConfig"]


@dataclass(frozen=True)
class FPNConfig(DecoderConfig):
    """A feature pyramid network and its segmentation head."""

    kind: Literal["fpn"] = "fpn"
    dim: int = 256
    """Width of the top-down path."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        super().__post_init__()
        self.refuse_unpooling()
        if self.dim < 1:
            raise ValueError(f"dim: expected at least 1, got {self.dim}")

    def build(self, channels: Sequence[int], strides: Sequence[int], classes: int) -> "FPN":
        """The decoder."""
        return FPN(self, channels, strides, classes)


class FPN(Decoder):
    """Laterals of one width; from the coarsest down, each grown and added to the next; their sum classified.

    Lin, Dollar, Girshick, He, Hariharan, Belongie 2017, arXiv 1612.03144; the head, Kirillov, Girshick, He,
    Dollar 2019, arXiv 1901.02446. `pyramid` gives the smoothed levels, as detection wants them. The head
    grows each to the finest stride and sums. There, and from it to the pixels, interpolation is bilinear;
    the top-down path has the upsampler of the configuration.

    Raises:
        ValueError: What `Decoder` refuses.
    """

    outputs = ("classifier",)

    def __init__(
        self, config: FPNConfig, channels: Sequence[int], strides: Sequence[int], classes: int
    ) -> None:
        super().__init__(channels, strides, classes)
        dim = config.dim
        self.laterals = nn.ModuleList(nn.Conv2d(number, dim, 1) for number in self.channels)
        self.ups = nn.ModuleList(
            make_upsampler(config.upsampler, dim, dim, skip_channels=dim) for _ in self.channels[:-1]
        )
        self.smooth = nn.ModuleList(convolve(dim, dim) for _ in self.channels)
        self.classifier = nn.Conv2d(dim, classes, 1)
        self.merges = nn.ModuleList(
            make_upsampler("bilinear", dim, scale=stride // self.strides[0]) for stride in self.strides[1:]
        )
        self.last = make_upsampler("bilinear", classes, scale=self.strides[0])

    def pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The smoothed levels, from fine to coarse, `(batch, dim, ...)` at the sizes of the maps."""
        levels = [lateral(one) for lateral, one in zip(self.laterals, maps, strict=True)]
        for level in reversed(range(len(self.ups))):
            fine = levels[level]
            up = cast(Upsampler, self.ups[level])
            levels[level] = fine + climb(up, levels[level + 1], fine.shape[2:], skip=fine)
        return [smooth(one) for smooth, one in zip(self.smooth, levels, strict=True)]

    def decode(self, maps: Sequence[Tensor], size: tuple[int, int], indices: Sequence[Tensor]) -> Tensor:
        """The head on the pyramid."""
        total, *coarser = self.pyramid(maps)
        finest = total.shape[2:]
        for up, one in zip(self.merges, coarser, strict=True):
            total = total + climb(cast(Upsampler, up), one, finest)
        return climb(self.last, self.classifier(total), size)
