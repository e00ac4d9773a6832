"""How memory is allocated, which decides what large fresh tensors cost."""

import ctypes
import os

__all__ = ["allocator", "keep_memory"]

_KEPT = "glibc keeps what is freed (mallopt)"
_GROWN_BY = 64 << 20
_state = {"kept": False}


def allocator() -> str:
    """What was asked of glibc's allocator by the environment or by `keep_memory`; else `default`."""
    return os.environ.get("GLIBC_TUNABLES") or (_KEPT if _state["kept"] else "default")


def keep_memory() -> bool:
    """Have glibc keep what this process frees; returns whether it does, and `allocator` says so then.

    A large tensor is otherwise given back to the system when it is freed, and every page of the next one
    is fetched anew, which costs more than to fill it. From now on nothing is mapped by itself (M_MMAP_MAX 0)
    or given back (M_TRIM_THRESHOLD), so the process holds the most that it ever needed until it ends.

    Nothing is changed where the environment has settings of its own (`GLIBC_TUNABLES`, `MALLOC_ARENA_MAX` and
    such), another allocator is preloaded (`LD_PRELOAD`), or the C library is not glibc.
    """
    own = [name for name in os.environ if name in ("GLIBC_TUNABLES", "LD_PRELOAD") or name[:7] == "MALLOC_"]
    library = None if own else _glibc()
    if library is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # of malloc.h
        asked = ((trim_threshold, 2**31 - 1), (top_pad, _GROWN_BY), (mmap_max, 0))
        _state["kept"] = all([library.mallopt(*one) == 1 for one in asked])
    return _state["kept"]


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library of this name
        return None
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
