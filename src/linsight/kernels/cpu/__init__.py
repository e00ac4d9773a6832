"""Compiled CPU kernels: C++ behind a plain C interface, loaded by ctypes, without torch's headers."""

from linsight.kernels.cpu.attention import linear_attention
from linsight.kernels.cpu.compiling import build, compiler
from linsight.kernels.cpu.decode import (
    MAPS,
    BlockState,
    DecodedBlock,
    DecodedConvolution,
    DecodedEmbedding,
    DecodedMixer,
    Decoder,
)
from linsight.kernels.cpu.delta import delta_rule
from linsight.kernels.cpu.library import at_level, level, levels, why_not
from linsight.kernels.cpu.scan import selective_scan

__all__ = [
    "MAPS",
    "BlockState",
    "DecodedBlock",
    "DecodedConvolution",
    "DecodedEmbedding",
    "DecodedMixer",
    "Decoder",
    "at_level",
    "build",
    "compiler",
    "delta_rule",
    "level",
    "levels",
    "linear_attention",
    "selective_scan",
    "why_not",
]
