"""Calls of the linear attention op, their results with all gradients, and how to compare them."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from linsight import ops

DECAYS = ("none", "head", "token", "feature")
READS = ("after", "before", "bonus")
FORMS = (("recurrent", None), ("parallel", None), ("chunk", 9), ("chunk", 32), ("chunk", 128))
LENGTHS = (1, 2, 7, 63, 64, 65, 100)
BATCH, HEADS, FEATURES, VALUES = 2, 3, 5, 4


@dataclass(frozen=True)
class Case:
    """The arguments of one call."""

    q: Tensor
    k: Tensor
    v: Tensor
    log_decay: Tensor | None = None
    bonus: Tensor | None = None
    initial_state: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, form: str = "naive", chunk_size: int | None = None) -> tuple[Tensor, Tensor]:
        return ops.linear_attention(
            self.q,
            self.k,
            self.v,
            self.log_decay,
            bonus=self.bonus,
            initial_state=self.initial_state,
            form=form,
            chunk_size=chunk_size,
            **self.options,
        )

    def tensors(self) -> dict[str, Tensor]:
        """The tensor arguments that are there, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def map(self, function) -> "Case":
        """The same call with `function(name, tensor)` in place of each tensor."""
        return replace(self, **{name: function(name, x) for name, x in self.tensors().items()})

    def to(self, dtype: torch.dtype) -> "Case":
        return self.map(lambda _, x: x.to(dtype))

    def tokens(self, start: int, stop: int, **changes: Any) -> "Case":
        """The same call on some of the tokens."""
        cut = {"q", "k", "v"} | (
            {"log_decay"} if self.log_decay is not None and self.log_decay.ndim > 1 else set()
        )
        return replace(self.map(lambda name, x: x[:, start:stop] if name in cut else x), **changes)


def case(
    length: int,
    decay: str = "none",
    read: str = "after",
    *,
    dtype: torch.dtype = torch.float64,
    normalise: bool = False,
    state: bool = True,
    scale: float = 1.0,
    batch: int = BATCH,
    heads: int = HEADS,
    features: int = FEATURES,
    values: int = VALUES,
    seed: int = 0,
) -> Case:
    """A random call: positive q and k, decays from weak to strong."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)

    shapes = {"head": (heads,), "token": (batch, length, heads), "feature": (batch, length, heads, features)}
    return Case(
        q=uniform(batch, length, heads, features) + 0.1,
        k=uniform(batch, length, heads, features) + 0.1,
        v=2 * uniform(batch, length, heads, values) - 1,
        log_decay=None if decay == "none" else -2 * uniform(*shapes[decay]) ** 3,
        bonus=uniform(heads, features) if read == "bonus" else None,
        initial_state=uniform(batch, heads, features, values + normalise) if state else None,
        options={"read": "after" if read == "after" else "before", "normalise": normalise, "scale": scale},
    )


def results(
    call: Case,
    form: str = "naive",
    chunk_size: int | None = None,
    *,
    of: str = "both",
    context: AbstractContextManager[object] | None = None,
) -> dict[str, Tensor]:
    """Outputs, final state, and every input's gradient for a loss `of` outputs, the final state, or both.

    The forward runs in `context`.
    """
    call = call.map(lambda _, x: x.detach().clone().requires_grad_())
    with context or nullcontext():
        o, final = call(form, chunk_size)
    generator = torch.Generator().manual_seed(1)
    pairs = [(o, "output"), (final, "state")]
    chosen = [x for x, name in pairs if of in (name, "both")]
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) for x, _ in pairs]
    weights = [w for w, (_, name) in zip(weights, pairs, strict=True) if of in (name, "both")]
    inputs = call.tensors()
    gradients = torch.autograd.grad(chosen, list(inputs.values()), weights, materialize_grads=True)
    named = {f"grad of {name}": gradient for name, gradient in zip(inputs, gradients, strict=True)}
    return {"o": o.detach(), "final state": final.detach(), **named}


def relative_error(actual: Tensor, expected: Tensor, least: float = 0.0) -> float:
    """RMS of the difference over RMS of the expectation, which counts as at least `least`."""
    if expected.numel() == 0:
        return 0.0
    difference = (actual.double() - expected.double()).square().mean().sqrt().item()
    size = max(expected.double().square().mean().sqrt().item(), least)
    return difference / size if difference else 0.0


def assert_equal(
    actual: dict[str, Tensor],
    expected: dict[str, Tensor],
    tolerance: float,
    *,
    least: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> None:
    """Every tensor within `tolerance`, relative, of the same shape, and of this dtype."""
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        assert tensor.shape == expected[name].shape, name
        assert tensor.dtype is dtype, name
        error = relative_error(tensor, expected[name], least)
        assert error <= tolerance, f"{name}: relative error {error:.2e} > {tolerance:.0e}"
