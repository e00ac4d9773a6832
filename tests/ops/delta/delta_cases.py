"""Calls of the delta rules, their results with all gradients, and what numpy makes of the equations."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from linsight import ops

DECAYS = ("none", "token", "feature")
RULES = ("delta", "dplr")
FORMS = (("recurrent", None), ("chunk", 1), ("chunk", 9), ("chunk", 32), ("chunk", 128), ("auto", None))
LENGTHS = (1, 2, 8, 9, 10, 31, 32, 33, 103)
TOKENS = ("q", "k", "v", "beta", "a", "b", "log_decay")


@dataclass(frozen=True)
class Case:
    """The arguments of one call: with `beta` of `delta_rule`, else of `dplr_delta_rule`."""

    q: Tensor
    k: Tensor
    v: Tensor
    beta: Tensor | None = None
    a: Tensor | None = None
    b: Tensor | None = None
    log_decay: Tensor | None = None
    initial_state: Tensor | None = None

    def __call__(self, form: str = "naive", chunk_size: int | None = None) -> tuple[Tensor, Tensor]:
        options = {"initial_state": self.initial_state, "form": form, "chunk_size": chunk_size}
        if self.beta is not None:
            return ops.delta_rule(self.q, self.k, self.v, self.beta, self.log_decay, scale=0.7, **options)
        return ops.dplr_delta_rule(
            self.q, self.k, self.v, self.a, self.b, self.log_decay, scale=0.7, **options
        )

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are there, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def map(self, function) -> "Case":
        """The same call with `function(name, tensor)` in place of each tensor."""
        return replace(self, **{name: function(name, x) for name, x in self.tensors().items()})

    def to(self, dtype: torch.dtype) -> "Case":
        return self.map(lambda _, x: x.to(dtype))

    def tokens(self, start: int, stop: int, **changes) -> "Case":
        """The same call on some of the tokens."""
        return replace(self.map(lambda name, x: x[:, start:stop] if name in TOKENS else x), **changes)


def case(
    rule: str,
    length: int,
    decay: str = "none",
    *,
    dtype: torch.dtype = torch.float64,
    state: bool = True,
    batch: int = 2,
    heads: int = 3,
    features: int = 5,
    values: int = 4,
    seed: int = 0,
) -> Case:
    """A random call whose keys have length 1 and whose free vectors keep the state from growing."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    def unit(*shape: int) -> Tensor:
        return torch.nn.functional.normalize(normal(*shape), dim=-1)

    shape = (batch, length, heads)
    extra = {"beta": normal(*shape).sigmoid()}
    if rule == "dplr":
        extra = {"a": unit(*shape, features), "b": -0.7 * unit(*shape, features)}
    sizes = {"token": shape, "feature": (*shape, features)}
    return Case(
        q=normal(*shape, features),
        k=unit(*shape, features),
        v=normal(*shape, values),
        log_decay=None if decay == "none" else -2 * normal(*sizes[decay]).sigmoid() ** 3,
        initial_state=normal(batch, heads, features, values) if state else None,
        **extra,
    )


def defined(call: Case) -> tuple[Tensor, Tensor]:
    """The equations in numpy, token by token, as dense transitions of a state V x K."""
    given = {name: x.double().numpy() for name, x in call.tensors().items()}
    q, k, v = given["q"], given["k"], given["v"]
    batch, length, heads, features = q.shape
    outputs = np.zeros(v.shape)
    final = np.zeros((batch, heads, features, v.shape[-1]))
    identity = np.eye(features)
    for row in range(batch):
        for head in range(heads):
            memory = given["initial_state"][row, head].T if "initial_state" in given else final[row, head].T
            for t in range(length):
                at = (row, t, head)
                decay = np.zeros(features)
                if "log_decay" in given:
                    decay = decay + given["log_decay"][at]
                decay = np.diag(np.exp(decay))
                if "beta" in given:
                    beta = given["beta"][at]
                    memory = memory @ decay @ (identity - beta * np.outer(k[at], k[at]))
                    memory = memory + beta * np.outer(v[at], k[at])
                else:
                    memory = memory @ (decay + np.outer(given["a"][at], given["b"][at]))
                    memory = memory + np.outer(v[at], k[at])
                outputs[at] = 0.7 * memory @ q[at]
            final[row, head] = memory.T
    return torch.from_numpy(outputs), torch.from_numpy(final)


def results(
    call: Case, form: str = "naive", chunk_size: int | None = None, *, of: str = "both"
) -> dict[str, Tensor]:
    """Outputs, final state, and every input's gradient for a loss `of` outputs, the final state, or both."""
    call = call.map(lambda _, x: x.detach().clone().requires_grad_())
    pairs = dict(zip(("output", "state"), call(form, chunk_size), strict=True))
    generator = torch.Generator().manual_seed(1)
    weights = {
        name: torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)
        for name, x in pairs.items()
    }
    chosen = [name for name in pairs if of in (name, "both")]
    inputs = call.tensors()
    gradients = torch.autograd.grad(
        [pairs[name] for name in chosen],
        list(inputs.values()),
        [weights[name] for name in chosen],
        materialize_grads=True,
    )
    named = {f"grad of {name}": gradient for name, gradient in zip(inputs, gradients, strict=True)}
    return {**{name: x.detach() for name, x in pairs.items()}, **named}


def assert_equal(
    actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float, least: float = 0.0
) -> None:
    """Every tensor within `tolerance`, RMS over RMS, which counts as at least `least`; of the same shape."""
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        want = expected[name].double()
        assert tensor.shape == want.shape, name
        if want.numel():
            difference = (tensor.double() - want).square().mean().sqrt().item()
            size = max(want.square().mean().sqrt().item(), least)
            assert difference <= tolerance * size, f"{name}: {difference:.2e} of {size:.2e}"
