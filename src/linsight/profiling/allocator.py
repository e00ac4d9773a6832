"""How memory is allocated, which decides what large fresh tensors cost."""

import os

__all__ = ["allocator"]


def allocator() -> str:
    """The settings of glibc's allocator, or `default`."""
    return os.environ.get("GLIBC_TUNABLES", "default")
