"""The reference of Adam and AdamW, and torch's own: one equation, in every variant that both have."""

import pytest
import torch

from linsight.optim import Moments, adam_step

SHAPES = ((3, 4), (5,))
VARIANTS = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled": False},
    {"amsgrad": True, "weight_decay": 0.1},
    {"amsgrad": True, "weight_decay": 0.1, "decoupled": False},
    {"maximize": True, "weight_decay": 0.1},
    {"maximize": True, "weight_decay": 0.1, "decoupled": False},
    {"betas": (0.5, 0.7), "eps": 1e-2},
]


def gradients(step):
    generator = torch.Generator().manual_seed(step)
    scale = 10.0 ** (step % 5 - 2)
    return [scale * torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def weights():
    generator = torch.Generator().manual_seed(99)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def by_reference(steps=200, **options):
    found = [(p, Moments.zeros_like(p)) for p in weights()]
    for step in range(steps):
        pairs = zip(found, gradients(step), strict=True)
        found = [adam_step(p, g, state, lr=1e-2, **options) for (p, state), g in pairs]
    return [p for p, _ in found]


def by_torch(make, steps=200, **options):
    parameters = [torch.nn.Parameter(p) for p in weights()]
    optimizer = make(parameters, lr=1e-2, **options)
    for step in range(steps):
        for parameter, gradient in zip(parameters, gradients(step), strict=True):
            parameter.grad = gradient
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def distance(one, other):
    return max((p - q).abs().max().item() for p, q in zip(one, other, strict=True))


@pytest.mark.parametrize("how", [{"foreach": False}, {"foreach": True}, {"fused": True}], ids=str)
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_200_steps_are_those_of_torch(options, how):
    """Gradients of five scales from 0.01 to 100; the tolerance is what rounding of weights near 3 sums to."""
    make = torch.optim.AdamW if options.get("decoupled", True) else torch.optim.Adam
    given = {name: value for name, value in options.items() if name != "decoupled"}
    given = {"weight_decay": 0.0, **given}
    assert distance(by_reference(**options), by_torch(make, **given, **how)) < 1e-14


def test_decay_makes_the_two_differ_and_nothing_else_does():
    assert distance(by_reference(), by_reference(decoupled=False)) == 0
    decayed = {"weight_decay": 0.1}
    assert distance(by_reference(**decayed), by_reference(**decayed, decoupled=False)) > 0.1


def test_the_first_step_has_the_size_of_the_learning_rate_whatever_the_gradient():
    """m / (1 - b1) = g and v / (1 - b2) = g^2 at t = 1: the step is lr g / (|g| + eps)."""
    g = torch.tensor([1e-3, -5.0, 400.0], dtype=torch.float64)
    p, state = adam_step(torch.zeros_like(g), g, Moments.zeros_like(g), lr=0.1)
    torch.testing.assert_close(p, -0.1 * g / (g.abs() + 1e-8), rtol=1e-12, atol=0)
    assert state.steps == 1
