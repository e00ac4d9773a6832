"""Linear attention against torch's causal softmax attention (SDPA)."""

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.case import Table
from benchmarks.cases.attention import candidate, softmax, softmax_definition
from linsight import kernels, ops

__all__ = ["lengths", "training"]

BARS = {256: 1.1, 1024: 2.5, 4096: 8.0}
COMPILED = {256: (1.8, 1.3), 1024: (4.0, 3.5), 4096: (12.0, 11.0)}
"""Of the kernel's forward, and with the backward."""


def lengths() -> Iterator[Table]:
    """Forward, and forward with backward, at growing lengths; eager forms have a bar forward alone."""
    for length, bar in BARS.items():
        forward, both = ({"compiled": least} if _compiled() else {} for least in COMPILED[length])
        yield table((1, length, 8, 64), torch.float32, backward=False, bars={"chunk": bar} | forward)
        yield table((1, length, 8, 64), torch.float32, backward=True, bars=both)


def training() -> Iterator[Table]:
    """The normalised call of a mixer at 98 patches a picture, batch 64, and at 784 pixels."""
    for shape in ((64, 98, 4, 32), (4, 784, 4, 32)):
        for dtype in (torch.float32, torch.bfloat16):
            for backward in (False, True):
                yield table(shape, dtype, backward=backward, normalise=True)


def table(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    *,
    backward: bool,
    normalise: bool = False,
    bars: Mapping[str, float] | None = None,
) -> Table:
    """Softmax and the forms of linear attention on the same random q, k, v of `shape` (B, T, H, K)."""
    batch, length, heads, width = shape
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(shape, generator=generator).to(dtype) for _ in range(4)]
    direction = "forward + backward" if backward else "forward"
    title = f"{direction}, B={batch} T={length} H={heads} K=V={width}, {str(dtype).removeprefix('torch.')}"
    # Two products over the pairs j <= i, and in the backward five.
    flops = 2 * batch * heads * length**2 * width * (3.5 if backward else 1)
    candidates = {"softmax": candidate(softmax, softmax_definition, inputs, flops, backward=backward)}
    last = "compiled" if dtype is not torch.float64 and _compiled() else "auto"
    for form in ("chunk", "parallel", last):
        if form == "parallel" and length > 1024:
            continue
        attention = partial(_linear, form=form, normalise=normalise)
        definition = partial(_linear_definition, normalise=normalise)
        block = ops.linear_attention_plan(*inputs[:3], form=form).chunk_size or length
        token = 4 * block * width + (4 if block < length else 2) * width**2
        flops = batch * heads * length * token * (3 if backward else 1)
        if form == "compiled":  # the recurrence: two products an element and token, and six backward
            flops = batch * heads * length * width**2 * (16 if backward else 4)
        candidates[form] = candidate(attention, definition, inputs, flops, backward=backward)
    return Table(title, "softmax", candidates, bars or {})


def _compiled() -> bool:
    return kernels.choose("linear_attention", "cpu", torch.float32).engine == "compiled"


def _linear(q: Tensor, k: Tensor, v: Tensor, *, form: str, normalise: bool) -> Tensor:
    return ops.linear_attention(q, k, v, form=form, normalise=normalise)[0]


def _linear_definition(q: Tensor, k: Tensor, v: Tensor, *, normalise: bool) -> Tensor:
    # In pieces that the backward computes again: the token loop would keep every state, 3 GB at T = 4096.
    outputs, state = [], None
    naive = partial(ops.linear_attention, normalise=normalise, form="naive")
    for qc, kc, vc in zip(*(x.split(128, dim=1) for x in (q, k, v)), strict=True):
        piece = partial(naive, qc, kc, vc)
        o, state = checkpoint(lambda s, piece=piece: piece(initial_state=s), state, use_reentrant=False)
        outputs.append(o)
    return torch.cat(outputs, dim=1)
