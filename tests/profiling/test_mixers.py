"""Costs of mixers: what is measured of which, and what is left out."""

import pytest
import torch
from torch import nn

from linsight import mixers
from linsight.profiling import Timing, measure, measure_costs


def test_every_cost_of_every_length_is_there():
    modules = {
        "linear": mixers.build("linear", dim=16, heads=2),
        "both": mixers.build("linear", dim=16, heads=2, causal=False),
        "plain": nn.Linear(16, 16),
    }
    linear, both, plain = measure_costs(lambda _: modules, 16, (4, 9), seconds=0.0)
    for costs in (linear, both, plain):
        assert costs.lengths == (4, 9)
        for values in (costs.forward_ms, costs.training_ms):
            assert len(values) == 2
            assert all(value > 0 for value in values)
        for values in (costs.forward_bytes, costs.training_bytes):
            assert values[1] > values[0]
    assert all(value > 0 for value in linear.step_ms)
    assert linear.state_bytes == [modules["linear"].state_size(n) for n in (4, 9)]
    for costs in (both, plain):
        assert costs.step_ms == costs.state_bytes == [None, None]


def test_a_plain_layers_memory_is_its_output():
    (found,) = measure_costs(lambda _: {"layer": nn.Linear(16, 16)}, 16, (4, 8, 16), seconds=0.0)
    assert found.forward_bytes == [4 * 16 * length for length in (4, 8, 16)]


def test_modules_may_depend_on_the_length():
    (found,) = measure_costs(lambda n: {"layer": nn.Linear(4, n)}, 4, (4, 8, 16), seconds=0.0)
    assert found.forward_bytes == [4 * length**2 for length in (4, 8, 16)]


class Watched(nn.Identity):
    """Knows the lengths it was called with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.shape[1])
        return super().forward(x)


def test_what_takes_too_long_is_left_out_of_longer_ones(monkeypatch):
    """By a clock that says so: what this machine takes decides no test."""

    def clock(calls, **_):
        for call in calls.values():
            call()
        return {name: Timing(2e3 if name == "slow" else 1.0, 1.0, 1) for name in calls}

    monkeypatch.setattr("linsight.profiling.mixers.measure", clock)
    slow, quick = Watched(), Watched()
    found = measure_costs(lambda _: {"slow": slow, "quick": quick}, 4, (2, 3, 4), limit=1.0)
    assert set(slow.seen) == {2}
    assert set(quick.seen) == {2, 3, 4}
    assert found[0].forward_ms == [2e3, None, None]
    assert found[0].training_bytes[1:] == [None, None]
    assert found[1].forward_ms == [1.0, 1.0, 1.0]


def test_a_step_goes_on_from_the_state_of_the_last():
    """A state that is continued twice may have to be copied, which no decoding does."""
    mixer = mixers.build("softmax", dim=8, heads=2)
    positions = []
    forward = mixer.forward

    def spy(x, state=None, lengths=None):
        if state is not None:
            positions.append(int(state.position))
        return forward(x, state, lengths)

    mixer.forward = spy
    measure_costs(lambda _: {"softmax": mixer}, 8, (5,), seconds=0.0)
    assert positions == list(range(5, 5 + len(positions)))
    assert len(positions) >= 3


def test_candidates_take_turns():
    order = []
    found = measure(
        {name: lambda name=name: order.append(name) for name in "ab"}, seconds=0.0, least=3, most=9
    )
    assert order == ["a", "a", "b", "b"] + ["a", "b"] * 3
    assert found["a"].repeats == 3
    assert found["a"].minimum <= found["a"].median


def test_gradients_are_of_the_input_and_of_every_parameter():
    layer = nn.Linear(4, 4)
    measure_costs(lambda _: {"layer": layer}, 4, (2,), seconds=0.0)
    assert all(parameter.grad is None for parameter in layer.parameters())
    with torch.no_grad(), pytest.raises(RuntimeError):
        measure_costs(lambda _: {"layer": layer}, 4, (2,), seconds=0.0)
