"""Training from a configuration to a model in a folder; interrupted anywhere, it goes on exactly."""

import contextlib
import os
from dataclasses import dataclass
from typing import Literal

import torch

from linsight.tasks.base import Task
from linsight.training.batches import make_loader
from linsight.training.checkpoint import (
    Checkpoint,
    file_of,
    last_step,
    latest_checkpoint,
    read_checkpoint,
)
from linsight.training.config import RunConfig
from linsight.training.display import Display, reporter
from linsight.training.hardware import pick_device
from linsight.training.header import header
from linsight.training.interrupts import Interrupted, Stop, StopNow
from linsight.training.lock import locked
from linsight.training.pretrained import is_pretrained, save_pretrained
from linsight.training.progress import Reporter
from linsight.training.ranks import Ranks
from linsight.training.recorder import Recorder
from linsight.training.run import Run, open_run
from linsight.training.saving import kept, writing
from linsight.training.session import Session
from linsight.training.spreading import check_shares

__all__ = ["Outcome", "fit"]


@dataclass(frozen=True)
class Outcome:
    """What `fit` did.

    `seconds` are of training, over all of the run's sittings; `metrics` are the latest value of every series
    in `metrics.csv` that this sitting wrote, empty when nothing was to do.
    """

    run: Run
    status: Literal["trained", "nothing to do"]
    steps: int
    seconds: float
    skipped_steps: int
    metrics: dict[str, float]


def fit(
    config: RunConfig,
    run: Run | str | os.PathLike[str],
    *,
    task: Task | None = None,
    progress: Display = "auto",
    ranks: Ranks | None = None,
) -> Outcome:
    """Train the model of a configuration in a run folder, or go on with it; at the end `model/` is written.

    After an interruption of any kind (`kill -9` too) the same call goes on from the last checkpoint that is
    whole, and the final weights are those of an undisturbed run, bit for bit, on the same machine with as
    many threads. A damaged newer checkpoint is reported and set aside.

    Args:
        config: The run, complete.
        run: The run's folder, which is made if missing, or an opened run.
        task: Built from `config.task` if not given.
        progress: On standard error: `rich` a bar, `plain` a line every ten seconds, `none` nothing, `auto` a
            bar on a terminal and lines elsewhere.
        ranks: The processes that train together; None: those of torchrun, if it started this one. Each gets
            an equal share of every step's batch, or a piece of every row, so that the run is that of one
            process up to rounding. The first one alone writes and speaks. The folder is on a disk that all of
            them see.

    Raises:
        ValueError: The folder holds a run of another configuration, or something else; the ranks cannot
            share a batch equally, or the tokens of its rows.
        RuntimeError: Another process trains here; every checkpoint is damaged; the loss is not finite, or
            ten gradients in a row are not; a file cannot be written. Earlier checkpoints are intact.
        Interrupted: SIGINT or SIGTERM came; after the first the step was finished and its checkpoint written.
            It is a KeyboardInterrupt with an `exit_code`.
        Followed: On another than the first of several ranks, in the place of all these.
    """
    ranks = Ranks.here() if ranks is None else ranks
    check_shares(config.training, ranks)
    with ranks.joined():
        return _fit(config, run, task, progress if ranks.first else "none", ranks)


def _fit(
    config: RunConfig, run: Run | str | os.PathLike[str], task: Task | None, progress: Display, ranks: Ranks
) -> Outcome:
    if not isinstance(run, Run):
        folder = run
        run = ranks.on_first(lambda: open_run(folder, config))
    if run.config != config:
        raise ValueError(f"run: {run.folder} was opened with another configuration; open it with this one")
    training = config.training
    found, written = ranks.on_first(lambda: (last_step(run.checkpoints), is_pretrained(run.model)))
    show = reporter(progress, steps=training.steps, batch_size=training.batch_size, start=found or 0)
    with contextlib.closing(show), contextlib.ExitStack() as held:
        ranks.on_first(lambda: held.enter_context(locked(run.folder, show.say)))
        if found == training.steps and written:
            show.say(f"{run.folder}: all {training.steps:,} steps are done, nothing to do")
            return Outcome(run, "nothing to do", training.steps, 0.0, 0, {})
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())[:1]):
            task = config.task.build() if task is None else task
            return _train(config, run, task, show, ranks)


def _train(config: RunConfig, run: Run, task: Task, show: Reporter, ranks: Ranks) -> Outcome:
    session = _session(config, run, task, show, ranks)
    metrics: dict[str, float] = {}
    if session.step < config.training.steps:
        metrics = _remaining_steps(run, session, show)
    else:
        _write_model(run, session, show)
    return Outcome(run, "trained", session.step, session.seconds, session.skipped, metrics)


def _session(config: RunConfig, run: Run, task: Task, show: Reporter, ranks: Ranks) -> Session:
    torch.manual_seed(config.training.seed)
    loader = make_loader(task, config.training, ranks)
    session = Session(config, task, loader, pick_device(ranks.local), ranks)
    for line in header(run, task, session):
        show.say(line)
    checkpoint = _latest(run, show, ranks)
    if checkpoint is not None:
        changes = session.restore(checkpoint, where=str(run.checkpoints))
        show.say(f"resumed after step {session.step:,}")
        for change in changes:
            show.say(f"warning: the result may differ from an undisturbed run in its last digits: {change}")
    return session


def _latest(run: Run, show: Reporter, ranks: Ranks) -> Checkpoint | None:
    """The first rank decides which checkpoint is whole, and the others read that one."""
    found: list[Checkpoint | None] = []

    def look() -> int | None:
        found.append(latest_checkpoint(run.checkpoints, show.say))
        return found[0].step if found[0] else None

    step = ranks.on_first(look)
    return found[0] if found else None if step is None else read_checkpoint(file_of(run.checkpoints, step))


def _remaining_steps(run: Run, session: Session, show: Reporter) -> dict[str, float]:
    from linsight.training.adapter import Diverged, train  # Lightning takes seconds to import

    with Stop() as stop:
        recorder = Recorder(run, session, show, stop)
        try:
            with contextlib.closing(recorder):
                train(session, recorder)
            if session.step == session.config.training.steps:
                _write_model(run, session, show)
        except StopNow:
            raise Interrupted(f"stopped at once; {kept(run)}", stop.number) from None
        except Diverged as error:
            raise session.ranks.ending(RuntimeError(f"{error}; {kept(run)}; {_ADVICE}")) from None
    number = session.ranks.largest(max(stop.number, recorder.stopping))
    if number:
        message = f"interrupted after step {session.step:,}; {kept(run)}, the same command goes on"
        raise session.ranks.ending(Interrupted(message, number))
    return recorder.latest


def _write_model(run: Run, session: Session, show: Reporter) -> None:
    model = session.whole_model()

    def write() -> None:
        with writing(run):
            save_pretrained(model, session.config, run.model)

    session.ranks.on_first(write)
    show.say(f"model: {run.model}")


_ADVICE = "in a new run try a lower learning rate, a longer warm-up, or precision float32"
