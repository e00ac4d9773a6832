"""How an op in several forms says which one runs, and refuses one that it has not."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from linsight import kernels

__all__ = ["Plan", "check_form", "form_of_auto"]


class Plan(NamedTuple):
    """A form, and of `chunk` how many tokens a block has."""

    form: str
    chunk_size: int | None = None


def check_form(forms: Sequence[str], form: str, chunk_size: int | None) -> None:
    """Refuse a form that is not there, and blocks of no tokens or of a form without blocks."""
    if form not in ("auto", *forms):
        raise ValueError(f"form: expected one of auto, {', '.join(forms)}, got {form!r}")
    if chunk_size is None:
        return
    if form not in ("auto", "chunk"):
        raise ValueError(f"chunk_size: only forms 'chunk' and 'auto' have chunks, got it with form {form!r}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size: expected at least 1, got {chunk_size}")


def form_of_auto(
    op: str, length: int, chunk_size: int | None, device: torch.device, dtype: torch.dtype
) -> str:
    """What `auto` is of an op whose step is cheap, whose kernel has no blocks, and that is else in blocks.

    One token is a `recurrent` step, whose few operations cost less than the call of a kernel; more are
    `compiled` where `linsight.kernels` has the op for this device and dtype and the caller does not ask for
    blocks of a size, and `chunk` elsewhere.
    """
    if length <= 1:
        return "recurrent"
    compiled = chunk_size is None and kernels.choose(op, device, dtype).engine == "compiled"
    return "compiled" if compiled else "chunk"
