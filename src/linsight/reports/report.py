"""Writes the report of a run: its pictures, its numbers as JSON, and the page that shows them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from linsight.reports.environment import environment
from linsight.reports.history import training_curves
from linsight.reports.numbers import plain
from linsight.reports.page import flatten, render
from linsight.reports.shown import picture, shown
from linsight.tasks.exhibits import Evaluation, Table
from linsight.training.files import write_atomically
from linsight.training.metrics import read_metrics
from linsight.training.run import Run

__all__ = ["write"]

HALF = 3.9
"""Inches: half of the page's column."""


def write(run: Run, evaluation: Evaluation, *, command: str | None = None) -> Path:
    """Draw every exhibit to `figures/`, write `evaluation.json` and the self-contained `report.html`.

    Args:
        run: The run folder.
        evaluation: What its task found on a split. The report of the test split is `report.html`; another
            split's is `report-SPLIT.html`, with its own pictures and `evaluation-SPLIT.json`.
        command: The command line that makes the run. None keeps the one of an earlier report, and names
            `linsight evaluate` where there is none.

    Returns:
        The path of the page.

    Raises:
        ValueError: An exhibit that cannot be drawn, or two of one name.
        OSError: A file that cannot be written.
    """
    suffix = "" if evaluation.split == "test" else f"-{evaluation.split}"
    numbers_file = _with_suffix(run.evaluation_file, suffix)
    command = command or _earlier_command(numbers_file) or f"linsight evaluate {run.folder}"
    _check_names(evaluation)
    run.figures.mkdir(parents=True, exist_ok=True)
    history = read_metrics(run.metrics_file) if run.metrics_file.exists() else {}
    curves = [
        picture(curve, run.figures / f"{curve.name}.png", inches=HALF) for curve in training_curves(history)
    ]
    exhibits = shown(evaluation.exhibits, run.figures, suffix=suffix)
    now = datetime.now(UTC)
    found = environment()
    content = json.dumps(_numbers(evaluation, command, now, found), indent=2, allow_nan=False) + "\n"
    write_atomically(numbers_file, content.encode())
    page = render(
        title=f"{run.config.task.kind}: {run.folder.resolve().name}",
        subtitle=", ".join([f"{evaluation.split} split", *_duration(history), f"{now:%Y-%m-%d %H:%M} UTC"]),
        metrics=evaluation.metrics,
        curves=curves,
        exhibits=exhibits,
        configuration=flatten(run.config),
        environment=found,
        command=command,
    )
    path = _with_suffix(run.report_file, suffix)
    write_atomically(path, page.encode())
    return path


def _duration(history: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> list[str]:
    """How long the training took, validation included, where the run measured it."""
    steps, seconds = history.get("seconds", ([], []))
    if not seconds:
        return []
    minutes, rest = divmod(round(seconds[-1]), 60)
    return [f"{steps[-1]:,} steps trained in {minutes}:{rest:02d} minutes"]


def _numbers(evaluation: Evaluation, command: str, now: datetime, found: dict[str, str]) -> dict[str, Any]:
    tables = [exhibit for exhibit in evaluation.exhibits if isinstance(exhibit, Table)]
    return {
        "split": evaluation.split,
        "evaluated": now.isoformat(timespec="seconds"),
        "command": command,
        "metrics": {name: plain(value) for name, value in evaluation.metrics.items()},
        "tables": {
            table.name: {
                "columns": table.columns,
                "rows": [[plain(cell) for cell in row] for row in table.rows],
            }
            for table in tables
        },
        "environment": found,
    }


def _earlier_command(file: Path) -> str | None:
    if not file.exists():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))["command"]
    except (ValueError, KeyError, TypeError):
        # The file is about to be written anew; what cannot be read of it is not kept.
        return None


def _check_names(evaluation: Evaluation) -> None:
    names = [exhibit.name for exhibit in evaluation.exhibits]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"evaluation: expected one exhibit of a name, got {names.count(name)} named {name!r}"
            )


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.stem + suffix + path.suffix)
