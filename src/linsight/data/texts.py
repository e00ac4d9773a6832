"""Texts as bytes, split by whole works."""

import os

from linsight.data import embedded
from linsight.data.splits import check_split

__all__ = ["shakespeare", "shakespeare_works"]

_VALID = ("henry_v", "measure_for_measure")
_TEST = ("macbeth", "winters_tale")


def shakespeare(split: str, *, folder: str | os.PathLike[str] | None = None) -> bytes:
    """The works of Shakespeare of one split: ASCII bytes, works in the order of their names, joined by a LF.

    "valid" is Henry V and Measure for Measure (278,864 bytes), "test" Macbeth and The Winter's Tale
    (256,216), "train" the other 38 works (4,522,157); no work is in two splits. The source has two gaps:
    its Cymbeline (in train) lacks acts III and IV, and Venus and Adonis and The Two Noble Kinsmen are absent.

    Args:
        split: "train", "valid" or "test".
        folder: read `shakespeare.xz` from this folder in place of the package.

    Raises ValueError for another split, FileNotFoundError without the file, RuntimeError if it is damaged.

    Example:
        >>> shakespeare("test")[:30]
        b'MACBETH\\n\\nby William Shakespear'
    """
    check_split(split)
    works = shakespeare_works(folder=folder)
    held_out = {"valid": _VALID, "test": _TEST}
    names = held_out.get(split) or [name for name in works if name not in _VALID + _TEST]
    return b"\n".join(works[name] for name in names)


def shakespeare_works(*, folder: str | os.PathLike[str] | None = None) -> dict[str, bytes]:
    """The 42 works by name (`hamlet`, `sonnets`, ...), in sorted order."""
    # The file is: name NUL text NUL, for each work.
    fields = embedded.read("shakespeare.xz", folder).split(b"\0")
    return {name.decode("ascii"): text for name, text in zip(fields[:-1:2], fields[1::2], strict=True)}
