"""The table of upsamplers and the way to build one."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from linsight.nn.upsampling.base import Upsampler
from linsight.nn.upsampling.carafe import Carafe
from linsight.nn.upsampling.dysample import DySample
from linsight.nn.upsampling.interpolation import Bicubic, Bilinear, Nearest, ResizeConvolution
from linsight.nn.upsampling.linear_attention import LinearAttentionUpsampler
from linsight.nn.upsampling.subpixel import SubPixel
from linsight.nn.upsampling.torch_layers import PixelShuffle, TorchBilinear, TorchNearest, TorchUpsample
from linsight.nn.upsampling.transposed import BilinearDeconvolution, TransposedConvolution
from linsight.nn.upsampling.unpool import MaxUnpool

__all__ = ["UPSAMPLERS", "make_upsampler"]


def _deconvolution(
    in_channels: int,
    out_channels: int | None = None,
    scale: int = 2,
    *,
    taps: Callable[[int], int],
    init: str = "default",
    allow_down: bool = False,
) -> TransposedConvolution:
    return TransposedConvolution(
        in_channels, out_channels, scale, kernel_size=taps(scale), init=init, allow_down=allow_down
    )


UPSAMPLERS: dict[str, Callable[..., Upsampler]] = {
    "nearest": Nearest,
    "bilinear": Bilinear,
    "bicubic": Bicubic,
    "upsample": TorchUpsample,
    "nearest2d_legacy": TorchNearest,
    "bilinear2d_aligned": TorchBilinear,
    "pixel_shuffle": PixelShuffle,
    "resize_conv": ResizeConvolution,
    "deconv2": partial(_deconvolution, taps=lambda scale: scale),
    "deconv3": partial(_deconvolution, taps=lambda scale: 2 * scale - 1),
    "deconv4": partial(_deconvolution, taps=lambda scale: 2 * scale - scale % 2),
    "deconv_bilinear": BilinearDeconvolution,
    "subpixel": SubPixel,
    "unpool": MaxUnpool,
    "carafe": Carafe,
    "dysample": DySample,
    "linear_attention": LinearAttentionUpsampler,
}
"""Every upsampler by name, called with (in_channels, out_channels, scale, **options)."""


def make_upsampler(
    name: str,
    in_channels: int,
    out_channels: int | None = None,
    scale: int = 2,
    *,
    skip_channels: int | None = None,
    **options: Any,
) -> Upsampler:
    """The upsampler of this name: `y = up(x, size=None, skip=None)`; see `Upsampler`.

    * `nearest`, `bilinear`, `bicubic`: interpolation at half-pixel centres; no parameters.
    * `upsample`, `nearest2d_legacy`, `bilinear2d_aligned`, `pixel_shuffle`: torch's four layers as they are.
    * `resize_conv`: interpolation, then a convolution.
    * `deconv2`, `deconv3`, `deconv4`: transposed convolution with kernels of 2, 3, 4 at scale 2, of s,
      2 s - 1, 2 s - s mod 2 at scale s; `deconv_bilinear` begins as bilinear interpolation.
    * `subpixel`: convolution and pixel shuffle, ICNR initial values.
    * `unpool`: max-unpooling, which needs the pooling's indices.
    * `carafe`, `dysample`: kernels, or points, predicted from the content.
    * `linear_attention`: bilinear, and what linear attention reads from the coarse map, guided by the skip.

    Args:
        name: Of `UPSAMPLERS`.
        in_channels: Of x.
        out_channels: Of y; None for those of x (`pixel_shuffle`: those that torch's layer gives).
        scale: How much finer y is where no size is given.
        skip_channels: Of the skip, for upsamplers that are guided by its values; others do not need it.
        options: Of the upsampler's own; see its class.

    Raises:
        ValueError: An unknown name, or an option that it does not have; what the upsampler refuses.

    Example:
        >>> import torch
        >>> up = make_upsampler("dysample", 16, 8)
        >>> up(torch.rand(1, 16, 5, 7)).shape, up(torch.rand(1, 16, 5, 7), size=(9, 14)).shape
        (torch.Size([1, 8, 10, 14]), torch.Size([1, 8, 9, 14]))
    """
    if name not in UPSAMPLERS:
        raise ValueError(f"upsampler {name!r} is not known; choose one of {', '.join(UPSAMPLERS)}")
    build = UPSAMPLERS[name]
    known = _options(build)
    for option in options:
        if option not in known:
            raise ValueError(f"upsampler {name!r} has no option {option!r}; it has {', '.join(known)}")
    if skip_channels is not None and "skip_channels" in known:
        options["skip_channels"] = skip_channels
    return build(in_channels, out_channels, scale, **options)


def _options(build: Callable[..., Upsampler]) -> list[str]:
    given = build.keywords if isinstance(build, partial) else {}
    parameters = inspect.signature(build).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in given]
