"""Adam and SGD behind our groups: torch's steps, and decays that are part of the gradient."""

from typing import get_args

import pytest
import torch
from torch import nn

from linsight.optim import AdamConfig, AdamWConfig, SGDConfig, describe, implementation
from linsight.optim.groups import Decoupled, check_numbers


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)).double()


def train(model, optimizer, steps=20):
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        optimizer.step()
    return list(model.parameters())


def groups(model, decay):
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("config", "make"),
    [
        (AdamConfig(lr=0.01, weight_decay=3.0, amsgrad=True), (torch.optim.Adam, {"amsgrad": True})),
        (SGDConfig(lr=0.01, weight_decay=3.0), (torch.optim.SGD, {"momentum": 0.9})),
        (
            SGDConfig(lr=0.01, weight_decay=3.0, nesterov=True),
            (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ),
    ],
    ids=str,
)
def test_the_steps_are_torchs_with_matrices_alone_decayed(config, make, fused):
    """A decay of 3 with a rate of 0.01 is legal here: it shortens nothing by itself."""
    kind, options = make
    ours, theirs = network(), network()
    train(ours, type(config)(**{**vars(config), "fused": fused}).build(ours))
    train(theirs, kind(groups(theirs, 3.0), lr=0.01, fused=fused, **options))
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, two)


def test_without_decay_adam_is_adamw_bit_for_bit_and_with_it_not():
    for decay, same in ((0.0, True), (0.1, False)):
        one, two = network(), network()
        train(one, AdamConfig(weight_decay=decay).build(one))
        train(two, AdamWConfig(weight_decay=decay).build(two))
        pairs = list(zip(one.parameters(), two.parameters(), strict=True))
        assert all(torch.equal(p, q) for p, q in pairs) == same


def test_the_header_names_them_and_promises_no_time_of_forgetting():
    """A decoupled decay takes 1 / (lr decay) steps; a coupled one, what the gradients make of it."""
    for config, name in ((AdamConfig(weight_decay=0.1), "adam"), (SGDConfig(weight_decay=0.1), "sgd")):
        model = network()
        optimizer = config.build(model)
        assert implementation(optimizer) == f"{name}: fused"
        assert describe(optimizer.param_groups, model).splitlines()[1].split()[-1] == "-"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGDConfig(momentum=1.0), "momentum: expected a number in"),
        (lambda: SGDConfig(momentum=0.0, nesterov=True), "nesterov: expected False"),
        (lambda: SGDConfig(lr=-1.0), "lr: expected a finite number"),
        (lambda: AdamConfig(weight_decay=-0.1), "weight_decay: expected a finite number"),
        (lambda: AdamConfig(eps=0.0), "eps: expected a finite number"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_decoupled_decay_refuses_the_mode_of_a_coupled_one():
    """`l2` is a mode of `param_groups`, and would leave a decoupled decay without the bound of a step."""
    check_numbers(1e-3, 0.1, "l2")
    with pytest.raises(ValueError, match="wd_mode: expected one of torch, paper, got 'l2'"):
        check_numbers(1e-3, 0.1, "l2", modes=get_args(Decoupled))
