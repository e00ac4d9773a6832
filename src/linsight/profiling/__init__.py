"""What things cost: time, memory, and how both grow."""

from linsight.profiling.allocator import allocator, keep_memory
from linsight.profiling.clock import Timing, measure
from linsight.profiling.cores import available_cores
from linsight.profiling.growth import Growth, crossing, growth
from linsight.profiling.kept import kept_bytes, kept_per_token, on_paper
from linsight.profiling.kernels import Case, KernelRatio, kernel_ratios, measure_ratio, self_check
from linsight.profiling.memory import peak_bytes
from linsight.profiling.mixers import Costs, measure_costs
from linsight.profiling.pieces import PieceBytes, piece_bytes
from linsight.profiling.plan import (
    Job,
    Load,
    Network,
    crossover,
    ddp,
    devices_needed,
    fsdp,
    ring_attention,
    sequence,
)
from linsight.profiling.traffic import share

__all__ = [
    "Case",
    "Costs",
    "Growth",
    "Job",
    "KernelRatio",
    "Load",
    "Network",
    "PieceBytes",
    "Timing",
    "allocator",
    "available_cores",
    "crossing",
    "crossover",
    "ddp",
    "devices_needed",
    "fsdp",
    "growth",
    "keep_memory",
    "kept_bytes",
    "kept_per_token",
    "kernel_ratios",
    "measure",
    "measure_costs",
    "measure_ratio",
    "on_paper",
    "peak_bytes",
    "piece_bytes",
    "ring_attention",
    "self_check",
    "sequence",
    "share",
]
