"""What was measured on, and what it can do at best."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from linsight.profiling import allocator, measure

__all__ = ["Machine", "machine", "peaks"]


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


def peaks(seconds: float = 2.0) -> dict[str, float]:
    """The best of this core: GFLOP/s of products, GB/s of a copy (read and written)."""
    a = torch.randn(1024, 1024)
    half = a.bfloat16()
    small = torch.randn(128, 64, 64)
    source, target = torch.randn(2, 2**24).unbind(0)
    calls = {
        "float32 product 1024^3": (lambda: a @ a, 2 * 1024**3),
        "bfloat16 product 1024^3": (lambda: half @ half, 2 * 1024**3),
        "float32 products 128 x 64^3": (lambda: small @ small, 2 * 128 * 64**3),
        "copy of 64 MiB": (lambda: target.copy_(source), 2 * source.nbytes),
    }
    timings = measure({name: call for name, (call, _) in calls.items()}, seconds=seconds)
    return {name: work / timings[name].minimum / 1e6 for name, (_, work) in calls.items()}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
