"""Members of a comparison: their sizes, and what a budget makes of them."""

from dataclasses import replace

import pytest

from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig, Stack, TokenModelConfig
from linsight.optim import AdamWConfig
from linsight.tasks.recall import RecallConfig
from linsight.training import PRESETS, RunConfig, TrainingConfig
from linsight.training.members import fitted, matched, measured_size, resized


def run(kind="linear", **options):
    sequence = SequenceConfig(dim=32, layers=2, mlp_dim=64, mixers=(mixer(kind, **options),))
    task = RecallConfig(model=TokenModelConfig(vocabulary=65, max_length=64, sequence=sequence))
    training = TrainingConfig(steps=40, batch_size=4, optimizer=AdamWConfig())
    return RunConfig(version=RunConfig.VERSION, task=task, training=training)


@pytest.mark.parametrize("kind", ["linear", "softmax", "gau"])
def test_the_size_is_that_of_the_model(kind):
    config = run(kind)
    model = config.task.model.build()
    (stack,) = (module for module in model.modules() if isinstance(module, Stack))
    found = measured_size(config)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.state_bytes == stack.state_size(64)


def test_another_width_keeps_the_proportion_and_all_else():
    wide = resized(run(), 96)
    stack = wide.task.model.sequence
    assert (stack.dim, stack.mlp_dim, stack.layers) == (96, 192, 2)
    assert resized(wide, 32) == run()


@pytest.mark.parametrize("target", [30_000, 60_000, 200_000])
@pytest.mark.parametrize("kind", ["linear", "flash"])
def test_matched_members_have_nearly_as_many_parameters(kind, target):
    """Within half of what one unit of the width, or one layer, has."""
    config = run(kind)
    found = matched(config, target)
    name = "layers" if kind == "flash" else "mlp_dim"
    stack = found.task.model.sequence
    value = getattr(stack, name)

    def parameters(other):
        model = replace(found.task.model, sequence=replace(stack, **{name: other}))
        return measured_size(replace(found, task=replace(found.task, model=model))).parameters

    ours = abs(parameters(value) - target)
    assert ours <= abs(parameters(value + 1) - target)
    assert value == 1 or ours <= abs(parameters(value - 1) - target)
    assert replace(stack, **{name: getattr(config.task.model.sequence, name)}) == config.task.model.sequence


def test_a_pyramid_has_no_one_width_to_change():
    pyramid = PRESETS["segment"]["tiny"]()
    with pytest.raises(ValueError, match="sizes: expected a model of one width, got stages of 8, 16"):
        resized(pyramid, 16)
    with pytest.raises(ValueError, match="budget: expected a model of one width"):
        matched(pyramid, 1000)


def test_a_budget_of_seconds_becomes_steps_and_the_warm_up_keeps_its_share():
    config = run()
    schedule = replace(config.training.schedule, warmup_steps=10)
    config = replace(config, training=replace(config.training, schedule=schedule))
    found = fitted(config, 0.5)
    assert found.training.steps >= 2
    assert found.training.schedule.warmup_steps == pytest.approx(found.training.steps / 4, abs=1)
    assert fitted(config, 1e-9).training.steps == 2
    assert replace(found, training=config.training) == config
