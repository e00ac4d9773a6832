"""How much faster compiled kernels are than what else computes the same."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from linsight import kernels, ops
from linsight.profiling.peers import imported, peer
from linsight.profiling.ratios import CLOSE, Call, Calls, Case, Speedup, Unmeasured, doubled, largest_error

__all__ = ["check_kernel", "forward", "gradients", "kernel_cases", "self_check"]

Function = Callable[..., Tensor]
Bars = tuple[float, float]
"""A goal and a gate."""


def kernel_cases() -> Iterator[Case]:
    """Every kernel against softmax, its eager form, plain loops, peers, and a product of as much work.

    An op whose self-check is red, or that has no kernel here, has lines without numbers. The eager blocks of
    linear attention, which run everywhere, are measured too.
    """
    yield _eager_case()
    for op, cases in CASES.items():
        for case in cases():
            yield Case(case.line, partial(_checked, op, case.make))


def self_check(op: str) -> float:
    """The largest relative error of outputs and gradients of a compiled op to its float64 definition.

    Args:
        op: One that has a compiled kernel: "linear_attention", "delta_rule" and others.
    """
    call, inputs = SMALL[op]()
    found = gradients(partial(call, form="compiled"), *inputs)
    exact = gradients(partial(call, form="naive"), *map(doubled, inputs))
    return largest_error(found, exact)


def check_kernel(op: str) -> None:
    """Refuse to measure what calls a compiled op that does not run here, or whose self-check is red.

    Raises:
        Unmeasured: With the reason.
    """
    reason = kernels.choose(op, "cpu", torch.float32).passed_over.get("compiled")
    if reason is None and not (error := self_check(op)) < CLOSE:
        reason = f"its self-check is red: relative error {error:.0e}"
    if reason is not None:
        raise Unmeasured(reason)


def forward(call: Function, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The output; the last input is the gradient that a backward would begin with."""
    with torch.no_grad():
        return (call(*inputs[:-1]),)


def gradients(call: Function, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Those of all inputs but the last one, which is that of the output."""
    leaves = [x.detach().requires_grad_() for x in inputs[:-1]]
    return torch.autograd.grad(call(*leaves), leaves, inputs[-1])


def _checked(op: str, make: Callable[[], Calls]) -> Calls:
    check_kernel(op)
    return make()


def _calls(
    run: Call,
    ours: Function,
    other: Function,
    exact: Function,
    inputs: tuple[Tensor, ...],
) -> Calls:
    return Calls(
        partial(run, ours, *inputs), partial(run, other, *inputs), partial(run, exact, *map(doubled, inputs))
    )


def _eager_case() -> Case:
    """What runs where there is no kernel."""
    line = Speedup("linear_attention", "eager blocks, forward, T=4096", "softmax (SDPA)", 10.0, 6.0)
    return Case(line, partial(_eager, 4096))


def _eager(length: int) -> Calls:
    ours, exact = (partial(_attend, form=form) for form in ("chunk", "recurrent"))
    return _calls(forward, ours, _softmax, exact, _attention_inputs(length))


def _attention_cases() -> Iterator[Case]:
    """B=1, H=8, K=V=64."""
    softmax = (
        ((3.5, 1.8), (8.0, 4.0), (25.0, 12.0)),
        ((2.5, 1.3), (7.0, 3.5), (22.0, 11.0)),
    )
    for (run, what), bars in zip(RUNS, softmax, strict=True):
        for length, (goal, gate) in zip((256, 1024, 4096), bars, strict=True):
            line = Speedup("linear_attention", f"{what}, T={length}", "softmax (SDPA)", goal, gate)
            yield Case(line, partial(_beside_softmax, run, length))
    line = Speedup("linear_attention", "forward, T=1024", "its work in a product", 0.8, 0.6)
    yield Case(line, partial(_beside_product, 1024))
    line = Speedup("linear_attention", "normalised, forward, T=4096", "performer-pytorch", 60.0, 30.0)
    yield Case(line, partial(_beside_performer, 4096))
    for run, what in RUNS:
        line = Speedup("linear_attention", f"{what}, T=4096", "fast-transformers", 3.5, 2.0)
        yield Case(line, partial(_beside_fast_transformers, run, 4096))


def _beside_softmax(run: Call, length: int) -> Calls:
    return _calls(run, *_attentions(_softmax), _attention_inputs(length))


def _beside_product(length: int) -> Calls:
    calls = _beside_softmax(forward, length)
    return calls._replace(other=_product(4 * length * 8 * 64 * 64))


def _beside_performer(length: int) -> Calls:
    """Its sums over the tokens so far, to which it comes where CUDA code is missing; they are normalised."""
    layer = peer("performer-pytorch", 64, causal=True)
    sums = cast(Function, cast(torch.nn.Module, layer.fast_attention).causal_linear_fn)
    return _calls(
        forward, *_attentions(partial(_heads_first, sums), normalise=True), _attention_inputs(length)
    )


def _beside_fast_transformers(run: Call, length: int) -> Calls:
    product = imported("fast-transformers").causal_dot_product
    return _calls(run, *_attentions(partial(_heads_first, product)), _attention_inputs(length))


def _attentions(other: Function, **options: bool) -> tuple[Function, Function, Function]:
    """The kernel, the other, and blocks for float64."""
    ours, exact = (partial(_attend, form=form, **options) for form in ("compiled", "chunk"))
    return ours, other, exact


def _attention_inputs(length: int, heads: int = 8, width: int = 64) -> tuple[Tensor, ...]:
    return torch.rand(4, 1, length, heads, width, generator=torch.Generator().manual_seed(0)).unbind(0)


def _heads_first(attention: Function, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """An attention of (B, H, T, K) on (B, T, H, K)."""
    return attention(*(x.transpose(1, 2).contiguous() for x in (q, k, v))).transpose(1, 2)


def _favor_cases() -> Iterator[Case]:
    """Performer's at B=1, H=4, K=V=64: 266 features, whose logarithms are given."""
    bars = (3.0, 1.5), (3.0, 1.5)
    inputs = partial(_favor_inputs, 1024, 4, 266, 64)
    yield from _against_eager("favor_attention", _features, inputs, "", 1024, bars)


def _scan_cases() -> Iterator[Case]:
    """B=1, D=1024, N=16: Mamba's at width 512."""
    line = Speedup("selective_scan", "forward, T=1024", "a loop over tokens", 45.0, 25.0)
    yield Case(line, partial(_scans, forward, 1024, lambda: _prepared_scan))
    for (run, what), length, bars in zip(RUNS, (1024, 512), ((70.0, 35.0), (60.0, 30.0)), strict=True):
        line = Speedup("selective_scan", f"{what}, T={length}", "mambapy", *bars)
        yield Case(line, partial(_scans, run, length, _mambapy))


def _scans(run: Call, length: int, other: Callable[[], Function]) -> Calls:
    ours, exact = (partial(_scan, form=form) for form in ("compiled", "chunk"))
    return _calls(run, ours, other(), exact, _scan_inputs(length, 1024, 16))


def _mambapy() -> Function:
    """Its scan, without a way past it."""
    scan = cast(Function, peer("mambapy", 64, causal=True).selective_scan)
    return lambda *inputs: scan(*inputs, inputs[0].new_zeros(()))


def _delta_cases() -> Iterator[Case]:
    """B=1, H=4, K=V=64: the rule with a decay of a token, and with free vectors and a decay of a feature."""
    for call, by_feature, words in ((_correct, False, ""), (_transform, True, "free vectors, ")):
        bars = ((8.0, 4.0), (4.0, 2.0)) if not by_feature else ((8.0, 4.0), (8.0, 4.0))
        inputs = partial(_delta_inputs, 1024, 4, 64, by_feature=by_feature)
        yield from _against_eager("delta_rule", call, inputs, words, 1024, bars)


def _convolution_cases() -> Iterator[Case]:
    """B=1, D=1024, 4 taps: Mamba's at width 512."""
    bars = (2.0, 1.2), (4.0, 2.0)
    inputs = partial(_convolution_inputs, 1024, 1024, 4)
    other = "naive", "its shifted products"
    yield from _against_eager("short_convolution", _convolve, inputs, "", 1024, bars, other)


def _gate_cases() -> Iterator[Case]:
    """B=32, 99 tokens, twice 256 numbers: `make run`'s, in float32."""
    bars = (2.0, 1.4), (2.5, 1.6)
    inputs = partial(_gate_inputs, 32, 99, 256)
    other = "naive", "torch's operations"
    yield from _against_eager("gated_silu", _gate, inputs, "", 99, bars, other)


def _space_cases() -> Iterator[Case]:
    """S4D at B=4, D=256, 64 states: the recurrence; and its convolution kernel, which torch computes."""
    inputs = partial(_space_inputs, 4, 784, 256, 32)
    yield from _against_eager("diagonal_space", _space, inputs, "", 784, ((5.0, 2.5), (5.0, 2.5)))
    line = Speedup("diagonal_space", "convolution kernel, T=768", "complex powers", 60.0, 20.0)
    yield Case(line, partial(_beside_powers, 768))


def _beside_powers(length: int) -> Calls:
    _, log_decay, read, _ = _space_inputs(4, 784, 256, 32)
    kernel = partial(ops.diagonal_kernel, doubled(log_decay), doubled(read), length)
    return Calls(
        lambda: (kernel(dtype=torch.float32),),
        lambda: (_powers(log_decay, read, length),),
        lambda: (kernel(dtype=torch.float64),),
    )


def _recurrence_cases() -> Iterator[Case]:
    """LRU at B=4 and 256 states."""
    inputs = partial(_recurrence_inputs, 4, 784, 256)
    yield from _against_eager("diagonal_recurrence", _recur, inputs, "", 784, ((8.0, 4.0), (6.0, 3.0)))


def _against_eager(
    op: str,
    call: Function,
    inputs: Callable[[], tuple[Tensor, ...]],
    words: str,
    length: int,
    bars: tuple[Bars, Bars],
    other: tuple[str, str] = ("chunk", "its eager blocks"),
) -> Iterator[Case]:
    """A kernel beside an eager form of its op: forward, and with the backward."""
    form, name = other
    for (run, what), (goal, gate) in zip(RUNS, bars, strict=True):
        line = Speedup(op, f"{words}{what}, T={length}", name, goal, gate)
        yield Case(line, partial(_beside_eager, run, call, form, inputs))


def _beside_eager(
    run: Call,
    call: Function,
    form: str,
    inputs: Callable[[], tuple[Tensor, ...]],
) -> Calls:
    kernel, eager = (partial(call, form=each) for each in ("compiled", form))
    return _calls(run, kernel, eager, eager, inputs())


def _scan_inputs(length: int, channels: int, states: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    u, dy = torch.randn(2, 1, length, channels, generator=generator).unbind(0)
    delta = 0.1 * torch.rand(1, length, channels, generator=generator)
    A = -torch.arange(1.0, states + 1).repeat(channels, 1)
    B, C = torch.randn(2, 1, length, states, generator=generator).unbind(0)
    return u, delta, A, B, C, dy


def _favor_inputs(length: int, heads: int, features: int, width: int) -> tuple[Tensor, ...]:
    """Normal logarithms, of a head together, values, logarithms of weights, and a gradient."""
    generator = torch.Generator().manual_seed(0)
    v, do = torch.randn(2, 1, length, heads, width, generator=generator).unbind(0)
    q, k = torch.randn(2, 1, heads, length, features, generator=generator).transpose(2, 3).unbind(0)
    return q, k, v, -torch.rand(1, length, heads, generator=generator), do


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


def _attend(q: Tensor, k: Tensor, v: Tensor, *, form: str, normalise: bool = False) -> Tensor:
    return ops.linear_attention(q, k, v, form=form, normalise=normalise)[0]


def _features(*inputs: Tensor, form: str) -> Tensor:
    return ops.favor_attention(*inputs, form=form)[0]


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


RUNS = ((forward, "forward"), (gradients, "forward + backward"))

CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "linear_attention": _attention_cases,
    "delta_rule": _delta_cases,
    "favor_attention": _favor_cases,
    "selective_scan": _scan_cases,
    "short_convolution": _convolution_cases,
    "gated_silu": _gate_cases,
    "diagonal_space": _space_cases,
    "diagonal_recurrence": _recurrence_cases,
}
"""What is measured of each op."""

SMALL: dict[str, Callable[[], tuple[Callable[..., Tensor], tuple[Tensor, ...]]]] = {
    "linear_attention": lambda: (_attend, _attention_inputs(70, 2, 20)),
    "delta_rule": lambda: (_correct, _delta_inputs(70, 2, 20, by_feature=True)),
    "favor_attention": lambda: (_features, _favor_inputs(70, 2, 20, 9)),
    "selective_scan": lambda: (_scan, _scan_inputs(70, 20, 5)),
    "short_convolution": lambda: (_convolve, _convolution_inputs(70, 20, 4)),
    "gated_silu": lambda: (_gate, _gate_inputs(2, 70, 20)),
    "diagonal_space": lambda: (_space, _space_inputs(2, 70, 20, 5)),
    "diagonal_recurrence": lambda: (_recur, _recurrence_inputs(2, 70, 20)),
}
"""A small call of each op, for its self-check; the last input is the gradient of the output."""
