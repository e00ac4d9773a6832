"""FCN: scores of every level, the coarser ones grown and added to the finer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from linsight.models.vision.decoders.base import Decoder, DecoderConfig, climb
from linsight.nn.upsampling import Upsampler, make_upsampler

__all__ = ["FCN", "FCNConfig"]


@dataclass(frozen=True)
class FCNConfig(DecoderConfig):
    """FCN-32s, 16s or 8s, by the finest stride that is scored."""

    kind: Literal["fcn"] = "fcn"
    upsampler: str = "deconv_bilinear"
    """Of the scores; not `unpool`."""
    finest_stride: int = 8
    """The finest stride with scores of its own: 32, 16, 8, or 4."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        super().__post_init__()
        self.refuse_unpooling()

    def build(self, channels: Sequence[int], strides: Sequence[int], classes: int) -> "FCN":
        """The decoder."""
        return FCN(self, channels, strides, classes)


class FCN(Decoder):
    """Class scores by a 1 x 1 convolution at each stride; the coarse grown to the finer, and added.

    Long, Shelhamer, Darrell 2015, arXiv 1411.4038. All scores but the coarsest begin at 0, so that the
    network begins as FCN-32s. Deviation: sizes are explicit, where the original pads by 100 and crops.

    Raises:
        ValueError: A finest stride that no map has; what `Decoder` refuses.
    """

    outputs = ("scores", "ups", "last")

    def __init__(
        self, config: FCNConfig, channels: Sequence[int], strides: Sequence[int], classes: int
    ) -> None:
        super().__init__(channels, strides, classes)
        if config.finest_stride not in strides:
            raise ValueError(
                f"finest_stride: expected one of {', '.join(map(str, strides))}, got {config.finest_stride}"
            )
        self.first = self.strides.index(config.finest_stride)
        scored = self.channels[self.first :]
        self.scores = nn.ModuleList(nn.Conv2d(number, classes, 1) for number in scored)
        for score in self.scores[:-1]:
            for parameter in score.parameters():
                nn.init.zeros_(parameter)
        self.ups = nn.ModuleList(
            make_upsampler(config.upsampler, classes, classes, skip_channels=number) for number in scored[:-1]
        )
        self.last = make_upsampler(config.upsampler, classes, classes, config.finest_stride)

    def decode(self, maps: Sequence[Tensor], size: tuple[int, int], indices: Sequence[Tensor]) -> Tensor:
        """From the coarsest score to the pixels."""
        maps = maps[self.first :]
        total = self.scores[-1](maps[-1])
        for level in reversed(range(len(maps) - 1)):
            fine = maps[level]
            total = climb(cast(Upsampler, self.ups[level]), total, fine.shape[2:], skip=fine) + self.scores[
                level
            ](fine)
        return climb(self.last, total, size)
