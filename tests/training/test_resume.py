"""An interrupted training, resumed, is the undisturbed one: weights bit for bit, rows, learning rates."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import toy_training
from toy_training import ToyTask, toy_run

from linsight.training import Interrupted, fit, read_metrics
from linsight.training.checkpoint import last_step, read_checkpoint

TIMES = ("seconds", "examples_per_second")


class Crash(Exception):
    """What no code of ours expects."""


class Disturbed(ToyTask):
    """Does something when the batch of a step is fetched, that is, after the step before it."""

    def __init__(self, config, at: int, action: Callable[[], None], start: int = 0) -> None:
        super().__init__(config)
        self.at, self.action, self.fetched = at, action, start

    def batch(self, indices, *, seed, epoch):
        self.fetched += 1
        if self.fetched == self.at:
            self.action()
        return super().batch(indices, seed=seed, epoch=epoch)


class SignalsOnSaving(ToyTask):
    """Sends a signal the first time that its model's weights are collected."""

    def __init__(self, config, number: int) -> None:
        super().__init__(config)
        self.number, self.sent = number, False

    def build_model(self):
        model = super().build_model()
        model.register_state_dict_pre_hook(self.send)
        return model

    def send(self, *_) -> None:
        if not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)


def crash() -> None:
    raise Crash


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def last_tensors(folder: Path) -> dict[str, torch.Tensor]:
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    return dict(read_checkpoint(newest).tensors)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    fit(toy_run(), folder, progress="none")
    return folder


def assert_same_run(folder: Path, undisturbed: Path) -> None:
    assert weights(folder) == weights(undisturbed)
    assert rows(folder) == rows(undisturbed)
    ours, theirs = last_tensors(folder), last_tensors(undisturbed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_reference_trains_and_repeats(tmp_path, undisturbed):
    """The same configuration gives the same bits; otherwise the tests below would prove nothing."""
    outcome = fit(toy_run(), tmp_path / "run", progress="none")
    assert (outcome.status, outcome.steps, outcome.skipped_steps) == ("trained", 12, 0)
    assert_same_run(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("at", range(1, 13))
def test_a_crash_at_any_step_changes_nothing(at, tmp_path, undisturbed):
    """A crash before step `at` loses the steps since the last checkpoint, which are then done again alike."""
    config = toy_run()
    with pytest.raises(Crash):
        fit(config, tmp_path, task=Disturbed(config.task, at, crash), progress="none")
    assert last_step(tmp_path / "checkpoints") == ((at - 1) // 4 * 4 or None)
    fit(config, tmp_path, progress="none")
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_prepared_ahead_change_nothing(workers, tmp_path, undisturbed):
    """Nor does a crash in a thread that is steps ahead: it is raised in the batch's own step."""
    config = toy_run(workers=workers)
    with pytest.raises(Crash):
        fit(config, tmp_path, task=Disturbed(config.task, 7, crash), progress="none")
    assert last_step(tmp_path / "checkpoints") == 4
    fit(config, tmp_path, progress="none")
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_checkpoints(number, tmp_path, undisturbed):
    """After Ctrl-C the run stands where it stopped, between two rows, and goes on from there exactly."""
    config, before = toy_run(), signal.getsignal(number)
    task = Disturbed(config.task, 6, lambda: os.kill(os.getpid(), number))
    with pytest.raises(
        Interrupted, match=r"interrupted after step [67]; the checkpoint of step \d is intact"
    ) as stopped:
        fit(config, tmp_path, task=task, progress="none")
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    step = last_step(tmp_path / "checkpoints")
    assert step in (6, 7)
    assert not (tmp_path / "model").exists()
    fit(config, tmp_path, progress="none")
    assert_same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_checkpoint_is_written(number, tmp_path, undisturbed):
    """It comes too late for this step, and is answered after the next one, with a checkpoint of that."""
    config = toy_run()
    with pytest.raises(Interrupted, match="interrupted after step 5; the checkpoint of step 5 is intact"):
        fit(config, tmp_path, task=SignalsOnSaving(config.task, number), progress="none")
    fit(config, tmp_path, progress="none")
    assert_same_run(tmp_path, undisturbed)


def test_a_signal_in_the_last_step_is_obeyed_too(tmp_path, undisturbed):
    """The model is written, but what would follow (evaluation, report) does not begin."""
    config = toy_run()
    task = Disturbed(config.task, 12, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="interrupted after step 12"):
        fit(config, tmp_path, task=task, progress="none")
    assert_same_run(tmp_path, undisturbed)
    assert fit(config, tmp_path, progress="none").status == "nothing to do"


def test_a_second_signal_stops_at_once(tmp_path, undisturbed):
    """Impatience is obeyed: no checkpoint is written, and the last one serves."""

    def twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    config = toy_run()
    with pytest.raises(Interrupted, match="stopped at once; the checkpoint of step 4 is intact"):
        fit(config, tmp_path, task=Disturbed(config.task, 6, twice), progress="none")
    assert last_step(tmp_path / "checkpoints") == 4
    fit(config, tmp_path, progress="none")
    assert_same_run(tmp_path, undisturbed)


def test_a_finished_run_has_nothing_to_do(tmp_path, capsys):
    """The second `fit` says so, builds nothing and changes no file."""
    fit(toy_run(2), tmp_path, progress="none")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"}
    outcome = fit(toy_run(2), tmp_path, progress="plain")
    assert outcome.status == "nothing to do"
    assert "all 2 steps are done, nothing to do" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != ".lock"} == before


def test_a_crash_between_the_last_checkpoint_and_the_model(tmp_path, undisturbed):
    """All steps done but no model written: it is written from the checkpoint, without training."""
    config = toy_run()
    fit(config, tmp_path, progress="none")
    (tmp_path / "model" / "model.safetensors").unlink()
    fit(config, tmp_path, task=Disturbed(config.task, 1, crash), progress="none")
    assert weights(tmp_path) == weights(undisturbed)


def test_the_learning_rate_goes_on_exactly(tmp_path):
    """Row by row, across a crash, the learning rate is the schedule's at that step."""
    config = toy_run(20, log_every=1, checkpoint_every=3)
    for at in (2, 8, 15):
        task = Disturbed(config.task, at, crash, start=last_step(tmp_path / "checkpoints") or 0)
        with pytest.raises(Crash):
            fit(config, tmp_path, task=task, progress="none")
    fit(config, tmp_path, progress="none")
    steps, rates = read_metrics(tmp_path / "metrics.csv")["learning_rate"]
    assert steps == list(range(1, 21))
    expected = [0.05 * config.training.schedule.factor(step, 20) for step in steps]
    assert rates == pytest.approx(expected, rel=1e-8)  # nine digits are written


def test_changed_data_are_refused(tmp_path):
    """A run never goes on with other examples than it began with."""
    config = toy_run()
    with pytest.raises(Crash):
        fit(config, tmp_path, task=Disturbed(config.task, 6, crash), progress="none")
    task = ToyTask(config.task)
    task.x = task.x + 1
    with pytest.raises(RuntimeError, match="data loader: the saved run has fingerprint"):
        fit(config, tmp_path, task=task, progress="none")


@pytest.mark.slow
def test_kill_9_in_an_epoch_and_ctrl_c_from_outside(tmp_path):
    """A real `kill -9`, then a real Ctrl-C (exit code 130), then the rest: the undisturbed weights."""
    steps, pause = 60, 0.02
    command = [sys.executable, toy_training.__file__, str(tmp_path / "run"), str(steps), str(pause)]

    process = _start(command)
    _wait_for_step(tmp_path / "run", 14, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    killed_at = last_step(tmp_path / "run" / "checkpoints")
    assert killed_at < steps

    process = _start(command)
    _wait_for_step(tmp_path / "run", killed_at + 7, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted after step" in said.splitlines()[-1]
    assert "ended without releasing it, is taken over" in said
    assert f"resumed after step {killed_at}" in said
    assert last_step(tmp_path / "run" / "checkpoints") < steps

    config = toy_run(steps, pause_seconds=pause, checkpoint_every=7)
    fit(config, tmp_path / "run", progress="none")
    fit(config, tmp_path / "other", progress="none")
    assert_same_run(tmp_path / "run", tmp_path / "other")


def _start(command: list[str]) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def _wait_for_step(folder: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while (last_step(folder / "checkpoints") or 0) < step:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "the training is too slow"
        time.sleep(0.01)
