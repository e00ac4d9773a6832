"""Which form of the selective scan runs, and in blocks of how many tokens."""

import torch
from torch import Tensor

from linsight import kernels
from linsight.ops.forms import Plan

__all__ = ["selective_scan_plan"]

CHUNK = 32
"""Tokens of a block."""


def selective_scan_plan(
    u: Tensor, *, form: str = "auto", chunk_size: int | None = None, dtype: torch.dtype | None = None
) -> Plan:
    """What `selective_scan` does with these arguments.

    `auto`: one token is a `recurrent` step, whose few operations cost less than the call of a kernel; more
    are `compiled` where `linsight.kernels` has it for this device and dtype, `chunk` elsewhere, and where the
    caller asks for blocks of a size. Looks at u's shape, device and dtype alone; `dtype` is that of the
    states, None for u's.
    """
    if form == "auto" and u.shape[1] <= 1:
        form = "recurrent"
    elif form == "auto":
        compiled = chunk_size is None and _compiled(u.device, dtype or u.dtype)
        form = "compiled" if compiled else "chunk"
    return Plan(form, chunk_size or CHUNK) if form == "chunk" else Plan(form)


def _compiled(device: torch.device, dtype: torch.dtype) -> bool:
    return kernels.choose("selective_scan", device, dtype).engine == "compiled"
