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
from ranked_training import RowModel, ranked_run, ranked_task
from safetensors.torch import load_file

from linsight.cli.main import main
from linsight.training import fit, read_metrics
from linsight.training.batches import make_loader
from linsight.training.checkpoint import file_of, last_step, read_checkpoint
from linsight.training.config import TrainingConfig
from linsight.training.ranks import Ranks, _meet
from linsight.training.spreading import SpreadLoss, check_shares

STEPS = 12
STRATEGIES = {
    "ddp": "with {} examples of each step's batch",
    "fsdp": "with {} examples of each step's batch and a shard of every weight (fsdp)",
    "sequence": "with a piece of the tokens of every row (sequence)",
}
TIME_LIMIT = 200


def start(
    folder: Path, fault: str = "none", *strategies: str, ranks: int = 2, restarts: int = 4
) -> subprocess.Popen:
    """Twelve steps by each strategy, in processes that the agent of torchrun starts."""
    here = Path(ranked_training.__file__)
    places = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(here), str(ranks), str(restarts), str(folder), str(STEPS), fault]
    command += strategies or ["ddp"]
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


def go_back(folder: Path, step: int) -> None:
    """Make a finished run one that was stopped after this step."""
    (folder / "model" / "model.safetensors").unlink()
    for later in range(step + 3, STEPS + 1, 3):
        file_of(folder / "checkpoints", later).unlink()


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    config = ranked_run(STEPS)
    fit(config, folder, task=ranked_task(config), progress="none")
    return folder


@pytest.mark.slow
def test_ranks_are_one_process_on_the_same_batches_by_every_strategy(tmp_path, alone):
    """Weights, moments, rows and the model; then one process goes on from those of two, and four from its."""
    config = ranked_run(STEPS)
    process = start(tmp_path, "none", *STRATEGIES)
    said = finish(process)
    assert process.returncode == 0, said
    blocks = RowModel("linear", "gated_delta").stack.blocks
    numbers = sum(p.numel() for p in blocks.parameters())
    shard = sum(p[1::2].numel() for p in blocks.parameters())
    held = {
        "ddp": f"{{8}} tokens, {numbers} numbers",
        "fsdp": f"{{8}} tokens, {shard} numbers",
        "sequence": f"{{4}} tokens, {numbers} numbers",
    }
    for strategy, share in STRATEGIES.items():
        folder = tmp_path / strategy
        assert f"ranks: 2, {share.format(4)}\n" in said
        assert said.count(f"model: {folder}") == 1  # one rank speaks
        assert f"{strategy}: {held[strategy]}\n" in said
        assert_same_weights(checkpoint(folder, STEPS), checkpoint(alone, STEPS))
        ours, theirs = (read_metrics(place / "metrics.csv") for place in (folder, alone))
        for name in ("train/loss", "train/accuracy", "gradient_norm", "valid/accuracy"):
            assert ours[name][0] == theirs[name][0]
            assert ours[name][1] == pytest.approx(theirs[name][1], rel=1e-6)  # the loss is in float32
        model, whole = (load_file(place / "model" / "model.safetensors") for place in (folder, alone))
        for name, tensor in whole.items():
            torch.testing.assert_close(model[name], tensor, rtol=1e-9, atol=1e-11)
        go_back(folder, 3)
        fit(config, folder, task=ranked_task(config), progress="none")
        assert_same_weights(checkpoint(folder, STEPS), checkpoint(alone, STEPS))
        go_back(folder, 6)

    process = start(tmp_path, "none", *STRATEGIES, ranks=4)
    said = finish(process)
    assert process.returncode == 0, said
    assert said.count("resumed after step 6") == said.count("ranks was 1, is 4") == 3
    for strategy in STRATEGIES:
        assert_same_weights(checkpoint(tmp_path / strategy, STEPS), checkpoint(alone, STEPS))


def test_what_cannot_spread_rows_is_refused(tmp_path):
    """Softmax attention, whose state is every key and value; a model without mixers."""
    config = ranked_run(STEPS)
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        for model, why in (
            (RowModel("linear", "softmax"), "SoftmaxAttention cannot spread a row over ranks: its state is"),
            (torch.nn.Linear(2, 2), "Linear has no stack of mixers"),
        ):
            ranks = Ranks(0, 2, strategy="sequence")
            with pytest.raises(ValueError, match=f"strategy sequence: {why}"):
                SpreadLoss(ranked_task(config), model, ranks)
            assert ranks.ended  # all of them refuse: none is started again
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_kill_9_of_one_rank_changes_nothing(tmp_path):
    """torchrun starts all ranks again; dropout on both ranks goes on exactly, bit for bit."""
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    process = start(undisturbed, "dropout")
    said = finish(process)
    assert process.returncode == 0, said

    process = start(folder, "dropout")
    deadline = time.monotonic() + TIME_LIMIT
    while (last_step(folder / "ddp" / "checkpoints") or 0) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(_workers(process.pid)[1], signal.SIGKILL)
    said = finish(process)
    assert process.returncode == 0, said
    assert "resumed after step" in said
    ours, theirs = (checkpoint(place / "ddp", STEPS).tensors for place in (folder, undisturbed))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(ours["rng/cpu"], ours["rng/1.cpu"])


@pytest.mark.slow
def test_a_loss_that_is_not_finite_on_one_rank_stops_all_at_the_same_step(tmp_path):
    """One line, of the first rank, with the examples of the whole batch; no rank waits for another."""
    process = start(tmp_path, "nan", restarts=0)
    said = finish(process)
    assert process.returncode != 0
    config = ranked_run(STEPS)
    examples = ", ".join(map(str, make_loader(ranked_task(config), config.training).indices(5)))
    (line,) = [line for line in said.splitlines() if line.startswith("the loss")]
    assert line.startswith(
        f"the loss is nan at step 6 (epoch 1, examples {examples}); the checkpoint of step 3"
    )
    assert last_step(tmp_path / "ddp" / "checkpoints") == 3


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


def _workers(launcher: int) -> list[int]:
    """The processes that this launcher has started, by rank."""
    return list(map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()))


def test_shares_must_be_equal():
    """One line, before anything is built."""
    training = TrainingConfig(steps=10, batch_size=8, accumulate=2)
    check_shares(training, Ranks(0, 4))
    check_shares(training, Ranks(0, 3, strategy="sequence"))
    with pytest.raises(
        ValueError, match="batch_size: 8 in 2 parts cannot be shared equally by 3 ranks; use a"
    ):
        check_shares(training, Ranks(0, 3))


def test_one_process_is_alone_and_opens_no_connection():
    """All that ranks do together is what one does."""
    ranks = Ranks()
    with ranks.joined():
        assert not torch.distributed.is_initialized()
        assert ranks.on_first(lambda: 3) == ranks.largest(3) == 3
        assert ranks.mean({"a": 0.1}) == {"a": 0.1}
    error = ValueError("no")
    assert ranks.ending(error) is error
