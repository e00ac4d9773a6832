"""The table of groups: what a user reads before a run starts."""

import math

import pytest
from torch import nn

from linsight.optim import AdamWConfig, Rule, WarmupCosineConfig, describe, param_groups, rows


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(100, 20), nn.LayerNorm(20), nn.Linear(20, 5), nn.Linear(5, 2))
    model[3].requires_grad_(False)
    return model


def test_the_table_by_hand():
    model = network()
    groups = param_groups(model, lr=1e-3, weight_decay=0.1, rules=(Rule("2.weight", lr_scale=0.1),))
    assert describe(groups, model).splitlines() == [
        "group          tensors  scalars      lr  decay  EMA steps",
        "decay                1    2,000   0.001    0.1     10,000",
        "no_decay             4       65   0.001      0          -",
        "decay_lr_x0.1        1      100  0.0001    0.1    100,000",
        "frozen: 2 (12 scalars)",
    ]


def test_tied_tensors_are_listed_and_no_frozen_ones_are_zero():
    model = nn.Sequential(nn.Embedding(3, 3), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    lines = describe(param_groups(model, lr=1e-3, weight_decay=0.1), model).splitlines()
    assert lines[-2:] == ["tied: 0.weight = 1.weight", "frozen: 0"]


@pytest.mark.parametrize("weight_decay", [1e-4, 3e-3])
def test_the_time_scale_in_paper_mode_is_1_over_lambda_in_every_group(weight_decay: float):
    rules = (Rule("2.weight", lr_scale=0.1),)
    table = rows(param_groups(network(), lr=1e-3, weight_decay=weight_decay, wd_mode="paper", rules=rules))
    times = [row.ema_steps for row in table if row.weight_decay]
    assert len(times) == 2
    assert times == pytest.approx([1 / weight_decay] * 2, rel=1e-12)


def test_a_constant_target_is_reached_to_1_over_e_after_the_printed_number_of_steps():
    """What the column means: with step s = 1 - p, p grows as 1 - (1 - lr wd)^t."""
    (row,) = rows(param_groups(nn.Linear(2, 2, bias=False), lr=1e-3, weight_decay=0.5))
    remaining = (1 - row.lr * row.weight_decay) ** row.ema_steps
    assert remaining == pytest.approx(math.exp(-1), abs=1e-3)


def test_a_running_schedule_does_not_change_what_the_table_says():
    model = network()
    optimizer = AdamWConfig(lr=1e-3, weight_decay=0.1).build(model)
    before = describe(optimizer.param_groups, model)
    WarmupCosineConfig(warmup_steps=10).build(optimizer, 100)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert describe(optimizer.param_groups, model) == before


def test_without_decay_the_time_is_infinite():
    (row,) = rows(param_groups(nn.Linear(2, 2), lr=1e-3, weight_decay=0.0))
    assert (row.name, row.tensors, row.scalars, row.ema_steps) == ("no_decay", 2, 6, math.inf)
