"""mambapy: Mamba's selective scan, parallel and step by step."""
# pyright: reportMissingImports=false

from functools import partial

import torch
from mambapy.mamba import MambaBlock, MambaConfig

from linsight.conformance import Stepped, Subject

CAUSES = {}
UNPROMISED = {
    "no-rows": "its parallel scan fails at a batch of no rows, which it never promised to take",
    "gradcheck": "A_log and D are rounded to float32 in every call, more coarsely than a difference's step",
}


def parallel() -> Subject:
    """The block with its parallel scan, decoded by its step."""
    return Subject("mambapy, parallel scan", partial(_block, pscan=True))


def sequential() -> Subject:
    """The block with its sequential scan, decoded by its step."""
    return Subject("mambapy, sequential scan", partial(_block, pscan=False))


SUBJECTS = (parallel, sequential)


def _block(*, pscan: bool) -> Stepped:
    block = MambaBlock(MambaConfig(d_model=16, n_layers=1, d_state=8, pscan=pscan))
    return Stepped(
        block,
        16,
        step=MambaBlock.step,
        start=_start,
        dtypes=(torch.float64, torch.float32),
        unpromised=UNPROMISED,
    )


def _start(block: MambaBlock, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    config = block.config
    return (
        block.D.new_zeros(batch, config.d_inner, config.d_state),
        block.D.new_zeros(batch, config.d_inner, config.d_conv - 1),
    )
