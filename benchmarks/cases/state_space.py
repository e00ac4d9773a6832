"""The kernel of a diagonal state space against complex powers, and its forms against each other."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.case import Candidate, Table
from linsight import kernels, ops

__all__ = ["forms", "kernel"]

CHANNELS, PAIRS, LENGTH = 256, 32, 768


def kernel() -> Iterator[Table]:
    """The kernel alone, at the width of the published layers; the bar is what complex powers take."""
    log_decay, read = _system(CHANNELS)
    exact = _powers(log_decay, read)
    ours = partial(ops.diagonal_kernel, log_decay, read, LENGTH, dtype=torch.float32)
    theirs = partial(_powers, log_decay.to(torch.complex64), read.to(torch.complex64))
    products = 2 * CHANNELS * LENGTH * 2 * PAIRS
    candidates = {
        "complex pow": Candidate(theirs, lambda: _error(theirs(), exact), 8 * CHANNELS * LENGTH * PAIRS),
        "two levels": Candidate(ours, lambda: _error(ours(), exact), products),
    }
    title = f"kernel, D={CHANNELS} N={2 * PAIRS} L={LENGTH}, float32"
    yield Table(title, "complex pow", candidates, {"two levels": 20.0})


def forms() -> Iterator[Table]:
    """Forward, and forward with backward, of a training batch and of one long and one wide row."""
    for batch, length, channels in ((32, 784, 48), (1, 4096, 64), (1, 784, 256)):
        log_decay, read = _system(channels)
        x = torch.randn(batch, length, channels, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            exact = ops.diagonal_space(x.double(), log_decay, read, form="parallel")[0]
        for backward in (False, True):
            candidates = {}
            for form in ("parallel", "chunk", *_compiled()):
                # The state in and out, 2 N real products each way a token; in blocks their triangle too.
                size = ops.diagonal_space_plan(x, form=form).chunk_size
                token = 4 * PAIRS if size is None else 8 * PAIRS + 2 * size
                flops = x.numel() * token * (3 if backward else 1)
                call = partial(_run, x, log_decay, read, form, backward=backward)
                error = partial(_call_error, partial(_run, x, log_decay, read, form, backward=False), exact)
                candidates[form] = Candidate(call, error, flops)
            direction = "forward + backward" if backward else "forward"
            title = f"{direction}, B={batch} T={length} D={channels} N={2 * PAIRS}, float32"
            yield Table(title, "parallel", candidates)


def _compiled() -> tuple[str, ...]:
    here = kernels.choose("diagonal_space", "cpu", torch.float32).engine == "compiled"
    return ("compiled",) if here else ()


def _system(channels: int) -> tuple[Tensor, Tensor]:
    """S4D-Lin at steps from 0.001 to 0.1, in complex128."""
    generator = torch.Generator().manual_seed(0)
    A = torch.complex(torch.full((PAIRS,), -0.5), torch.pi * torch.arange(PAIRS)).expand(channels, -1)
    log_decay, factor = ops.discretise_diagonal(A, torch.logspace(-3, -1, channels))
    weights = torch.randn(2, channels, PAIRS, generator=generator, dtype=torch.float64)
    return log_decay, 2 * factor * torch.complex(*weights)


def _powers(log_decay: Tensor, read: Tensor) -> Tensor:
    """Re sum_n read_n lambda_n^l by complex `pow`."""
    return (log_decay.exp()[..., None] ** torch.arange(LENGTH) * read[..., None]).sum(-2).real


def _run(x: Tensor, log_decay: Tensor, read: Tensor, form: str, *, backward: bool) -> Tensor:
    if not backward:
        with torch.no_grad():
            return ops.diagonal_space(x, log_decay, read, form=form)[0]
    leaves = [tensor.detach().requires_grad_() for tensor in (x, log_decay, read)]
    y = ops.diagonal_space(*leaves, form=form)[0]
    torch.autograd.grad(y.sum(), leaves)
    return y


def _call_error(call: Callable[[], Tensor], exact: Tensor) -> float:
    return _error(call(), exact)


def _error(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm()).item()
