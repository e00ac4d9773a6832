"""How much faster compiled kernels are than what else computes the same, beside the peaks of the machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from linsight import kernels, ops
from linsight.profiling.clock import measure
from linsight.profiling.peers import peer

__all__ = ["Case", "KernelRatio", "kernel_ratios", "measure_ratio", "self_check"]

CLOSE = 1e-5
"""Relative error to float64 above which an op is not measured; kernels have some 1e-7."""
Call = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class KernelRatio:
    """One line: what a kernel takes, what the other takes, and how often it goes into that.

    Milliseconds are medians of processor time of one thread, both taking turns; None where there is nothing
    to measure, and `note` says why. `error` is the relative one to the float64 definition. `goal` is what we
    want, `gate` what must hold.
    """

    op: str
    what: str
    other: str
    goal: float
    gate: float
    kernel_ms: float | None = None
    other_ms: float | None = None
    error: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How often the kernel goes into the other; a share of the peak where the other is a product."""
        return None if self.kernel_ms is None or self.other_ms is None else self.other_ms / self.kernel_ms

    @property
    def missed(self) -> bool:
        """Whether it was measured and stays below its gate."""
        return self.ratio is not None and self.ratio < self.gate


Case = tuple[KernelRatio, Call | None, Call | None, Call]


def self_check(op: str) -> float:
    """The largest relative error of outputs and gradients of a compiled op to its float64 definition.

    Args:
        op: One that has a compiled kernel: "linear_attention", "delta_rule" and others.
    """
    call, inputs = SMALL[op]()
    found = _gradients(partial(call, form="compiled"), *inputs)
    exact = _gradients(partial(call, form="naive"), *(_double(x) for x in inputs))
    return max(_error(a, b) for a, b in zip(found, exact, strict=True))


def kernel_ratios(
    *, seconds: float = 3.0, progress: Callable[[str, int, int], object] = lambda *_: None
) -> Iterator[KernelRatio]:
    """Measure every kernel against softmax, its eager form, plain loops, peers that are installed, and peaks.

    An op whose self-check is red, or that has no kernel here, has a line without numbers.

    Args:
        seconds: Processor time for each line, five rounds at least.
        progress: Called as `("kernels", done, total)` after each line.
    """
    torch.set_num_threads(1)
    lines = [(op, case) for op, cases in CASES.items() for case in cases()]
    reasons = {op: _why_not(op) for op in dict.fromkeys(op for op, _ in lines)}
    for done, (op, case) in enumerate(lines, 1):
        yield measure_ratio(*case, reason=reasons[op], seconds=seconds)
        progress("kernels", done, len(lines))


def _why_not(op: str) -> str | None:
    """Why an op is not measured."""
    reason = kernels.choose(op, "cpu", torch.float32).passed_over.get("compiled")
    if reason is None and not (error := self_check(op)) < CLOSE:
        return f"its self-check is red: relative error {error:.0e}"
    return reason


def measure_ratio(
    row: KernelRatio,
    kernel: Call | None,
    other: Call | None,
    exact: Call,
    *,
    reason: str | None,
    seconds: float,
) -> KernelRatio:
    """The line with its numbers, or why there are none.

    Args:
        row: Without numbers.
        kernel: What is measured; its first outputs are compared with those of `exact`, in float64.
        other: What it is measured against; None: not installed.
        reason: Why nothing is measured; None to measure, unless the kernel is wrong.
        seconds: Processor time, five rounds at least.
    """
    if reason is not None or kernel is None or other is None:
        return replace(row, note=reason or f"{row.other} is not installed")
    error = max(_error(a, b) for a, b in zip(kernel(), exact(), strict=True))
    if not error < CLOSE:
        return replace(row, note=f"its self-check is red: relative error {error:.0e}")
    times = measure({"kernel": kernel, "other": other}, seconds=seconds)
    return replace(row, kernel_ms=times["kernel"].median, other_ms=times["other"].median, error=error)


def _attention_cases() -> Iterator[Case]:
    """B=1, H=8, K=V=64."""
    attend = partial(_attend, form="compiled")
    for backward in (False, True):
        run, what = (_gradients, "forward + backward") if backward else (_forward, "forward")
        goals = ((2.5, 1.3), (7.0, 3.5), (22.0, 11.0)) if backward else ((3.5, 1.8), (8.0, 4.0), (25.0, 12.0))
        for length, (goal, gate) in zip((256, 1024, 4096), goals, strict=True):
            inputs = torch.rand(4, 1, length, 8, 64, generator=torch.Generator().manual_seed(0)).unbind(0)
            exact = partial(run, partial(_attend, form="chunk"), *(x.double() for x in inputs))
            kernel = partial(run, attend, *inputs)
            row = KernelRatio("linear_attention", f"{what}, T={length}", "softmax (SDPA)", goal, gate)
            yield row, kernel, partial(run, _softmax, *inputs), exact
            if length == 1024 and not backward:
                row = KernelRatio(
                    "linear_attention", f"{what}, T={length}", "its work in a product", 0.8, 0.6
                )
                yield row, kernel, _product(4 * length * 8 * 64 * 64), exact


def _scan_cases() -> Iterator[Case]:
    """B=1, D=1024, N=16: Mamba's at width 512."""
    try:
        layer = peer("mambapy", 64, causal=True)
    except ImportError:
        theirs = None
    else:
        scan = cast(Callable[..., Tensor], layer.selective_scan)
        theirs = lambda *x: scan(*x, x[0].new_zeros(()))  # noqa: E731
    for backward, length in ((False, 1024), (True, 512)):
        run, what = (_gradients, "forward + backward") if backward else (_forward, "forward")
        inputs = _scan_inputs(length, 1024, 16)
        exact = partial(run, partial(_scan, form="chunk"), *(x.double() for x in inputs))
        kernel = partial(run, partial(_scan, form="compiled"), *inputs)
        if not backward:
            row = KernelRatio("selective_scan", f"{what}, T={length}", "a loop over tokens", 45.0, 25.0)
            yield row, kernel, partial(run, _prepared_scan, *inputs), exact
        goals = (60.0, 30.0) if backward else (70.0, 35.0)
        row = KernelRatio("selective_scan", f"{what}, T={length}", "mambapy", *goals)
        yield row, kernel, None if theirs is None else partial(run, theirs, *inputs), exact


def _delta_cases() -> Iterator[Case]:
    """B=1, H=4, K=V=64: the rule with a decay of a token, and with free vectors and a decay of a feature."""
    for call, by_feature, words in ((_correct, False, ""), (_transform, True, "free vectors, ")):
        goals = ((8.0, 4.0), (4.0, 2.0)) if not by_feature else ((8.0, 4.0), (8.0, 4.0))
        inputs = _delta_inputs(1024, 4, 64, by_feature=by_feature)
        yield from _against_eager("delta_rule", call, inputs, f"{words}forward", goals)


def _convolution_cases() -> Iterator[Case]:
    """B=1, D=1024, 4 taps: Mamba's at width 512."""
    goals = (2.0, 1.2), (4.0, 2.0)
    inputs = _convolution_inputs(1024, 1024, 4)
    other = "naive", "its shifted products"
    yield from _against_eager("short_convolution", _convolve, inputs, "forward", goals, other)


def _gate_cases() -> Iterator[Case]:
    """B=32, 99 tokens, twice 256 numbers: `make run`'s, in float32."""
    goals = (2.0, 1.4), (2.5, 1.6)
    inputs = _gate_inputs(32, 99, 256)
    other = "naive", "torch's operations"
    yield from _against_eager("gated_silu", _gate, inputs, "forward", goals, other)


def _space_cases() -> Iterator[Case]:
    """S4D at B=4, D=256, 64 states: the recurrence; and its convolution kernel, which torch computes."""
    inputs = _space_inputs(4, 784, 256, 32)
    yield from _against_eager("diagonal_space", _space, inputs, "forward", ((5.0, 2.5), (5.0, 2.5)))
    log_decay, read = (x.to(torch.complex128) for x in inputs[1:3])
    row = KernelRatio("diagonal_space", "convolution kernel, T=768", "complex powers", 60.0, 20.0)
    ours = partial(ops.diagonal_kernel, log_decay, read, 768, dtype=torch.float32)
    exact = partial(ops.diagonal_kernel, log_decay, read, 768, dtype=torch.float64)
    powers = partial(_powers, *inputs[1:3], 768)
    yield row, lambda: (ours(),), lambda: (powers(),), lambda: (exact(),)


def _recurrence_cases() -> Iterator[Case]:
    """LRU at B=4 and 256 states."""
    inputs = _recurrence_inputs(4, 784, 256)
    yield from _against_eager("diagonal_recurrence", _recur, inputs, "forward", ((8.0, 4.0), (6.0, 3.0)))


def _against_eager(
    op: str,
    call: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    what: str,
    goals: tuple[tuple[float, float], tuple[float, float]],
    other: tuple[str, str] = ("chunk", "its eager blocks"),
) -> Iterator[Case]:
    """A kernel beside an eager form of its op: forward, and with the backward."""
    (form, name), length = other, inputs[0].shape[1]
    for run, words, (goal, gate) in zip((_forward, _gradients), ("", " + backward"), goals, strict=True):
        row = KernelRatio(op, f"{what}{words}, T={length}", name, goal, gate)
        kernel, eager = (partial(run, partial(call, form=each), *inputs) for each in ("compiled", form))
        yield row, kernel, eager, partial(run, partial(call, form=form), *(_double(x) for x in inputs))


def _scan_inputs(length: int, channels: int, states: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    u, dy = torch.randn(2, 1, length, channels, generator=generator).unbind(0)
    delta = 0.1 * torch.rand(1, length, channels, generator=generator)
    A = -torch.arange(1.0, states + 1).repeat(channels, 1)
    B, C = torch.randn(2, 1, length, states, generator=generator).unbind(0)
    return u, delta, A, B, C, dy


def _delta_inputs(length: int, heads: int, width: int, *, by_feature: bool) -> tuple[Tensor, ...]:
    """Queries, keys of length 1, values, fractions, decays by token or feature, and a gradient."""
    generator = torch.Generator().manual_seed(0)
    q, k, v, do = torch.randn(4, 1, length, heads, width, generator=generator).unbind(0)
    beta = torch.rand(1, length, heads, generator=generator)
    decay = -torch.rand(1, length, heads, width, generator=generator)
    return q, F.normalize(k, dim=-1), v, beta, decay if by_feature else decay[..., 0].contiguous(), do


def _convolution_inputs(length: int, channels: int, taps: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, dy = torch.randn(2, 1, length, channels, generator=generator).unbind(0)
    return x, torch.randn(channels, taps, generator=generator), torch.randn(channels, generator=generator), dy


def _convolve(*inputs: Tensor, form: str) -> Tensor:
    return ops.short_convolution(*inputs, form=form)[0]


def _gate_inputs(batch: int, length: int, width: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sizes = (batch, length, 2 * width), (batch, length, width)
    return tuple(torch.randn(size, generator=generator) for size in sizes)


def _gate(x: Tensor, *, form: str) -> Tensor:
    return ops.gated_silu(x, form=form)


def _space_inputs(batch: int, length: int, channels: int, states: int) -> tuple[Tensor, ...]:
    """Steps from 0.001 to 0.1 of S4D-Lin."""
    generator = torch.Generator().manual_seed(0)
    x, dy = torch.randn(2, batch, length, channels, generator=generator).unbind(0)
    A = torch.complex(torch.full((states,), -0.5), torch.pi * torch.arange(states))
    read = torch.complex(*torch.randn(2, channels, states, generator=generator))
    return x, torch.logspace(-3, -1, channels)[:, None] * A, read, dy


def _space(x: Tensor, log_decay: Tensor, read: Tensor, *, form: str) -> Tensor:
    return ops.diagonal_space(x, log_decay, read, form=form)[0]


def _powers(log_decay: Tensor, read: Tensor, length: int) -> Tensor:
    """Re sum_n read_n lambda_n^l by complex `pow`."""
    return (log_decay.exp()[..., None] ** torch.arange(length) * read[..., None]).sum(-2).real


def _recurrence_inputs(batch: int, length: int, states: int) -> tuple[Tensor, ...]:
    """Moduli from 0.9 to 0.999, all angles."""
    x, dh = torch.randn(
        2, batch, length, states, generator=torch.Generator().manual_seed(0), dtype=torch.complex64
    )
    moduli, angles = torch.linspace(0.9, 0.999, states), torch.linspace(0, torch.pi, states)
    return x, torch.complex(moduli.log(), angles), dh


def _recur(x: Tensor, log_decay: Tensor, *, form: str) -> Tensor:
    return ops.diagonal_recurrence(x, log_decay, form=form)[0]


def _attend(q: Tensor, k: Tensor, v: Tensor, *, form: str) -> Tensor:
    return ops.linear_attention(q, k, v, form=form)[0]


def _correct(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor, *, form: str) -> Tensor:
    return ops.delta_rule(q, k, v, beta, decay, form=form)[0]


def _transform(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor, *, form: str) -> Tensor:
    return ops.dplr_delta_rule(q, k, v, k, -beta[..., None] * k, decay, form=form)[0]


def _scan(*inputs: Tensor, form: str) -> Tensor:
    return ops.selective_scan(*inputs, form=form)[0]


def _prepared_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Decays and writes of all tokens, then one step a token: the slow path of published models."""
    decays = (delta[..., None] * A).exp()
    writes = (delta * u)[..., None] * B[:, :, None]
    state, outputs = torch.zeros_like(writes[:, 0]), []
    for keep, write, read in zip(decays.unbind(1), writes.unbind(1), C.unbind(1), strict=True):
        state = keep * state + write
        outputs.append((state @ read[..., None])[..., 0])
    return torch.stack(outputs, 1)


def _softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def _product(operations: float) -> Call:
    """So many operations in products of float32 matrices, the best that this core does."""
    side = 512
    a = torch.randn(side, side)
    rest = torch.randn(side, max(1, round(operations % (2 * side**3) / (2 * side**2))))
    whole = int(operations // (2 * side**3))
    return lambda: (*(a @ a for _ in range(whole)), a @ rest)


def _forward(call: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """The output; the last input is the gradient that a backward would begin with."""
    with torch.no_grad():
        return (call(*inputs[:-1]),)


def _gradients(call: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    leaves = [x.detach().requires_grad_() for x in inputs[:-1]]
    return torch.autograd.grad(call(*leaves), leaves, inputs[-1])


def _error(found: Tensor, exact: Tensor) -> float:
    return float((_double(found) - exact).norm() / exact.norm())


def _double(x: Tensor) -> Tensor:
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "linear_attention": _attention_cases,
    "delta_rule": _delta_cases,
    "selective_scan": _scan_cases,
    "short_convolution": _convolution_cases,
    "gated_silu": _gate_cases,
    "diagonal_space": _space_cases,
    "diagonal_recurrence": _recurrence_cases,
}
"""What is measured of each op."""

SMALL: dict[str, Callable[[], tuple[Callable[..., Tensor], tuple[Tensor, ...]]]] = {
    "linear_attention": lambda: (
        _attend,
        torch.rand(4, 1, 70, 2, 20, generator=torch.Generator().manual_seed(0)).unbind(0),
    ),
    "delta_rule": lambda: (_correct, _delta_inputs(70, 2, 20, by_feature=True)),
    "selective_scan": lambda: (_scan, _scan_inputs(70, 20, 5)),
    "short_convolution": lambda: (_convolve, _convolution_inputs(70, 20, 4)),
    "gated_silu": lambda: (_gate, _gate_inputs(2, 70, 20)),
    "diagonal_space": lambda: (_space, _space_inputs(2, 70, 20, 5)),
    "diagonal_recurrence": lambda: (_recur, _recurrence_inputs(2, 70, 20)),
}
"""A small call of each op, for its self-check; the last input is the gradient of the output."""
