"""Schedules: the stated curve from step 1 to the last, refused when it cannot fit, continued exactly."""

import math
from typing import Annotated

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter
from torch import nn

from linsight.optim import (
    AdamWConfig,
    ConstantConfig,
    InverseSqrtConfig,
    Rule,
    Schedule,
    ScheduleConfig,
    WarmupCosineConfig,
    WSDConfig,
)

ALL = [
    ConstantConfig(),
    WarmupCosineConfig(),
    WarmupCosineConfig(warmup_steps=5, final=0.0),
    WSDConfig(),
    WSDConfig(warmup_steps=4, decay_fraction=0.5),
    InverseSqrtConfig(),
    InverseSqrtConfig(warmup_steps=6),
]


def curve(schedule: Schedule, total: int) -> list[float]:
    return [schedule.factor(step, total) for step in range(1, total + 1)]


def test_warmup_cosine_by_hand():
    """w = 2 of 6: 1/2, 1, then cos at quarters of a half turn between 1 and 0.2."""
    expected = [0.5, 1.0, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - math.sqrt(0.5)), 0.2]
    assert curve(WarmupCosineConfig(warmup_steps=2, final=0.2), 6) == pytest.approx(expected, abs=1e-15)


def test_wsd_by_hand():
    """w = 2 and d = 4 of 8."""
    expected = [0.5, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    assert curve(WSDConfig(warmup_steps=2, decay_fraction=0.5), 8) == expected


def test_inverse_sqrt_by_hand():
    expected = [0.5, 1.0, math.sqrt(2 / 3), math.sqrt(0.5)]
    assert curve(InverseSqrtConfig(warmup_steps=2), 4) == pytest.approx(expected, abs=1e-15)


def test_constant_is_1():
    assert curve(ConstantConfig(), 3) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("total", "warmup"), [(1, 1), (50, 1), (51, 2), (100, 2), (1000, 20)])
def test_the_default_warmup_is_2_percent_rounded_up(total: int, warmup: int):
    for schedule in (WarmupCosineConfig(final=0.5), InverseSqrtConfig(), WSDConfig(decay_fraction=0.0)):
        factors = curve(schedule, total)
        assert factors.index(1.0) + 1 == warmup
        assert factors[0] == 1 / warmup


@pytest.mark.parametrize("schedule", [WarmupCosineConfig(warmup_steps=0), WSDConfig(warmup_steps=0)])
def test_no_warmup_begins_at_the_top(schedule: Schedule):
    assert schedule.factor(1, 1000) == pytest.approx(1.0, abs=1e-5)


@given(
    schedule=st.sampled_from(ALL),
    total=st.integers(12, 5000),
    step=st.integers(1, 6000),
)
def test_a_factor_is_between_0_and_1_never_0_before_the_last_step_and_kept_after_it(
    schedule: Schedule, total: int, step: int
):
    factor = schedule.factor(step, total)
    assert 0 <= factor <= 1
    assert factor > 0 or step >= total
    if step > total:
        assert factor == schedule.factor(total, total)


@settings(max_examples=40)
@given(total=st.integers(12, 300), schedule=st.sampled_from(ALL))
def test_a_curve_rises_to_1_and_never_rises_again(total: int, schedule: Schedule):
    factors = curve(schedule, total)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


@pytest.mark.parametrize(
    ("schedule", "total", "message"),
    [
        (ConstantConfig(), 0, "total: expected at least 1 optimiser step, got 0"),
        (WarmupCosineConfig(), -3, "total: expected at least 1"),
        (WarmupCosineConfig(warmup_steps=11), 10, "11 warm-up steps do not fit into a total of 10 steps"),
        (InverseSqrtConfig(warmup_steps=11), 10, "11 warm-up steps do not fit"),
        (
            WSDConfig(warmup_steps=6, decay_fraction=0.5),
            10,
            "6 warm-up and 5 decay steps do not fit into a total of 10",
        ),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused_when_read_and_when_built(
    schedule: Schedule, total: int, message: str
):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match=message):
        schedule.factor(1, total)
    with pytest.raises(ValueError, match=message):
        schedule.build(optimizer, total)


def test_steps_count_from_1():
    with pytest.raises(ValueError, match=r"step: expected an integer >= 1 \(steps count from 1\), got 0"):
        ConstantConfig().factor(0, 10)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WarmupCosineConfig(warmup_steps=-1), "warmup_steps: expected an integer >= 0"),
        (lambda: WarmupCosineConfig(final=1.5), r"final: expected a number in \[0, 1\], got 1\.5"),
        (lambda: WSDConfig(decay_fraction=-0.1), r"decay_fraction: expected a number in \[0, 1\]"),
        (lambda: WSDConfig(warmup_steps=-1), "warmup_steps: expected an integer >= 0"),
        (lambda: InverseSqrtConfig(warmup_steps=0), "warmup_steps: expected an integer >= 1"),
    ],
)
def test_values_out_of_range_are_refused(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()


def test_kinds_tell_the_schedules_apart_in_json():
    adapter = TypeAdapter(Annotated[ScheduleConfig, Field(discriminator="kind")])
    for schedule in ALL:
        assert adapter.validate_json(adapter.dump_json(schedule), strict=True) == schedule


def start(schedule: Schedule, total: int):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    optimizer = AdamWConfig(lr=0.01, weight_decay=0.1, rules=(Rule("1.*", lr_scale=0.5),)).build(model)
    return model, optimizer, schedule.build(optimizer, total)


def go_on(model, optimizer, scheduler, steps: range) -> list[list[float]]:
    rates = []
    for step in steps:
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_every_group_follows_the_curve_from_its_own_learning_rate(schedule: Schedule):
    model, optimizer, scheduler = start(schedule, 20)
    base = [0.01 * group["lr_scale"] for group in optimizer.param_groups]
    rates = go_on(model, optimizer, scheduler, range(20))
    assert rates == [[lr * factor for lr in base] for factor in curve(schedule, 20)]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_a_run_stopped_at_any_of_20_steps_continues_the_exact_curve_to_the_same_weights(schedule: Schedule):
    whole = start(schedule, 20)
    rates = go_on(*whole, range(20))
    for stop in range(20):
        model, optimizer, scheduler = start(schedule, 20)
        go_on(model, optimizer, scheduler, range(stop))
        resumed = start(schedule, 20)
        for part, saved in zip(resumed, (model, optimizer, scheduler), strict=True):
            part.load_state_dict(saved.state_dict())
        assert go_on(*resumed, range(stop, 20)) == rates[stop:]
        assert all(
            torch.equal(p, q) for p, q in zip(resumed[0].parameters(), whole[0].parameters(), strict=True)
        )
