"""Compiled CPU kernels: C++ behind a plain C interface, loaded by ctypes, without torch's headers."""

from linsight.kernels.cpu.attention import linear_attention
from linsight.kernels.cpu.compiling import build, compiler
from linsight.kernels.cpu.convolution import short_convolution
from linsight.kernels.cpu.decode import Decoder
from linsight.kernels.cpu.decoded import (
    MAPS,
    BlockState,
    DecodedBlock,
    DecodedConvolution,
    DecodedEmbedding,
    DecodedMixer,
    DecodedProjection,
)
from linsight.kernels.cpu.delta import delta_rule
from linsight.kernels.cpu.diagonal import diagonal_space
from linsight.kernels.cpu.favor import favor_attention
from linsight.kernels.cpu.gating import gated_silu
from linsight.kernels.cpu.library import at_level, level, levels, why_not
from linsight.kernels.cpu.recurrence import diagonal_recurrence
from linsight.kernels.cpu.scan import selective_scan

__all__ = [
    "MAPS",
    "BlockState",
    "DecodedBlock",
    "DecodedConvolution",
    "DecodedEmbedding",
    "DecodedMixer",
    "DecodedProjection",
    "Decoder",
    "at_level",
    "build",
    "compiler",
    "delta_rule",
    "diagonal_recurrence",
    "diagonal_space",
    "favor_attention",
    "gated_silu",
    "level",
    "levels",
    "linear_attention",
    "selective_scan",
    "short_convolution",
    "why_not",
]
