"""What things cost: time, memory, and how both grow."""

from linsight.profiling.allocator import allocator, keep_memory
from linsight.profiling.clock import Timing, measure
from linsight.profiling.cores import available_cores
from linsight.profiling.growth import Growth, crossing, growth
from linsight.profiling.kept import kept_bytes, kept_per_token, on_paper
from linsight.profiling.kernels import check_kernel, kernel_cases, self_check
from linsight.profiling.memory import peak_bytes
from linsight.profiling.mixers import Costs, measure_costs
from linsight.profiling.peaks import PRODUCT, Peak, peaks
from linsight.profiling.peers import imported
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
from linsight.profiling.ratios import (
    CLOSE,
    Calls,
    Case,
    Speedup,
    Unmeasured,
    largest_error,
    measure_ratio,
    measure_ratios,
)
from linsight.profiling.traffic import share
from linsight.profiling.training import training_cases

__all__ = [
    "CLOSE",
    "PRODUCT",
    "Calls",
    "Case",
    "Costs",
    "Growth",
    "Job",
    "Load",
    "Network",
    "Peak",
    "PieceBytes",
    "Speedup",
    "Timing",
    "Unmeasured",
    "allocator",
    "available_cores",
    "check_kernel",
    "crossing",
    "crossover",
    "ddp",
    "devices_needed",
    "fsdp",
    "growth",
    "imported",
    "keep_memory",
    "kept_bytes",
    "kept_per_token",
    "kernel_cases",
    "largest_error",
    "measure",
    "measure_costs",
    "measure_ratio",
    "measure_ratios",
    "on_paper",
    "peak_bytes",
    "peaks",
    "piece_bytes",
    "ring_attention",
    "self_check",
    "sequence",
    "share",
    "training_cases",
]
