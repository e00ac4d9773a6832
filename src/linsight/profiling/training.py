"""How much faster a layer trains and an optimiser steps than where others do."""

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from linsight import mixers
from linsight.optim import AdamWConfig
from linsight.profiling.kernels import check_kernel
from linsight.profiling.peers import peer
from linsight.profiling.ratios import Calls, Case, Speedup

__all__ = ["training_cases"]


def training_cases() -> Iterator[Case]:
    """A Mamba block with its backward, and AdamW's step."""
    line = Speedup("mamba", "forward + backward, B=2, T=784, width 256", "mambapy", 6.0, 3.5)
    yield Case(line, partial(_mamba, 2, 784, 256))
    line = Speedup("adamw", "200 matrices, 10 M weights", "torch's own loop", 3.0, 2.0)
    yield Case(line, partial(_adamw, 200, 200, 250))


def _mamba(batch: int, length: int, dim: int) -> Calls:
    """The gradients of x and of all weights, which are the same ones."""
    theirs = peer("mambapy", dim, causal=True)
    check_kernel("selective_scan")
    ours = mixers.build("mamba", dim=dim)
    ours.load_state_dict(theirs.state_dict())
    exact = copy.deepcopy(ours).double()
    x, dy = torch.randn(2, batch, length, dim, generator=torch.Generator().manual_seed(0)).unbind(0)
    return Calls(
        partial(_block_gradients, ours, x, dy),
        partial(_block_gradients, theirs, x, dy),
        partial(_block_gradients, exact, x.double(), dy.double()),
    )


def _block_gradients(block: nn.Module, x: Tensor, dy: Tensor) -> tuple[Tensor, ...]:
    leaf = x.detach().requires_grad_()
    y = block(leaf)
    y = y[0] if isinstance(y, tuple) else y
    return torch.autograd.grad(y, (leaf, *block.parameters()), dy)


def _adamw(tensors: int, rows: int, columns: int) -> Calls:
    """Weights of the size of a step, so that an error in the step shows in them."""
    generator = torch.Generator().manual_seed(0)
    weights, slopes = 1e-3 * torch.randn(2, tensors, rows, columns, generator=generator)

    def parameters(dtype: torch.dtype) -> nn.ParameterList:
        made = nn.ParameterList(weight.to(dtype, copy=True) for weight in weights)
        for parameter, slope in zip(made, slopes, strict=True):
            parameter.grad = slope.to(dtype)
        return made

    ours, other, exact = (parameters(dtype) for dtype in (torch.float32, torch.float32, torch.float64))
    return Calls(
        partial(_stepped, AdamWConfig().build(ours)),
        partial(_stepped, torch.optim.AdamW(other)),
        partial(_stepped, torch.optim.AdamW(exact, foreach=False)),
    )


def _stepped(optimizer: torch.optim.Optimizer) -> tuple[Tensor, ...]:
    optimizer.step()
    return tuple(weight.detach() for group in optimizer.param_groups for weight in group["params"])
