"""What goes wrong during training stops it in one line, and nothing that was saved is lost."""

import contextlib
import json
import math
import threading
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from toy_training import ToyTask, largest_file, toy_run

from linsight.training import fit, open_run, read_metrics
from linsight.training.batches import make_loader
from linsight.training.checkpoint import last_step, read_checkpoint
from linsight.training.files import digest_tensors


class Poisoned(ToyTask):
    """Its loss is multiplied by a factor at step `at`."""

    def __init__(self, config, factor: float, at: int) -> None:
        super().__init__(config)
        self.factor, self.at, self.calls = factor, at, 0

    def loss(self, model, batch):
        loss, logs = super().loss(model, batch)
        self.calls += 1
        return loss * self.factor if self.calls == self.at else loss, logs


class HugeGradient(torch.autograd.Function):
    """The identity, whose gradient is infinite."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


class Exploding(ToyTask):
    """Finite losses with infinite gradients at some steps."""

    def __init__(self, config, steps) -> None:
        super().__init__(config)
        self.steps, self.calls = steps, 0

    def loss(self, model, batch):
        loss, logs = super().loss(model, batch)
        self.calls += 1
        return HugeGradient.apply(loss) if self.calls in self.steps else loss, logs


def good_files(folder: Path) -> list[int]:
    return [read_checkpoint(path).step for path in sorted((folder / "checkpoints").iterdir())]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_once(value, tmp_path):
    """Step, epoch, examples, the checkpoint that is kept, and what to try; the bad step changed nothing."""
    config = toy_run()
    loader = make_loader(ToyTask(config.task), config.training)
    examples = ", ".join(str(index) for index in loader.indices(6))
    with pytest.raises(RuntimeError, match="the loss is") as stopped:
        fit(config, tmp_path, task=Poisoned(config.task, value, at=7), progress="none")
    assert str(stopped.value) == (
        f"the loss is {value} at step 7 (epoch 1, examples {examples}); the checkpoint of step 4 is intact; "
        "in a new run try a lower learning rate, a longer warm-up, or precision float32"
    )
    assert good_files(tmp_path) == [4]
    assert fit(config, tmp_path, progress="none").status == "trained"


def test_a_gradient_that_is_not_finite_skips_the_step(tmp_path):
    """The weights of the step before stay, the step is counted, training goes on."""
    config = toy_run(3, log_every=1, checkpoint_every=1, keep=3)
    outcome = fit(config, tmp_path, task=Exploding(config.task, {2}), progress="none")
    assert outcome.skipped_steps == 1
    one, two, three = (read_checkpoint(path) for path in sorted((tmp_path / "checkpoints").iterdir()))
    trained = [name for name in one.tensors if name.startswith(("model/first", "model/head", "optimizer/"))]
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in trained)
    assert not all(torch.equal(two.tensors[name], three.tensors[name]) for name in trained)
    assert read_metrics(tmp_path / "metrics.csv")["skipped_steps"] == ([1, 2, 3], [0.0, 1.0, 1.0])
    assert not math.isfinite(read_metrics(tmp_path / "metrics.csv")["gradient_norm"][1][1])


def test_ten_such_gradients_in_a_row_stop_the_training(tmp_path):
    """Nine are survived and forgotten after a good one; ten are not."""
    config = toy_run(24, checkpoint_every=100)
    nine = {*range(2, 11), *range(12, 21)}
    fit(config, tmp_path / "nine", task=Exploding(config.task, nine), progress="none")
    message = r"the gradient's norm is (nan|inf) at step 22, for the 10th step in a row"
    with pytest.raises(RuntimeError, match=message):
        fit(config, tmp_path / "ten", task=Exploding(config.task, range(13, 24)), progress="none")


def test_skipped_steps_in_a_row_are_counted_across_a_resume(tmp_path):
    """The count is in the checkpoint: a loop of crash and resume does not hide a broken model."""
    config = toy_run(24)
    with pytest.raises(RuntimeError, match="the loss is nan at step 9"):
        fit(config, tmp_path, task=Both(config.task), progress="none")
    assert last_step(tmp_path / "checkpoints") == 8
    with pytest.raises(RuntimeError, match="at step 11, for the 10th step in a row"):
        fit(config, tmp_path, task=Exploding(config.task, range(1, 99)), progress="none")


class Both(Exploding):
    """Infinite gradients from step 2, and then a loss that is NaN."""

    def __init__(self, config) -> None:
        super().__init__(config, range(2, 9))

    def loss(self, model, batch):
        loss, logs = super().loss(model, batch)
        return loss * float("nan") if self.calls == 9 else loss, logs


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "text"])
def test_a_damaged_newest_checkpoint_is_set_aside_and_named(damage, tmp_path, capsys):
    """The one before serves, to the same weights; what was damaged is kept under another name."""
    config = toy_run()
    fit(config, tmp_path / "good", progress="none")
    fit(config, tmp_path / "run", progress="none")
    (tmp_path / "run" / "model" / "model.safetensors").unlink()
    newest = tmp_path / "run" / "checkpoints" / "step-000000012.safetensors"
    content = newest.read_bytes()
    at = len(content) - 40
    damaged = {
        "flip": content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
        "truncate": content[:at],
        "empty": b"",
        "text": b"hello, this is no checkpoint at all",
    }[damage]
    newest.write_bytes(damaged)
    fit(config, tmp_path / "run", progress="plain")
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warning.startswith(f"warning: {newest}: damaged checkpoint (")
    assert warning.endswith("it is set aside as step-000000012.safetensors.damaged, and step 8 serves")
    assert newest.with_name(f"{newest.name}.damaged").read_bytes() == damaged
    models = [tmp_path / name / "model" / "model.safetensors" for name in ("good", "run")]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_a_checkpoint_of_another_version_is_not_passed_over(tmp_path):
    """It is whole, and newer than the one before: to go on from that would throw its steps away."""
    fit(toy_run(), tmp_path, progress="none")
    (tmp_path / "model" / "model.safetensors").unlink()
    newest = tmp_path / "checkpoints" / "step-000000012.safetensors"
    tensors = dict(read_checkpoint(newest).tensors)
    state = json.dumps({"format": "linsight checkpoint 99", "step": 12})
    metadata = {"state": state, "sha256": digest_tensors(tensors, extra=state)}
    newest.write_bytes(safetensors.torch.save(tensors, metadata))
    before = sorted(path.name for path in newest.parent.iterdir())
    with pytest.raises(RuntimeError, match="of another version of linsight"):
        fit(toy_run(), tmp_path, progress="none")
    assert sorted(path.name for path in newest.parent.iterdir()) == before


def test_every_byte_of_a_checkpoint_is_checked(tmp_path):
    """Whichever byte is damaged, header and counters included, the file is refused."""
    config = toy_run(4)
    fit(config, tmp_path, progress="none")
    path = tmp_path / "checkpoints" / "step-000000004.safetensors"
    content = path.read_bytes()
    for at in [*range(0, 200, 3), *range(200, len(content), 211)]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(RuntimeError, match=r"step-000000004.safetensors: damaged checkpoint"):
            read_checkpoint(path)


def test_when_no_checkpoint_is_good_the_way_out_is_named(tmp_path):
    """All are damaged: to begin anew is the user's decision, and no file is renamed before it."""
    fit(toy_run(8), tmp_path, progress="none")
    (tmp_path / "model" / "model.safetensors").unlink()
    files = [tmp_path / "checkpoints" / f"step-{step:09d}.safetensors" for step in (4, 8)]
    for path in files:
        path.write_bytes(b"")
    message = "step-000000008.safetensors: damaged .*; no older one is good: delete the folder of checkpoints"
    with pytest.raises(RuntimeError, match=message):
        fit(toy_run(8), tmp_path, progress="none")
    assert sorted((tmp_path / "checkpoints").iterdir()) == files


class DiskFills(ToyTask):
    """No file may be larger than `size` from step `at` on, once `standing`, if given, is written."""

    def __init__(
        self, config, stack: contextlib.ExitStack, at: int, size: int, standing: Path | None = None
    ) -> None:
        super().__init__(config)
        self.stack, self.at, self.size, self.calls = stack, at, size, 0
        self.standing = standing

    def batch(self, indices, *, seed, epoch):
        self.calls += 1
        if self.calls == self.at:
            while self.standing and not self.standing.exists():  # it may be written beside the steps
                time.sleep(0.001)
            self.stack.enter_context(largest_file(self.size))
        return super().batch(indices, seed=seed, epoch=epoch)


@pytest.mark.parametrize(
    ("size", "file", "background"),
    [
        (2000, "step-000000008.safetensors", False),
        (2000, "step-000000008.safetensors", True),
        (100, "metrics.csv", False),
    ],
)
def test_a_full_disk_is_one_line_and_nothing_is_lost(size, file, background, tmp_path):
    """The file and the reason, the checkpoint that is intact, no leftovers; with room, the same weights."""
    config = toy_run(background_checkpoints=background)
    fit(config, tmp_path / "good", progress="none")
    run = tmp_path / "run"
    standing = run / "checkpoints" / "step-000000004.safetensors"
    with (
        contextlib.ExitStack() as stack,
        pytest.raises(RuntimeError, match=f"cannot write: .*{file}.*: File too large") as stopped,
    ):
        fit(config, run, task=DiskFills(config.task, stack, 6, size, standing), progress="none")
    assert "the checkpoint of step 4 is intact; make room or give permission" in str(stopped.value)
    assert "\n" not in str(stopped.value)
    assert good_files(run) == [4]
    fit(config, run, progress="none")
    models = [tmp_path / name / "model" / "model.safetensors" for name in ("good", "run")]
    assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.parametrize("size", [0, 30, 100, 900])
def test_a_full_disk_leaves_no_thread_behind(size, tmp_path, capfd):
    """Whatever does not fit first: nothing on the terminal, and no writer that fails later, unheard."""
    config = toy_run()
    before = set(threading.enumerate())
    message = r"cannot write: .*: File too large"
    with contextlib.ExitStack() as stack, pytest.raises(RuntimeError, match=message):
        fit(config, tmp_path, task=DiskFills(config.task, stack, 6, size), progress="none")
    assert set(threading.enumerate()) <= before
    assert capfd.readouterr().err == ""


def test_events_that_cannot_be_written_are_named(tmp_path):
    """Something else has the name of their folder."""
    config = toy_run(4)
    run = open_run(tmp_path / "run", config)
    run.events.touch()
    message = r"cannot write: .*events: File exists; there is no checkpoint yet"
    with pytest.raises(RuntimeError, match=message):
        fit(config, run, progress="none")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """Something else has the name of the folder of checkpoints."""
    (tmp_path / "run").mkdir()
    config = toy_run(4)
    run = open_run(tmp_path / "run", config)
    run.checkpoints.touch()
    message = r"cannot write: .*checkpoints: File exists; there is no checkpoint yet"
    with pytest.raises(RuntimeError, match=message):
        fit(config, run, progress="none")


def test_two_trainings_in_one_folder(tmp_path):
    """The second is refused while the first trains."""
    config = toy_run(4)

    class Inner(ToyTask):
        def batch(self, indices, *, seed, epoch):
            with pytest.raises(RuntimeError, match="is training here; wait for it or stop it"):
                fit(config, tmp_path, progress="none")
            return super().batch(indices, seed=seed, epoch=epoch)

    assert fit(config, tmp_path, task=Inner(config.task), progress="none").status == "trained"
