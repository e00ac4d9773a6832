"""Evaluates a run, writes its report and prints both: the end of `train`, the whole of `evaluate`."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from linsight import reports
from linsight.cli.progress import watching
from linsight.reports.numbers import plain
from linsight.tasks.base import Split, Task
from linsight.tasks.exhibits import Evaluation
from linsight.training.hardware import pick_device
from linsight.training.pretrained import from_pretrained
from linsight.training.run import Run

__all__ = ["evaluate", "measure"]


def evaluate(run: Run, split: Split, *, as_json: bool = False, command: Sequence[str] = ()) -> Path:
    """Evaluate the run's model on a split; prints the numbers, and the path of the report last.

    `command` are the words of the command line that made the run, kept in its report.
    """
    evaluation = measure(run, split)
    page = reports.write(run, evaluation, command=shlex.join(command) or None)
    if as_json:
        metrics = {name: plain(value) for name, value in evaluation.metrics.items()}
        found = {"run": str(run.folder), "split": split, "metrics": metrics, "report": str(page)}
        print(json.dumps(found, indent=2))
        return page
    width = max(map(len, evaluation.metrics), default=0)
    for name, value in evaluation.metrics.items():
        print(f"{name:<{width}}  {value:.6g}")
    print(page)
    return page


def measure(run: Run, split: Split) -> Evaluation:
    """Evaluate the run's model on a split, and show how far it is."""
    device = pick_device()
    model = from_pretrained(run.model).to(device).eval()
    task = cast(Task[Any], run.config.task.build())
    with watching() as progress:
        return task.evaluate(model, split, device=device, progress=progress)
