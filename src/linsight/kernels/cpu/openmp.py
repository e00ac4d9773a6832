"""The threads of torch's own OpenMP runtime, on which kernels run too."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

__all__ = ["Runtime", "runtime"]


class Runtime(NamedTuple):
    """Functions of the GNU OpenMP runtime, as addresses."""

    parallel: int
    """void GOMP_parallel(void (*)(void *), void *, unsigned threads, unsigned flags)"""
    number: int
    """int omp_get_thread_num(void)"""
    threads: int
    """int omp_get_num_threads(void)"""


def runtime() -> Runtime | None:
    """The runtime that torch brings and has loaded; None where it has another, or in a forked process.

    Its threads wait for the next operation in a loop, some milliseconds long, so threads of our own would
    have to share their processors with them: on two cores a training step was slower with compiled kernels
    than without. In a process that was forked the runtime knows of threads that are not there.
    """
    return None if _state["forked"] else _loaded()


@cache
def _loaded() -> Runtime | None:
    for path in (Path(torch.__file__).parent / "lib").glob("libgomp*.so*"):
        library = ctypes.CDLL(str(path))
        names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
        if all(hasattr(library, name) for name in names):
            addresses = (ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in names)
            return Runtime(*(address or 0 for address in addresses))
    return None


_state = {"forked": False}


def _forked() -> None:
    _state["forked"] = True


os.register_at_fork(after_in_child=_forked)
