"""Where and in which precision a model is trained, and why, in words for the header of a run."""

import os
import shutil
from contextlib import AbstractContextManager

import torch

from linsight.training.config import Precision

__all__ = [
    "best_precision",
    "computing",
    "describe_device",
    "describe_precision",
    "has_compiler",
    "pick_device",
]


def pick_device(local: int = 0) -> torch.device:
    """The CUDA device of a process by its number on this machine, or the CPU where there is no CUDA.

    Raises:
        ValueError: There are fewer CUDA devices than that.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local >= torch.cuda.device_count():
        raise ValueError(f"devices: process {local + 1} has none of {torch.cuda.device_count()} CUDA devices")
    return torch.device("cuda", local)


def best_precision(device: torch.device | None = None) -> Precision:
    """`bfloat16` where the device has instructions for it, else `float32`."""
    return "bfloat16" if _bfloat16_unit(device or pick_device()) else "float32"


def computing(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Where models compute in this precision; for forward calls alone.

    Backward calls remember it, and what an optimiser multiplies must not be rounded to eight bits.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def describe_precision(precision: Precision, device: torch.device) -> str:
    """The precision and the reason for it, or what speaks against it on this device."""
    unit = _bfloat16_unit(device)
    if precision == "bfloat16":
        reason = f"{unit} is there" if unit else "no instructions for it here: float32 would be faster"
        return f"bfloat16 by autocast, weights in float32 ({reason})"
    return f"float32 ({unit} is there: bfloat16 would be faster)" if unit else "float32"


def describe_device(device: torch.device) -> str:
    """The device, its threads, and torch's version: what the last digits of a result depend on."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"cpu, {torch.get_num_threads()} threads, torch {torch.__version__}"


def has_compiler(device: torch.device) -> bool:
    """Whether torch finds what it compiles with for the device: on a processor, a C++ compiler."""
    return device.type == "cuda" or shutil.which(os.environ.get("CXX", "g++")) is not None


def _bfloat16_unit(device: torch.device) -> str | None:
    if device.type == "cuda":
        return "CUDA with bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return "AVX512-BF16" if torch.cpu._is_avx512_bf16_supported() else None
