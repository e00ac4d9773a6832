"""Several processes train as one: the same weights, the same stop, whatever dies."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import ranked_training
import torch
import torch.distributed as dist
from ranked_training import ranked_run, ranked_task

from linsight.cli.main import main
from linsight.training import fit, read_metrics
from linsight.training.batches import make_loader
from linsight.training.checkpoint import file_of, last_step, read_checkpoint
from linsight.training.config import TrainingConfig
from linsight.training.ranks import Ranks, _meet
from linsight.training.replicas import check_shares

TIME_LIMIT = 150


def start(
    folder: Path, steps: int, fault: str = "none", ranks: int = 2, restarts: int = 4
) -> subprocess.Popen:
    here = Path(ranked_training.__file__)
    places = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command += [
        f"--max-restarts={restarts}",
        "--monitor-interval=0.2",
        str(here),
        str(folder),
        str(steps),
        fault,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": places}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen) -> str:
    try:
        return process.communicate(timeout=TIME_LIMIT)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def checkpoint(folder: Path, step: int):
    return read_checkpoint(file_of(folder / "checkpoints", step))


def assert_same_weights(ours, theirs) -> None:
    for name, tensor in theirs.tensors.items():
        if not name.startswith("rng/"):
            torch.testing.assert_close(ours.tensors[name], tensor, rtol=1e-9, atol=1e-11)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    config = ranked_run(12)
    fit(config, folder, task=ranked_task(config), progress="none")
    return folder


@pytest.mark.slow
def test_two_ranks_are_one_process_on_the_same_batches(tmp_path, alone):
    """Weights, moments and rows; then 4 ranks, and one process, go on from a checkpoint of two."""
    folder = tmp_path / "run"
    process = start(folder, 12)
    said = finish(process)
    assert process.returncode == 0, said
    assert "ranks: 2, with 4 examples of each step's batch" in said
    assert said.count("model: ") == 2  # the header's and the last line of one rank
    assert_same_weights(checkpoint(folder, 12), checkpoint(alone, 12))
    ours, theirs = (read_metrics(place / "metrics.csv") for place in (folder, alone))
    for name in ("train/loss", "train/accuracy", "gradient_norm", "valid/accuracy"):
        assert ours[name][0] == theirs[name][0]
        assert ours[name][1] == pytest.approx(theirs[name][1], rel=1e-6)  # the loss is in float32

    (folder / "model" / "model.safetensors").unlink()
    for step in (6, 9, 12):
        file_of(folder / "checkpoints", step).unlink()
    process = start(folder, 12, ranks=4)
    said = finish(process)
    assert process.returncode == 0, said
    assert "resumed after step 3" in said
    assert "ranks was 2, is 4" in said
    assert_same_weights(checkpoint(folder, 12), checkpoint(alone, 12))

    (folder / "model" / "model.safetensors").unlink()
    for step in (9, 12):
        file_of(folder / "checkpoints", step).unlink()
    config = ranked_run(12)
    fit(config, folder, task=ranked_task(config), progress="none")
    assert_same_weights(checkpoint(folder, 12), checkpoint(alone, 12))


@pytest.mark.slow
def test_kill_9_of_one_rank_changes_nothing(tmp_path):
    """torchrun starts all ranks again; dropout on both ranks goes on exactly, bit for bit."""
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    process = start(undisturbed, 12, "dropout")
    said = finish(process)
    assert process.returncode == 0, said

    process = start(folder, 12, "dropout")
    deadline = time.monotonic() + TIME_LIMIT
    while (last_step(folder / "checkpoints") or 0) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(_worker(process.pid, "1"), signal.SIGKILL)
    said = finish(process)
    assert process.returncode == 0, said
    assert "resumed after step" in said
    ours, theirs = checkpoint(folder, 12).tensors, checkpoint(undisturbed, 12).tensors
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(ours["rng/cpu"], ours["rng/1.cpu"])


@pytest.mark.slow
def test_a_loss_that_is_not_finite_on_one_rank_stops_all_at_the_same_step(tmp_path):
    """One line, of the first rank, with the examples of the whole batch; no rank waits for another."""
    process = start(tmp_path, 12, "nan", restarts=0)
    said = finish(process)
    assert process.returncode != 0
    config = ranked_run(12)
    examples = ", ".join(map(str, make_loader(ranked_task(config), config.training).indices(5)))
    (line,) = [line for line in said.splitlines() if line.startswith("the loss")]
    assert line.startswith(
        f"the loss is nan at step 6 (epoch 1, examples {examples}); the checkpoint of step 3"
    )
    assert last_step(tmp_path / "checkpoints") == 3


@pytest.mark.slow
def test_the_command_starts_its_ranks_and_termination_is_an_end(tmp_path):
    """`--devices 2`, SIGTERM to the command alone: a checkpoint of one step, one line, 143, no restart."""
    command = [sys.executable, "-m", "linsight", "train", "recall", "--preset", "tiny", "--devices", "2"]
    command += ["--run", str(tmp_path / "run"), "--training.steps", "4000", "--training.log-every", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + TIME_LIMIT
    while not (tmp_path / "run" / "metrics.csv").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    said = finish(process)
    assert process.returncode == 143, said
    step = last_step(tmp_path / "run" / "checkpoints")
    line = (
        f"linsight: interrupted after step {step}; the checkpoint of step {step} is intact, the same command"
    )
    assert [text for text in said.splitlines() if text.startswith("linsight:")] == [f"{line} goes on"]
    assert said.count("ranks: 2, with 8 examples") == 1


def test_the_command_refuses_ranks_that_cannot_be(tmp_path, capsys):
    """Before any process is started."""
    for options, message in (
        (["--devices", "3"], "batch_size: 16 cannot be shared equally by 3 ranks; use a multiple of 3"),
        (["--devices", "0"], "devices: expected an integer >= 1, got 0"),
        (["--nodes", "2"], "rendezvous: expected HOST:PORT of the first machine, got None"),
    ):
        assert main(["train", "recall", "--preset", "tiny", "--run", str(tmp_path / "run"), *options]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_ranks_that_start_again_do_not_meet_the_dead(monkeypatch):
    """torchrun's store keeps what was said before a restart: every meeting has a name of its own."""
    monkeypatch.setattr("linsight.training.ranks.MEETING", timedelta(seconds=5))
    store = dist.HashStore()
    names = []
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            # The first rank comes last, when the store still has the answers of those before it.
            met = [pool.submit(_meet, store, rank, 3) for rank in (2, 1)]
            time.sleep(0.1)
            met.append(pool.submit(_meet, store, 0, 3))
            (name,) = {future.result(timeout=10) for future in met}
        names.append(name)
    assert len(set(names)) == 3


def _worker(launcher: int, rank: str) -> int:
    """The process that this launcher started as a rank."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"no rank {rank} among {children}")


def test_shares_must_be_equal():
    """One line, before anything is built."""
    training = TrainingConfig(steps=10, batch_size=8, accumulate=2)
    check_shares(training, 4)
    with pytest.raises(
        ValueError, match="batch_size: 8 in 2 parts cannot be shared equally by 3 ranks; use a"
    ):
        check_shares(training, 3)


def test_one_process_is_alone_and_opens_no_connection():
    """All that ranks do together is what one does."""
    ranks = Ranks()
    with ranks.joined():
        assert not torch.distributed.is_initialized()
        assert ranks.on_first(lambda: 3) == ranks.largest(3) == 3
        assert ranks.mean({"a": 0.1}) == {"a": 0.1}
    error = ValueError("no")
    assert ranks.ending(error) is error
