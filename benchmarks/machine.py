"""What was measured on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from linsight.profiling import allocator

__all__ = ["Machine", "machine"]


@dataclass(frozen=True)
class Machine:
    """The machine and the settings that numbers depend on."""

    cpu: str
    isa: str
    torch: str
    threads: int
    allocator: str
    load: float

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.isa}, torch {self.torch}, threads {self.threads}, "
            f"allocator {self.allocator}, load average {self.load:.1f}"
        )

    @property
    def slug(self) -> str:
        """The hardware as a part of a file name."""
        words = f"{self.cpu} {self.isa}".lower().replace("(r)", "").replace("(tm)", "")
        return "-".join("".join(c if c.isalnum() else " " for c in words).split())


def machine() -> Machine:
    """This machine as it is now."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return Machine(
        cpu=_cpu(),
        isa=torch.backends.cpu.get_cpu_capability(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        allocator=allocator(),
        load=load,
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
