"""The optimisers that a configuration can name, and what is said of a built one."""

import torch

from linsight.optim.adam import AdamConfig, AdamWConfig
from linsight.optim.finish import way
from linsight.optim.muon import Hybrid, MuonConfig
from linsight.optim.orthogonal import OrthogonalSteps
from linsight.optim.sgd import SGDConfig

__all__ = ["OptimizerConfig", "implementation"]

OptimizerConfig = AdamWConfig | AdamConfig | SGDConfig | MuonConfig
"""The configuration of one optimiser, told apart by `kind`; it has `build(model)`."""


def implementation(optimizer: torch.optim.Optimizer) -> str:
    """How a built optimiser computes its step, for the header of a run: `adamw: fused`, or why it is not.

    >>> from torch import nn
    >>> implementation(AdamWConfig(fused=False).build(nn.Linear(2, 2)))
    'adamw: loop (fused=False)'
    """
    if isinstance(optimizer, Hybrid):
        return "; ".join(implementation(half) for half in optimizer.halves)
    if isinstance(optimizer, OrthogonalSteps):
        dtype = str(optimizer.dtype).removeprefix("torch.")
        return f"muon: {optimizer.defaults['adjust_lr_fn']}, {dtype} iterations"
    return f"{type(optimizer).__name__.lower()}: {way(optimizer)}"
