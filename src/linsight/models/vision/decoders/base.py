"""The contract of decoders, and the step they are all made of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from linsight.config import Config
from linsight.nn.upsampling import UPSAMPLERS, Upsampler

__all__ = ["Decoder", "DecoderConfig", "climb"]


@dataclass(frozen=True)
class DecoderConfig(Config):
    """Base of the decoders' configurations, told apart by their `kind`."""

    upsampler: str = "bilinear"
    """A name of `linsight.nn.upsampling.UPSAMPLERS`."""

    def __post_init__(self) -> None:
        """Refuse an upsampler that is not there."""
        if self.upsampler not in UPSAMPLERS:
            raise ValueError(f"upsampler: expected one of {', '.join(UPSAMPLERS)}, got {self.upsampler!r}")

    def build(self, channels: Sequence[int], strides: Sequence[int], classes: int) -> "Decoder":
        """The decoder of maps of these channels and strides, from fine to coarse."""
        raise NotImplementedError

    def check_pooling(self, downsample: str) -> None:
        """Refuse unpooling of maps that nothing has pooled."""
        if self.upsampler == "unpool" and downsample != "pool":
            raise ValueError(
                f"upsampler: 'unpool' needs a backbone with downsample 'pool', got {downsample!r}"
            )

    def refuse_unpooling(self) -> None:
        """For decoders whose maps have other channels than the pooled ones."""
        if self.upsampler == "unpool":
            raise ValueError(
                "upsampler: 'unpool' puts each channel of a pooled map back where it was, and this decoder's "
                "maps have channels of their own; decoder 'unet' takes it"
            )


class Decoder(nn.Module, ABC):
    """Maps of several strides to logits of every pixel: `logits = decoder(maps, size, indices=())`.

    Logits are returned at exactly `size`, whatever the strides divide. In between, maps are grown by their
    scale and cut, which leaves every pixel where the rounding up of a backbone had put it.

    Args:
        channels: Of the maps, from fine to coarse.
        strides: Of the maps, each twice the one before.
        classes: Logits of a pixel.

    Raises:
        ValueError: Channels and strides that do not fit; no classes.
    """

    outputs: ClassVar[tuple[str, ...]] = ("last",)
    """The submodules that make the logits, not features."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], classes: int) -> None:
        super().__init__()
        if len(channels) != len(strides) or not channels:
            raise ValueError(
                f"strides: expected one for each of {len(channels)} channels, got {tuple(strides)}"
            )
        if any(2 * fine != coarse for fine, coarse in pairwise(strides)):
            raise ValueError(f"strides: expected each to be twice the one before, got {tuple(strides)}")
        if classes < 1:
            raise ValueError(f"classes: expected at least 1, got {classes}")
        self.channels, self.strides, self.classes = tuple(channels), tuple(strides), classes

    def forward(
        self, maps: Sequence[Tensor], size: tuple[int, int], indices: Sequence[Tensor] = ()
    ) -> Tensor:
        """Logits `(batch, classes, *size)`.

        Args:
            maps: From fine to coarse, `(batch, channels[i], height_i, width_i)`.
            size: (height, width) of the images.
            indices: Those of the poolings between the maps, where the upsampler needs them.

        Raises:
            ValueError: Maps of another number or other channels; no indices where they are needed.
        """
        found = tuple(one.shape[1] for one in maps)
        if found != self.channels:
            raise ValueError(f"maps: expected maps of {self.channels} channels, got {found}")
        return self.decode(maps, size, indices)

    @abstractmethod
    def decode(self, maps: Sequence[Tensor], size: tuple[int, int], indices: Sequence[Tensor]) -> Tensor:
        """The decoder itself, on checked arguments."""


def climb(
    up: Upsampler,
    x: Tensor,
    size: Sequence[int],
    skip: Tensor | None = None,
    indices: Tensor | None = None,
) -> Tensor:
    """x at `size`, no pixel moved: by the upsampler's whole scale, then cut at the bottom and right.

    A map of ceil(H / s) rows has pixels that stand for s rows each, the last of them perhaps for fewer. To
    stretch it to H rows would move all of them, by up to s - 1 rows at the end; H s rows, cut, do not. Other
    sizes are stretched.
    """
    full = (up.scale * x.shape[2], up.scale * x.shape[3])
    rows, columns = full[0] - size[0], full[1] - size[1]
    if up.uses_indices or not (0 <= rows < up.scale and 0 <= columns < up.scale):
        return up(x, tuple(size), skip=skip, indices=indices)
    if skip is not None:
        skip = F.pad(skip, (0, columns, 0, rows), mode="replicate") if up.uses_skip else None
    return up(x, full, skip=skip)[:, :, : size[0], : size[1]]
