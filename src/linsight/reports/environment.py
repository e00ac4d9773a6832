"""What a number depends on besides the configuration: versions, processor, threads, commit."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import torch

import linsight
from linsight.profiling import available_cores
from linsight.training.hardware import best_precision

__all__ = ["commit", "cpu_model", "environment"]

PACKAGES = ("torch", "numpy", "lightning", "torchmetrics", "pydantic", "safetensors", "matplotlib")


def environment() -> dict[str, str]:
    """Name and value of everything here that a measured number may depend on, for people to read."""
    found = {"linsight": linsight.__version__}
    if (id_ := commit()) is not None:
        found["commit"] = id_
    found["Python"] = platform.python_version()
    found |= {name: importlib.metadata.version(name) for name in PACKAGES}
    found["system"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    found["processor"] = cpu_model()
    found["instruction set"] = torch.backends.cpu.get_cpu_capability()
    found["best precision"] = best_precision()
    found["cores"] = str(available_cores())
    found["threads"] = str(torch.get_num_threads())
    found["CUDA"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return found


def cpu_model() -> str:
    """The processor's name as its maker writes it, or the architecture where the system does not say."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the checkout that holds linsight's source, `+` when it is edited; None outside of one."""
    source = Path(linsight.__file__).parent
    # A package installed into an environment inside somebody else's checkout is not part of that checkout.
    if not _git(source, "ls-files", "__init__.py"):
        return None
    if (head := _git(source, "rev-parse", "--short=12", "HEAD")) is None:
        return None
    return head + ("+" if _git(source, "status", "--porcelain", "--untracked-files=no", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
