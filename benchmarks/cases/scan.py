"""The selective scan against its definition token by token, and against mambapy's log-depth scan."""

from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor

from benchmarks.case import Table
from benchmarks.cases.attention import Attention, candidate
from linsight import kernels, ops
from linsight.profiling.peers import peer

__all__ = ["lengths", "table"]

PEER = "mambapy"


def lengths() -> Iterator[Table]:
    """Mamba's sizes at width 512: the forward at 1024 tokens, and with the backward at 512."""
    yield from table((1, 1024, 1024, 16), backward=False, bars={"naive": 1.2, PEER: 4.0})
    yield from table((1, 512, 1024, 16), backward=True, bars={"naive": 3.0, PEER: 3.0})


def table(shape: tuple[int, int, int, int], *, backward: bool, bars: dict[str, float]) -> Iterator[Table]:
    """Blocks against tokens, and against the peer where it is installed; `shape` (B, T, D, N)."""
    batch, length, channels, states = shape
    generator = torch.Generator().manual_seed(0)
    u, dy = torch.randn(2, batch, length, channels, generator=generator).unbind(0)
    delta = 0.1 * torch.rand(batch, length, channels, generator=generator)
    A = -torch.arange(1.0, states + 1).repeat(channels, 1)
    B, C = torch.randn(2, batch, length, states, generator=generator).unbind(0)
    inputs = (u, delta, A, B, C, dy)
    # What is executed in products: the reads, and in the backward four more of the same size.
    flops = 2 * batch * length * channels * states * (5 if backward else 1)
    make = partial(candidate, inputs=inputs, flops=flops, backward=backward)
    chunk, naive, compiled = (partial(_scan, form=form) for form in ("chunk", "naive", "compiled"))
    ours = {"chunk": make(chunk, naive)}
    if kernels.choose("selective_scan", "cpu", u.dtype).engine == "compiled":
        ours["compiled"] = make(compiled, naive)
    direction = "forward + backward" if backward else "forward"
    title = f"{direction}, B={batch} T={length} D={channels} N={states}, float32"
    theirs = _peer()
    missing = "" if theirs else f" ({PEER} is not installed and not measured)"
    yield Table(title + missing, "naive", {"naive": make(naive, naive), **ours}, {"chunk": bars["naive"]})
    if theirs:
        candidates = {PEER: make(theirs, naive), **ours}
        yield Table(title, PEER, candidates, {"chunk": bars[PEER]})


def _scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *, form: str) -> Tensor:
    return ops.selective_scan(u, delta, A, B, C, form=form)[0]


def _peer() -> Attention | None:
    """The package's scan, with a D of 0; None where it is not installed."""
    try:
        layer = peer(PEER, 64, causal=True)
    except ImportError:
        return None
    scan = cast(Attention, layer.selective_scan)
    return lambda u, delta, A, B, C: scan(u, delta, A, B, C, u.new_zeros(()))
