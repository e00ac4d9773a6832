"""Linear attention against torch's causal softmax attention (SDPA)."""

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.case import Table
from benchmarks.cases.attention import Attention, candidate, softmax, softmax_definition
from linsight import kernels, ops

__all__ = ["choices", "lengths", "training"]

BARS = {256: 1.1, 1024: 2.5, 4096: 8.0}
COMPILED = {256: (1.8, 1.3), 1024: (4.0, 3.5), 4096: (12.0, 11.0)}
"""Of the kernel's forward, and with the backward."""


def lengths() -> Iterator[Table]:
    """Forward, and forward with backward, at growing lengths; eager forms have a bar forward alone."""
    for length, bar in BARS.items():
        forward, both = ({"compiled": least} if _compiled() else {} for least in COMPILED[length])
        yield table((1, length, 8, 64), torch.float32, backward=False, bars={"chunk": bar} | forward)
        yield table((1, length, 8, 64), torch.float32, backward=True, bars=both)


def choices() -> Iterator[Table]:
    """What `auto` takes, of one row and of sixteen, beside the forms that it might take."""
    levels = dict.fromkeys((kernels.cpu.level() or "off", "off"))
    for level in levels:
        for batch, heads, width in ((1, 8, 64), (16, 4, 32)):
            for length in (1, 4, 16, 64, 128, 256, 1024):
                yield _choice((batch, length, heads, width), level)


def _choice(shape: tuple[int, int, int, int], level: str) -> Table:
    inputs = _inputs(shape, torch.float32)
    definition = partial(_linear_definition, normalise=True)
    candidates = {}
    for form, longest in {"auto": shape[1], "recurrent": 64, "parallel": 512, "chunk": shape[1]}.items():
        if shape[1] <= longest:
            attention = partial(_at_level, level, partial(_linear, form=form, normalise=True))
            with kernels.cpu.at_level(level):
                flops = _flops(inputs, form)
            candidates[form] = candidate(attention, definition, inputs, flops)
    batch, length, heads, width = shape
    title = f"forward, B={batch} T={length} H={heads} K=V={width}, float32, kernels: {level}"
    return Table(title, "auto", candidates)


def _at_level(level: str, attention: Attention, *inputs: Tensor) -> Tensor:
    with kernels.cpu.at_level(level):
        return attention(*inputs)


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
    inputs = _inputs(shape, dtype)
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
        flops = _flops(inputs, form) * ((4 if form == "compiled" else 3) if backward else 1)
        candidates[form] = candidate(attention, definition, inputs, flops, backward=backward)
    return Table(title, "softmax", candidates, bars or {})


def _inputs(shape: tuple[int, int, int, int], dtype: torch.dtype) -> list[Tensor]:
    """Positive queries, keys and values, and a gradient."""
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=generator).to(dtype) for _ in range(4)]


def _flops(inputs: list[Tensor], form: str) -> float:
    """Of products, forward: of similarities in blocks, or of a recurrence."""
    batch, length, heads, width = inputs[0].shape
    plan = ops.linear_attention_plan(*inputs[:3], form=form)
    token = 4 * width**2
    if plan.form in ("chunk", "parallel"):
        block = plan.chunk_size or length
        token = 4 * block * width + (4 if block < length else 2) * width**2
    return batch * heads * length * token


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
