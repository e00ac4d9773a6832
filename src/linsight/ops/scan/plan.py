"""Which form of the selective scan runs, and in blocks of how many tokens."""

from torch import Tensor

from linsight.ops.forms import Plan

__all__ = ["selective_scan_plan"]

CHUNK = 32
"""Tokens of a block."""


def selective_scan_plan(u: Tensor, *, form: str = "auto", chunk_size: int | None = None) -> Plan:
    """What `selective_scan` does with these arguments: one token is a `recurrent` step, more are `chunk`.

    Reads u's shape alone.
    """
    if form == "auto":
        form = "recurrent" if u.shape[1] <= 1 else "chunk"
    return Plan(form, chunk_size or CHUNK) if form == "chunk" else Plan(form)
