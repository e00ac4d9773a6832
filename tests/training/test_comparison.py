"""A comparison loses nothing: not what is done when a member fails, no step of one that was stopped."""

from dataclasses import replace

import pytest
import torch

from linsight.tasks.exhibits import Evaluation
from linsight.training import PRESETS, load_run
from linsight.training.comparison import compared
from linsight.training.members import Member


def member(name, **changes):
    config = PRESETS["recall"]["tiny"]()
    training = replace(config.training, steps=3, batch_size=2, validate_every=2, **changes)
    task = replace(config.task, validate_sequences=2)
    return Member(name, "linear", 0, replace(config, task=task, training=training))


@pytest.fixture
def compare(tmp_path):
    """Compare members; returns the results, and which were evaluated in this call."""

    def run(*members, broken=()):
        evaluated, said = [], []

        def evaluate(run):
            if run.folder.name in broken:
                raise RuntimeError("no room\nleft")
            evaluated.append(run.folder.name)
            assert (run.model / "model.safetensors").exists()
            return Evaluation("test", {"accuracy": 0.5})

        found = list(compared(members, tmp_path, evaluate, progress="none", say=said.append))
        return found, evaluated, said

    return run


def test_what_is_done_is_not_done_again(compare):
    first, evaluated, _ = compare(member("a"), member("b"))
    assert evaluated == ["a", "b"]
    again, evaluated, said = compare(member("a"), member("b"), member("c"))
    assert evaluated == ["c"]
    assert said == ["c (3 of 3)"]
    assert again[:2] == first


def test_a_member_that_fails_loses_no_other_and_is_tried_again(compare):
    found, evaluated, said = compare(member("a"), member("b"), member("c"), broken=["b"])
    assert evaluated == ["a", "c"]
    assert [result.error for result in found] == ["", "RuntimeError: no room left", ""]
    assert found[1].metrics is None
    assert "b failed: no room left" in said
    found, evaluated, _ = compare(member("a"), member("b"), member("c"))
    assert evaluated == ["b"]
    assert [result.error for result in found] == ["", "", ""]


def test_a_diverging_member_is_told(compare, monkeypatch):
    from linsight.tasks.recall import RecallTask

    def loss(self, model, batch):
        return torch.tensor(float("nan"), requires_grad=True), {}

    monkeypatch.setattr(RecallTask, "loss", loss)
    (found,), _, _ = compare(member("a"))
    assert found.error.startswith("RuntimeError: the loss is nan at step 1")


def test_a_member_that_was_begun_goes_on_as_it_was_begun(compare, tmp_path):
    """Its steps stand in its folder, whatever a second timing would say."""
    found, _, _ = compare(member("a"), broken=["a"])
    other = member("a")
    other = replace(other, config=replace(other.config, training=replace(other.config.training, steps=9)))
    (found,), _, _ = compare(other)
    assert found.steps == 3
    assert load_run(tmp_path / "a").config.training.steps == 3


def test_a_result_has_its_costs_and_its_history(compare):
    (found,), _, _ = compare(member("a"))
    assert found.parameters > 0
    assert found.state_bytes > 0
    assert found.step_bytes > 0
    assert found.seconds > 0
    assert found.metrics == {"accuracy": 0.5}
    steps, values = found.history["valid/accuracy"]
    assert list(steps) == [2, 3]
    assert len(values) == 2
