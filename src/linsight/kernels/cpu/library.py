"""Finds the compiled library, chooses the level of instructions, and runs ranges of work over threads."""

import ctypes
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, cast

import torch

from linsight.kernels.cpu.compiling import LIBRARY, digest
from linsight.kernels.cpu.openmp import runtime

__all__ = ["at_level", "level", "levels", "run", "why_not"]

VARIABLE = "LINSIGHT_CPU"
"""The environment's word: a level, the highest that may be used, or `off`."""
OFF = "off"
ENOUGH = 500_000
"""Elementary operations below which a second thread costs more than it saves."""

_FORCED: ContextVar[str | None] = ContextVar("level", default=None)


class _Unusable(Exception):
    """Why there is no library."""


def why_not() -> str | None:
    """Why no compiled kernel runs, in a few words; None where they run."""
    if level() is not None:
        return None
    if _wanted() == OFF:
        return f"{VARIABLE}={OFF}" if _FORCED.get() is None else "turned off"
    return _open()[1]


# Tracing cannot follow what asks the machine. This is all that torch.compiler.assume_constant_result does
# after importing torch's compiler, which takes as long as importing torch.
why_not._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def level() -> str | None:
    """The level of instructions that runs now: "avx512", "avx2" or "portable"; None: no compiled kernel."""
    wanted = _wanted()
    if wanted == OFF:
        return None
    found = levels()
    return wanted if wanted in found else next(iter(found), None)


@cache
def levels() -> tuple[str, ...]:
    """The levels that this processor and this library have, best first; none where there is no library."""
    library, _ = _open()
    return () if library is None else tuple(library.linsight_levels().decode().split())


@contextmanager
def at_level(wanted: str) -> Iterator[None]:
    """Inside, kernels run at this level, or not at all with "off".

    Raises:
        ValueError: A level that this machine or this library has not.
    """
    if wanted not in (*levels(), OFF):
        raise ValueError(f"level: expected one of {', '.join((*levels(), OFF))}, got {wanted!r}")
    token = _FORCED.set(wanted)
    try:
        yield
    finally:
        _FORCED.reset(token)


def run(name: str, arguments: ctypes.Structure, *, units: int, scratch: int, operations: int) -> None:
    """Call a kernel on `units` of work, in as many threads as torch has, each with memory of its own.

    What a unit computes does not depend on the thread, so results do not depend on their number. ctypes
    releases Python's lock during a call. The threads are torch's own where its runtime has them for us, and
    else made for the call.

    Args:
        name: Of the kernel, without level.
        arguments: Passed by reference.
        units: How many units there are.
        scratch: Floats that a thread needs.
        operations: Of all units together, roughly.
    """
    function = _function(name, level())
    threads = max(1, min(torch.get_num_threads(), units, operations // ENOUGH))
    memory = torch.empty(threads, -(-scratch // 16) * 16, dtype=torch.float32)
    start, stride = memory.data_ptr(), memory.stride(0) * memory.itemsize
    if threads > 1 and (openmp := runtime()) is not None:
        shared = _Shared(
            ctypes.cast(cast(Any, function), ctypes.c_void_p),
            ctypes.addressof(arguments),
            *(units, threads, start, stride),
            *(openmp.number, openmp.threads),
        )
        _share()(ctypes.byref(shared), openmp.parallel)
        return

    def work(part: int) -> None:
        begin, end = units * part // threads, units * (part + 1) // threads
        function(ctypes.byref(arguments), begin, end, start + part * stride)

    others = [threading.Thread(target=work, args=(part,)) for part in range(1, threads)]
    for other in others:
        other.start()
    work(0)
    for other in others:
        other.join()


class _Shared(ctypes.Structure):
    """`Shared` of library.cpp, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("kernel", "arguments")),
        *((name, ctypes.c_int64) for name in ("units", "threads")),
        ("memory", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("number", "count")),
    ]


@cache
def _share() -> Callable[..., None]:
    library, _ = _open()
    share = cast(ctypes.CDLL, library).linsight_share
    share.argtypes, share.restype = (ctypes.c_void_p, ctypes.c_void_p), None
    return share


@cache
def _function(name: str, at: str | None) -> Callable[..., None]:
    library, why = _open()
    if library is None:
        raise RuntimeError(f"compiled kernels do not run here: {why}")
    function = getattr(library, f"linsight_{name}_{at}")
    function.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    function.restype = None
    return function


def _wanted() -> str | None:
    return _FORCED.get() or os.environ.get(VARIABLE) or None


@cache
def _open() -> tuple[ctypes.CDLL | None, str]:
    """The library, or None and why, which is said once in a process."""
    try:
        return _load(), ""
    except _Unusable as error:
        instead = f"PyTorch's own operations run in their place; {VARIABLE}={OFF} asks for that"
        warnings.warn(f"compiled kernels do not run: {error}; {instead}", RuntimeWarning, stacklevel=2)
        return None, str(error)


def _load() -> ctypes.CDLL:
    if not LIBRARY.exists():
        raise _Unusable("not built: `linsight doctor --build` builds it where there is a C++ compiler")
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise _Unusable(f"the library does not load: {error}") from None
    library.linsight_sources.restype = ctypes.c_char_p
    library.linsight_levels.restype = ctypes.c_char_p
    if library.linsight_sources().decode() != digest():
        raise _Unusable("built from other sources: `linsight doctor --build` builds it again")
    return library
