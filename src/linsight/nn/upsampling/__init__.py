"""Upsamplers: one contract, `y = up(x, size=None, skip=None)`, every one of them by name."""

from linsight.nn.upsampling.base import FixedScale, Upsampler, fit
from linsight.nn.upsampling.build import UPSAMPLERS, make_upsampler
from linsight.nn.upsampling.carafe import Carafe
from linsight.nn.upsampling.dysample import DySample
from linsight.nn.upsampling.interpolation import Bicubic, Bilinear, Nearest, ResizeConvolution, resize
from linsight.nn.upsampling.linear_attention import LinearAttentionUpsampler
from linsight.nn.upsampling.phases import phase_pattern
from linsight.nn.upsampling.subpixel import SubPixel
from linsight.nn.upsampling.torch_layers import PixelShuffle, TorchBilinear, TorchNearest, TorchUpsample
from linsight.nn.upsampling.transposed import (
    BilinearDeconvolution,
    TransposedConvolution,
    bilinear_kernel,
    transposed_size,
)
from linsight.nn.upsampling.unpool import IndexedMaxPool, MaxUnpool, Pooled

__all__ = [
    "UPSAMPLERS",
    "Bicubic",
    "Bilinear",
    "BilinearDeconvolution",
    "Carafe",
    "DySample",
    "FixedScale",
    "IndexedMaxPool",
    "LinearAttentionUpsampler",
    "MaxUnpool",
    "Nearest",
    "PixelShuffle",
    "Pooled",
    "ResizeConvolution",
    "SubPixel",
    "TorchBilinear",
    "TorchNearest",
    "TorchUpsample",
    "TransposedConvolution",
    "Upsampler",
    "bilinear_kernel",
    "fit",
    "make_upsampler",
    "phase_pattern",
    "resize",
    "transposed_size",
]
