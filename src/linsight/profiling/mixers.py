"""What mixers cost against the length of the sequence: time and memory of a call, of training, of a step."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from linsight.mixers import Mixer
from linsight.profiling.clock import measure
from linsight.profiling.memory import peak_bytes

__all__ = ["Costs", "measure_costs"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Costs:
    """Of one module, a figure for each of `lengths`; None where it was not measured.

    Milliseconds of processor time on one thread; bytes alive at once beside x and the weights; the step is
    that after so many tokens, the state is that of one sequence.
    """

    name: str
    lengths: tuple[int, ...]
    forward_ms: list[float | None] = field(default_factory=list)
    training_ms: list[float | None] = field(default_factory=list)
    step_ms: list[float | None] = field(default_factory=list)
    forward_bytes: list[int | None] = field(default_factory=list)
    training_bytes: list[int | None] = field(default_factory=list)
    state_bytes: list[int | None] = field(default_factory=list)


def measure_costs(
    build: Callable[[int], Mapping[str, nn.Module]],
    dim: int,
    lengths: Sequence[int],
    *,
    seconds: float = 3.0,
    limit: float = 20.0,
    progress: Progress | None = None,
) -> list[Costs]:
    """Measure modules side by side: at every length they take turns, so that slow spells fall on all alike.

    Args:
        build: The modules for sequences of a length, by the same names at every length; called with x
            `(1, length, dim)`. A `Mixer` is measured in steps too.
        dim: Width of the tokens.
        lengths: Tokens, in growing order.
        seconds: Processor time for each length and kind of cost, all modules together; three rounds at least.
        limit: A module that took longer than so many seconds for one call is left out of longer ones.
        progress: Called as progress(what, done, total).
    """
    found: list[Costs] = []
    slow: set[tuple[str, str]] = set()
    for done, length in enumerate(lengths):
        modules = build(length)
        found = found or [Costs(name, tuple(lengths)) for name in modules]
        x = torch.randn(1, length, dim, generator=torch.Generator().manual_seed(0))
        for kind, calls in _calls(modules, x):
            active = {name: call for name, call in calls.items() if (kind, name) not in slow}
            times = measure(active, seconds=seconds, least=3, most=20)
            for costs in found:
                timing = times.get(costs.name)
                getattr(costs, f"{kind}_ms").append(None if timing is None else timing.median)
                if timing is not None and timing.median > 1e3 * limit:
                    slow.add((kind, costs.name))
            if kind != "step":
                for costs in found:
                    bytes_now = peak_bytes(active[costs.name]) if costs.name in active else None
                    getattr(costs, f"{kind}_bytes").append(bytes_now)
        for costs in found:
            module = modules[costs.name]
            has_state = isinstance(module, Mixer) and module.causal
            costs.state_bytes.append(cast(Mixer, module).state_size(length) if has_state else None)
        gc.collect()
        if progress:
            progress("lengths", done + 1, len(lengths))
    return found


def _calls(
    modules: Mapping[str, nn.Module], x: Tensor
) -> Iterator[tuple[str, dict[str, Callable[[], object]]]]:
    """Kind of cost and its calls; each kind is made when its turn comes, since caches take memory."""
    yield "forward", {name: _forward(module, x) for name, module in modules.items()}
    yield "training", {name: _training(module, x) for name, module in modules.items()}
    yield "step", {name: _step(module, x) for name, module in modules.items() if _steps(module)}


def _steps(module: nn.Module) -> bool:
    return isinstance(module, Mixer) and module.causal


def _forward(module: nn.Module, x: Tensor) -> Callable[[], object]:
    def call() -> object:
        with torch.no_grad():
            return module(x)

    return call


def _training(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """The gradients of x and of every parameter."""
    sources = [x.clone().requires_grad_(), *(p for p in module.parameters() if p.requires_grad)]

    def call() -> object:
        y = module(sources[0])
        y = y[0] if isinstance(y, tuple) else y
        return torch.autograd.grad(y.sum(), sources, allow_unused=True)

    return call


def _step(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """One token more at every call: a state that is continued twice might have to be copied."""
    with torch.no_grad():
        state: Any = module(x)[1]
    token = x[:, :1]

    def call() -> None:
        nonlocal state
        with torch.no_grad():
            _, state = module(token, state)

    return call
