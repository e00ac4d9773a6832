"""U-Net: level by level, the coarse map grown, joined with the encoder's, and convolved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from linsight.models.vision.decoders.base import Decoder, DecoderConfig, climb
from linsight.models.vision.parts import convolve
from linsight.nn.upsampling import UPSAMPLERS, Upsampler, make_upsampler

__all__ = ["UNet", "UNetConfig"]

Join = Literal["concat", "add"]


@dataclass(frozen=True)
class UNetConfig(DecoderConfig):
    """U-Net; with `unpool` and a backbone that pools, a SegNet with skips."""

    kind: Literal["unet"] = "unet"
    last: str = "bilinear"
    """From the finest map to logits of pixels. Interpolation cannot draw what is finer than the map; an
    upsampler that learns, as `subpixel`, can."""
    join: Join = "concat"
    """Of the grown map with the encoder's. `add` (Chaurasia, Culurciello 2017, arXiv 1707.03718) has a third
    less to convolve."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        super().__post_init__()
        if self.join not in get_args(Join):
            raise ValueError(f"join: expected 'concat' or 'add', got {self.join!r}")
        known = [name for name in UPSAMPLERS if name != "unpool"]
        if self.last not in known:
            raise ValueError(f"last: expected one of {', '.join(known)}, got {self.last!r}")

    def build(self, channels: Sequence[int], strides: Sequence[int], classes: int) -> "UNet":
        """The decoder."""
        return UNet(self, channels, strides, classes)


class UNet(Decoder):
    """At each level x grows to the encoder's map, is joined with it, and passes two 3 x 3 convolutions.

    Ronneberger, Fischer, Brox 2015, arXiv 1505.04597; with max-unpooling, Badrinarayanan et al. 2015, arXiv
    1511.00561. x has the channels of the encoder's map at each level. The upsampler `last` makes logits of
    pixels of the finest map; `bilinear` classifies there, and interpolates. Deviations: convolutions are
    padded, and a norm follows each.

    Raises:
        ValueError: What `Decoder` refuses; in a call, `unpool` without indices.
    """

    def __init__(
        self, config: UNetConfig, channels: Sequence[int], strides: Sequence[int], classes: int
    ) -> None:
        super().__init__(channels, strides, classes)
        pairs = list(zip(self.channels[:-1], self.channels[1:], strict=True))
        name = config.upsampler
        self.ups = nn.ModuleList(
            make_upsampler(name, coarse, fine, skip_channels=fine) for fine, coarse in pairs
        )
        self.join = config.join
        sides = 2 if self.join == "concat" else 1
        self.blocks = nn.ModuleList(
            nn.Sequential(convolve(sides * fine, fine), convolve(fine, fine)) for fine, _ in pairs
        )
        self.last = make_upsampler(config.last, self.channels[0], classes, scale=self.strides[0])

    def decode(self, maps: Sequence[Tensor], size: tuple[int, int], indices: Sequence[Tensor]) -> Tensor:
        """From the coarsest map to the pixels."""
        needs = any(up.uses_indices for up in self.ups)
        if needs and len(indices) != len(self.ups):
            raise ValueError(
                f"indices: expected those of {len(self.ups)} poolings for upsampler 'unpool', got "
                f"{len(indices)}; a backbone with downsample='pool' has them"
            )
        x = maps[-1]
        for level in reversed(range(len(self.ups))):
            skip = maps[level]
            where = indices[level] if needs else None
            x = climb(cast(Upsampler, self.ups[level]), x, skip.shape[2:], skip=skip, indices=where)
            x = self.blocks[level](x + skip if self.join == "add" else torch.cat([x, skip], dim=1))
        return climb(self.last, x, size)
