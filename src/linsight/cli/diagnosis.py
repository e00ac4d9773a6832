"""Looks at the machine: versions, accelerators, memory settings, engines of the ops, data files."""

import importlib.metadata
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import torch

from linsight import kernels, mixers
from linsight.data import embedded
from linsight.models.sequence import decode_error
from linsight.ops import linear_attention_plan
from linsight.profiling import CLOSE, available_cores, self_check
from linsight.reports.environment import environment

__all__ = ["diagnose"]

MALICIOUS = {"lightning": ("2.6.2", "2.6.3")}
"""Versions that were published with malicious code (GHSA-w37p-236h-pfx3)."""

ALLOCATOR = ("GLIBC_TUNABLES", "MALLOC_", "LD_PRELOAD", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
LENGTHS = (1, 64, 256, 1024, 4096)


def diagnose() -> dict[str, Any]:
    """Section by section, as plain data; `problems` are broken things, `warnings` things worth knowing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of kernels that do not run: here it is said in full
        return _diagnose()


def _diagnose() -> dict[str, Any]:
    data, problems = _data()
    checks, wrong = _self_checks()
    return {
        "environment": environment(),
        "accelerators": _accelerators(),
        "compiled kernels": _kernels(),
        "memory": _memory(),
        "ops": _ops(),
        "self-checks of compiled ops, float32 against float64": checks,
        "forms of linear_attention, 1 row of 8 heads of 64": _forms(),
        "mixers": list(mixers.kinds()),
        "data": data,
        "warnings": _warnings(),
        "problems": problems + wrong,
    }


def _accelerators() -> dict[str, str]:
    built = torch.version.cuda
    cuda = f"built for {built}" if built else "torch is built without it"
    if torch.cuda.is_available():
        cuda += f", {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    elif built:
        cuda += ", no device"
    triton = importlib.util.find_spec("triton")
    return {
        "CUDA": cuda,
        "Triton": importlib.metadata.version("triton") if triton else "not installed",
    }


def _kernels() -> dict[str, str]:
    cpu = kernels.cpu
    return {
        "library": cpu.why_not() or "loaded",
        "level of instructions": cpu.level() or "none",
        "levels here": ", ".join(cpu.levels()) or "none",
        "C++ compiler": cpu.compiler() or "none",
    }


def _memory() -> dict[str, str]:
    """What decides how much large fresh tensors cost: allocator settings and huge pages."""
    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith(ALLOCATOR)}
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if pages.exists():
        found["transparent huge pages"] = pages.read_text(encoding="ascii").strip()
    return found or {"allocator": "default"}


def _ops() -> list[dict[str, str]]:
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    rows = []
    for op in kernels.OPS:
        for device in devices:
            for dtype in DTYPES:
                choice = kernels.choose(op, device, dtype)
                why = "; ".join(f"{engine}: {reason}" for engine, reason in choice.passed_over.items())
                kind = str(dtype).removeprefix("torch.")
                rows.append({"op": op, "device": device, "dtype": kind, "engine": choice.engine, "not": why})
    return rows


def _self_checks() -> tuple[list[dict[str, str]], list[str]]:
    """Each compiled op on a small input, gradients included, and what is wrong."""
    rows, problems = [], []
    for op in kernels.OPS:
        if kernels.choose(op, "cpu", torch.float32).engine == "compiled":
            error = decode_error() if op == "decode" else self_check(op)
            right = error < CLOSE  # not NaN either
            rows.append(
                {"op": op, "relative error": f"{error:.1e}", "verdict": "right" if right else "wrong"}
            )
            if not right:
                problems.append(
                    f"the compiled {op} is wrong on this machine: relative error {error:.1e}; set "
                    "LINSIGHT_CPU=off, which computes without it, and report this"
                )
    return rows, problems


def _forms() -> list[dict[str, str]]:
    """The form that `form="auto"` takes, for one row of 8 heads of 64, by length."""
    rows = []
    for length in LENGTHS:
        row = {"tokens": f"{length:,}"}
        for dtype in DTYPES:
            q = torch.zeros(1, dtype=dtype).expand(1, length, 8, 64)  # a shape without its memory
            plan = linear_attention_plan(q, q, q)
            size = f" of {plan.chunk_size}" if plan.chunk_size else ""
            row[str(dtype).removeprefix("torch.")] = plan.form + size
        rows.append(row)
    return rows


def _data() -> tuple[list[dict[str, str]], list[str]]:
    rows, problems = [], []
    for name, file in embedded.FILES.items():
        try:
            embedded.read(name)
            state = "whole"
        except (FileNotFoundError, RuntimeError) as error:
            state = "missing" if isinstance(error, FileNotFoundError) else "damaged"
            problems.append(str(error))
        rows.append({"file": name, "state": state, "bytes": f"{file.size:,}", "licence": file.licence})
    return rows, problems


def _warnings() -> list[str]:
    found = [
        f"{name} {version} was published with malicious code: remove it, and renew this machine's secrets"
        for name, versions in MALICIOUS.items()
        if (version := importlib.metadata.version(name)) in versions
    ]
    cores = available_cores()
    if torch.get_num_threads() > cores:
        found.append(
            f"torch uses {torch.get_num_threads()} threads on {cores} cores: set OMP_NUM_THREADS={cores}"
        )
    if torch.version.cuda and not torch.cuda.is_available():
        found.append("torch is built for CUDA, but finds no device: everything runs on the CPU")
    return found
