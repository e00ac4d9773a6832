"""A comparison: its members trained one after another, each in a run folder of its own."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from linsight.profiling import peak_bytes
from linsight.tasks.exhibits import Evaluation
from linsight.training.config import RunConfig
from linsight.training.display import Display
from linsight.training.engine import fit
from linsight.training.files import write_atomically
from linsight.training.members import Member, measured_size
from linsight.training.metrics import read_metrics
from linsight.training.rehearsal import Rehearsal
from linsight.training.run import Run, load_run, open_run

__all__ = ["Result", "compared"]


@dataclass(frozen=True)
class Result:
    """What came of one member; `error` alone where it failed."""

    name: str
    variant: str
    dim: int
    parameters: int
    state_bytes: int
    steps: int
    step_bytes: int = 0
    """Bytes alive at once in a step of training, weights and optimiser left out."""
    seconds: float = 0.0
    metrics: dict[str, float] | None = None
    history: dict[str, tuple[list[int], list[float]]] | None = None
    error: str = ""
    seed: int = 0


def compared(
    members: Sequence[Member],
    folder: Path,
    evaluate: Callable[[Run], Evaluation],
    *,
    progress: Display = "auto",
    say: Callable[[str], None],
) -> Iterator[Result]:
    """Train and evaluate the members that are not yet, and yield what came of each.

    A member that fails is told and left: the next call tries it again, and none of the others is lost. An
    interruption goes on at the same step, as every run does.

    Args:
        members: In the order in which they are trained.
        folder: Of the comparison; member m is a run in `folder`/m.
        evaluate: What makes the report of a trained run.
        progress: As in `fit`.
        say: Told which member is at work, and what failed.
    """
    for number, member in enumerate(members):
        run_folder = folder / member.name
        done = run_folder / "result.json"
        config = member.config
        if (run_folder / "config.json").exists():
            config = load_run(run_folder).config
        size = measured_size(config)
        known: dict[str, Any] = {
            "name": member.name,
            "variant": member.variant,
            "dim": member.dim,
            **asdict(size),
            "steps": config.training.steps,
            "seed": config.training.seed,
        }
        if done.exists():
            yield Result(**known, **_read(done))
            continue
        say(f"{member.name} ({number + 1} of {len(members)})")
        try:
            found = _finished(open_run(run_folder, config), evaluate, progress)
        # Whatever a member dies of, the others are worth having.
        except Exception as error:
            sentence = " ".join(str(error).split()) or type(error).__name__
            say(f"{member.name} failed: {sentence}")
            yield Result(**known, error=f"{type(error).__name__}: {sentence}")
            continue
        write_atomically(done, (json.dumps(found, indent=2) + "\n").encode())
        yield Result(**known, **found)


def _read(file: Path) -> dict[str, Any]:
    """What `_finished` found; JSON has no tuples."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return {**found, "history": {name: tuple(series) for name, series in found["history"].items()}}


def _finished(run: Run, evaluate: Callable[[Run], Evaluation], progress: Display) -> dict:
    fit(run.config, run, progress=progress)
    evaluation = evaluate(run)
    history = read_metrics(run.metrics_file)
    return {
        "step_bytes": _step_bytes(run.config),
        "seconds": history["seconds"][1][-1] if history.get("seconds", ([], []))[1] else 0.0,
        "metrics": {name: float(value) for name, value in evaluation.metrics.items()},
        "history": {name: series for name, series in history.items() if name.startswith("valid/")},
    }


def _step_bytes(config: RunConfig) -> int:
    """Of a fresh model: what is alive at once does not depend on the weights."""
    rehearsal = Rehearsal(config, config.training.batch_size // config.training.accumulate)
    batch = rehearsal.batch(0)
    return peak_bytes(lambda: rehearsal.backward(batch))
