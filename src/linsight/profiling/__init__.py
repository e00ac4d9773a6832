"""What things cost: time, memory, and how both grow."""

from linsight.profiling.allocator import allocator
from linsight.profiling.clock import Timing, measure
from linsight.profiling.cores import available_cores
from linsight.profiling.growth import Growth, crossing, growth
from linsight.profiling.memory import peak_bytes
from linsight.profiling.mixers import Costs, measure_costs

__all__ = [
    "Costs",
    "Growth",
    "Timing",
    "allocator",
    "available_cores",
    "crossing",
    "growth",
    "measure",
    "measure_costs",
    "peak_bytes",
]
