"""A call of every op that has a compiled kernel, in the variants that matter, and its results."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import delta_cases
import favor_cases
import linear_cases
import torch
import torch.nn.functional as F
from torch import Tensor

from linsight import ops

__all__ = [
    "CALLS",
    "GUARD",
    "Call",
    "convolution",
    "delta",
    "favor",
    "guarded",
    "parts",
    "recurrence",
    "results",
    "scan",
    "space",
    "wrong",
]

GUARD = 12352.0
"""What stands around a guarded buffer, a number of bfloat16 too."""
TOKENS = frozenset({"q", "k", "v", "a", "b", "beta", "log_decay", "log_weights", "u", "delta", "B", "C", "x"})


@dataclass(frozen=True)
class Call:
    """An op on tensors by name; `computed(form, **given)` gives the outputs and the final state."""

    op: str
    given: dict[str, Tensor]
    computed: Callable[..., tuple[Tensor, Tensor]]

    def __call__(self, form: str = "naive") -> tuple[Tensor, Tensor]:
        return self.computed(form, **self.given)

    def map(self, function: Callable[[str, Tensor], Tensor]) -> "Call":
        """The same call with `function(name, tensor)` in place of each tensor."""
        return replace(self, given={name: function(name, x) for name, x in self.given.items()})

    def to(self, dtype: torch.dtype) -> "Call":
        """In another dtype; complex numbers have parts of float64, or else of float32."""
        parts = torch.complex128 if dtype == torch.float64 else torch.complex64
        return self.map(lambda _, x: x.to(parts if x.is_complex() else dtype))

    def tokens(self, start: int, stop: int, state: Tensor) -> "Call":
        """The same call on some of the tokens, from a state."""
        cut = {name: x[:, start:stop] for name, x in self.given.items() if self.by_token(name)}
        return replace(self, given=self.given | cut | {"initial_state": state})

    def by_token(self, name: str) -> bool:
        """Whether an input has an axis of tokens, its second."""
        return name in TOKENS and self.given[name].ndim > 1


def results(call: Call, form: str = "naive", *, of: str = "both") -> dict[str, Tensor]:
    """Outputs, final state, and every input's gradient for a loss `of` outputs, final state, or both."""
    call = call.map(lambda _, x: x.detach().requires_grad_())
    found = dict(zip(("output", "state"), call(form), strict=True))
    generator = torch.Generator().manual_seed(1)
    drawn = {name: torch.randn(parts(x).shape, generator=generator) for name, x in found.items()}
    chosen = [name for name in found if of in (name, "both")]
    losses = [parts(found[name]) for name in chosen]
    gradients = torch.autograd.grad(
        losses,
        list(call.given.values()),
        [drawn[name].to(x.dtype) for name, x in zip(chosen, losses, strict=True)],
        materialize_grads=True,
    )
    named = {f"grad of {name}": parts(x) for name, x in zip(call.given, gradients, strict=True)}
    return {**{name: parts(x).detach() for name, x in found.items()}, **named}


def parts(x: Tensor) -> Tensor:
    """x, the real and imaginary parts of complex numbers as a last axis."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def wrong(call: Call, found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """The RMS of what is wrong over that of what is right, of each tensor.

    A gradient that nearly vanishes is measured against a tenth of the inputs' size. That of what all tokens
    share is a sum over them, and a single one may come out near 0: against as many terms of that size.
    """
    tokens = max(exact["output"].shape[0] * exact["output"].shape[1], 1)
    errors = {}
    for name, x in exact.items():
        argument = name.removeprefix("grad of ")
        shared = argument != name and argument != "initial_state" and not call.by_token(argument)
        errors[name] = linear_cases.relative_error(found[name], x, tokens**0.5 if shared else 0.1)
    return errors


def guarded(guards: list[tuple[Tensor, int]]) -> Callable[..., Tensor]:
    """`Tensor.new_empty` whose buffers are NaN between 32 guards on either side; `guards` is told of each."""
    made = Tensor.new_empty

    def new_empty(self: Tensor, *size, **options) -> Tensor:
        shape = torch.Size(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
        whole = made(self, shape.numel() + 64, **options).fill_(torch.nan)
        whole[:32] = whole[-32:] = GUARD
        guards.append((whole, shape.numel()))
        return whole[32:-32].view(shape)

    return new_empty


def attention(
    decay: str, read: str, batch: int, length: int, features: int, values: int, **options: Any
) -> Call:
    """Linear attention, of two heads; keys of any sign where nothing is divided or a map helps."""
    mapped, normalise = "feature_map" in options, options.get("normalise", False)
    sizes = {"batch": batch, "heads": 2, "features": features, "values": values}
    case = linear_cases.case(
        length, decay, read, dtype=torch.float32, normalise=normalise, scale=0.7, **sizes
    )
    case = case.map(lambda name, x: x - 0.6 if name in "qk" and (mapped or not normalise) else x)
    case = replace(case, options=case.options | options)
    return Call("linear_attention", case.tensors(), lambda form, **given: replace(case, **given)(form))


def favor(batch: int, length: int, features: int, values: int) -> Call:
    """FAVOR+, of two heads; the state's last row of features is its peak."""
    given = favor_cases.drawn(length, features, values, batch=batch, dtype=torch.float32)
    memory, peak = given.pop("memory"), given.pop("peak")

    def packed(memory: Tensor, peak: Tensor) -> Tensor:
        below = F.pad(peak[..., None, None], (0, values, features, 0))
        return F.pad(memory, (0, 0, 0, 1)) + below

    def computed(form: str, *, initial_state: Tensor | None = None, **given: Tensor) -> tuple[Tensor, Tensor]:
        before = None if initial_state is None else (initial_state[:, :, :-1], initial_state[:, :, -1, 0])
        o, after = ops.favor_attention(**given, initial_state=before, form=form)
        return o, packed(*after)

    return Call("favor_attention", {**given, "initial_state": packed(memory, peak)}, computed)


def delta(rule: str, decay: str, batch: int, length: int, features: int, values: int) -> Call:
    """A delta rule, of two heads."""
    sizes = {"batch": batch, "heads": 2, "features": features, "values": values}
    case = delta_cases.case(rule, length, decay, dtype=torch.float32, **sizes)
    return Call("delta_rule", case.tensors(), lambda form, **given: replace(case, **given)(form))


def scan(batch: int, length: int, channels: int, states: int) -> Call:
    """The selective scan, of decays from none to strong."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    given = {
        "u": normal(batch, length, channels),
        "delta": normal(batch, length, channels).abs() ** 3,
        "A": -normal(channels, states).exp(),
        "B": normal(batch, length, states),
        "C": normal(batch, length, states),
        "D": normal(channels),
        "initial_state": normal(batch, channels, states),
    }
    return Call("selective_scan", given, lambda form, **given: ops.selective_scan(**given, form=form))


def convolution(batch: int, length: int, channels: int, width: int) -> Call:
    """The short convolution, of 1 to 8 taps."""
    generator, taps = torch.Generator().manual_seed(0), width % 8 + 1
    shapes = {
        "x": (batch, length, channels),
        "weight": (channels, taps),
        "bias": (channels,),
        "initial_state": (batch, taps - 1, channels),
    }
    given = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return Call("short_convolution", given, lambda form, **given: ops.short_convolution(**given, form=form))


def space(batch: int, length: int, channels: int, states: int) -> Call:
    """The diagonal state space, of short memories and long ones."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def complex_normal(*shape: int) -> Tensor:
        return torch.complex(normal(*shape), normal(*shape))

    given = {
        "x": normal(batch, length, channels),
        "rates": torch.complex(-(normal(channels, states).abs() ** 3), normal(channels, states)),
        "read": complex_normal(channels, states),
        "initial_state": complex_normal(batch, channels, states),
    }

    def computed(form: str, *, rates: Tensor, **given: Tensor) -> tuple[Tensor, Tensor]:
        return ops.diagonal_space(log_decay=rates, **given, form=form)

    return Call("diagonal_space", given, computed)


def recurrence(batch: int, length: int, states: int, _: int) -> Call:
    """The diagonal recurrence, of the decays and the reading of the space's first states."""
    inputs, given = space(batch, length, states, 2).given, space(batch, length, 2 * states, 1).given
    taken = torch.complex(*given["x"].unflatten(-1, (states, 2)).unbind(-1)).contiguous()
    chosen = {"x": taken, "rates": inputs["rates"][:, 0], "initial_state": inputs["initial_state"][..., 0]}

    def computed(form: str, *, rates: Tensor, **given: Tensor) -> tuple[Tensor, Tensor]:
        return ops.diagonal_recurrence(log_decay=rates, **given, form=form)

    return Call("diagonal_recurrence", {name: x.contiguous() for name, x in chosen.items()}, computed)


CALLS: dict[str, Callable[[int, int, int, int], Call]] = {
    "attention": partial(attention, "none", "after"),
    "attention, decay of a head": partial(attention, "head", "before"),
    "attention, decay of a token, divided": partial(attention, "token", "bonus", normalise=True),
    "attention, elu1, divided": partial(attention, "none", "before", normalise=True, feature_map="elu1"),
    "attention, elu1, decay of a token": partial(attention, "token", "after", feature_map="elu1"),
    "attention, decay of a feature": partial(attention, "feature", "bonus"),
    "favor": favor,
    **{
        f"{rule} rule, decay {decay}": partial(delta, rule, decay)
        for rule in delta_cases.RULES
        for decay in delta_cases.DECAYS
    },
    "scan": scan,
    "convolution": convolution,
    "space": space,
    "recurrence": recurrence,
}
"""By name, from batch, length, and two widths: features and values, or channels and states. In float32."""
