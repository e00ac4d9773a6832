"""The contract of every upsampler: the exact size that is asked for, in one geometry."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FixedScale", "Upsampler", "check_odd", "fit", "zero_bias"]


class Upsampler(nn.Module, ABC):
    """`y = up(x, size=None, skip=None)`: a map `(batch, channels, height, width)` on a finer grid.

    The size of y is `size`, else that of `skip`, else `scale` times that of x, exactly. The geometry is that
    of half-pixel centres: of H' outputs over H inputs, output i lies at u = (i + 1/2) H / H' - 1/2, and what
    is beyond the border is the border. `align_corners=False` is torch's name for it.

    Args:
        in_channels: Of x.
        out_channels: Of y; None for those of x.
        scale: How much finer y is where no size is given, at least 1.
        allow_down: Whether a size smaller than x's is taken as meant.

    Raises:
        ValueError: Numbers below 1.
    """

    uses_skip: bool = False
    """Whether the values of `skip` are read; every upsampler reads its size."""
    uses_indices: ClassVar[bool] = False
    """Whether `indices` are needed: where a pooling found its maxima."""
    takes_integers: ClassVar[bool] = False
    """Whether maps of integers, such as labels, are taken."""

    def __init__(
        self, in_channels: int, out_channels: int | None = None, scale: int = 2, *, allow_down: bool = False
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = in_channels if out_channels is None else out_channels
        self.scale = scale
        self.allow_down = allow_down
        for name in ("in_channels", "out_channels", "scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name}: expected an integer, got {value!r}")
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")

    def forward(
        self, x: Tensor, size: Any = None, skip: Tensor | None = None, indices: Tensor | None = None
    ) -> Tensor:
        """x on a finer grid.

        Args:
            x: `(batch, in_channels, height, width)`, floating point (`nearest` takes integers too).
            size: (height, width) of the result, integers.
            skip: `(batch, any, height', width')`: a map of the resolution wanted. Where no size is given, its
                own is meant; where `uses_skip`, its values guide. It is never concatenated.
            indices: Where `uses_indices`: what `IndexedMaxPool` returned. Others do not look at them.

        Returns:
            `(batch, out_channels, *size)` in x's dtype.

        Raises:
            ValueError: A shape that does not fit; a size below 1, or below x's without `allow_down`; a skip
                of another batch size, or of another size than `size`.
            TypeError: A size of numbers that are not integers; integer maps; indices that are needed and
                missing.
        """
        self._check(x, skip)
        return self.upsample(x, self._target(x, size, skip), skip, indices)

    @abstractmethod
    def upsample(
        self, x: Tensor, size: tuple[int, int], skip: Tensor | None, indices: Tensor | None
    ) -> Tensor:
        """The upsampler itself, on checked arguments."""

    def _check(self, x: Tensor, skip: Tensor | None) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels or 0 in x.shape[2:]:
            raise ValueError(
                f"x: expected (batch, in_channels {self.in_channels}, height >= 1, width >= 1), "
                f"got {tuple(x.shape)}"
            )
        if not x.is_floating_point() and not self.takes_integers:
            raise TypeError(
                f"x: expected floating point, got {x.dtype}; only 'nearest' takes maps of integers"
            )
        if skip is not None and (skip.ndim != 4 or skip.shape[0] != x.shape[0]):
            raise ValueError(
                f"skip: expected (batch {x.shape[0]}, channels, height, width), got {tuple(skip.shape)}"
            )

    def _target(self, x: Tensor, size: Any, skip: Tensor | None) -> tuple[int, int]:
        height, width = x.shape[2:]
        if size is None:
            rows, columns = (height * self.scale, width * self.scale) if skip is None else skip.shape[2:]
        else:
            rows, columns = _pair(size)
            if skip is not None and tuple(skip.shape[2:]) != (rows, columns):
                raise ValueError(
                    f"size: expected that of skip {tuple(skip.shape[2:])} where both are given, "
                    f"got {(rows, columns)}"
                )
        if rows < 1 or columns < 1:
            raise ValueError(f"size: expected at least 1 x 1, got {rows} x {columns}")
        if not self.allow_down and (rows < height or columns < width):
            raise ValueError(
                f"size: expected at least x's {height} x {width}, got {rows} x {columns}; "
                "allow_down=True takes smaller ones"
            )
        return rows, columns

    def extra_repr(self) -> str:
        """Channels and scale."""
        return f"{self.in_channels} -> {self.out_channels}, scale={self.scale}"


class FixedScale(Upsampler):
    """An upsampler that makes `scale` times x's grid, which `fit` brings to other sizes."""

    def upsample(self, x, size, skip, indices):
        """Grow, then crop or resize."""
        return fit(self.grow(x), size, self.scale)

    @abstractmethod
    def grow(self, x: Tensor) -> Tensor:
        """`(batch, out_channels, scale * height, scale * width)`."""


def fit(y: Tensor, size: tuple[int, int], scale: int) -> Tensor:
    """y at `size`: cut at the bottom and right where less than `scale` is too much, else resized.

    A cut leaves every pixel where it was, so it undoes the padding of a layer that halved an odd size. Other
    sizes are reached by half-pixel bilinear interpolation.
    """
    rows, columns = y.shape[2] - size[0], y.shape[3] - size[1]
    if 0 <= rows < scale and 0 <= columns < scale:
        return y[:, :, : size[0], : size[1]]
    return F.interpolate(y, size, mode="bilinear", align_corners=False)


def check_odd(name: str, value: int) -> None:
    """Refuse a window without a middle."""
    if value < 1 or value % 2 == 0:
        raise ValueError(f"{name}: expected an odd number, got {value}")


def zero_bias(*convolutions: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Let the biases begin at 0."""
    for convolution in convolutions:
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)


def _pair(size: Any) -> tuple[int, int]:
    values = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    if any(isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)) for value in values):
        raise TypeError(f"size: expected two integers (height, width), got {size!r}")
    if len(values) != 2:
        raise ValueError(f"size: expected two integers (height, width), got {size!r}")
    return values[0], values[1]
