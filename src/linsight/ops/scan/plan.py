"""Which form of the selective scan runs, and in blocks of how many tokens."""

import torch
from torch import Tensor

from linsight.ops.forms import Plan, form_of_auto

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
    if form == "auto":
        form = form_of_auto("selective_scan", u.shape[1], chunk_size, u.device, dtype or u.dtype)
    return Plan(form, chunk_size or CHUNK) if form == "chunk" else Plan(form)
