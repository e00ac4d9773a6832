"""Makes the members of a comparison, trains them, tells what came of them."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from linsight import reports
from linsight.cli.evaluation import measure
from linsight.cli.train import configured
from linsight.reports.comparison import comparison_exhibits
from linsight.reports.numbers import number, plain
from linsight.tasks.exhibits import Evaluation, Table
from linsight.training.comparison import Result, compared
from linsight.training.display import Display
from linsight.training.members import Budget, Member, fitted, matched, measured_size, resized
from linsight.training.run import Run

__all__ = ["Request", "compare"]


@dataclass(frozen=True)
class Request:
    """What to compare; the fields are those of the command line, `train` what is handed to every member."""

    task: str
    mixers: tuple[str, ...]
    budget: str
    seconds: float | None
    sizes: tuple[int, ...]
    folder: Path
    progress: str
    train: tuple[str, ...]


def compare(request: Request, *, as_json: bool, command: Sequence[str]) -> int:
    """Train and tell; returns 1 where a member failed."""

    def evaluate(run: Run) -> Evaluation:
        evaluation = measure(run, "test")
        reports.write(run, evaluation, command=f"linsight train {request.task} --run {run.folder}")
        return evaluation

    members = _members(request)
    task = type(members[0].config.task.build())
    progress = cast(Display, request.progress)
    found: list[Result] = []
    page = request.folder / "report.html"
    for result in compared(members, request.folder, evaluate, progress=progress, say=_say):
        found.append(result)
        page = _write(request, found, task.headline, falls=task.headline_falls, command=command)
    table = _exhibits(request, found, task.headline, falls=task.headline_falls)[0]
    if as_json:
        print((request.folder / "numbers.json").read_text(encoding="utf-8"), end="")
    else:
        _tell(cast(Table, table), page)
    return int(any(result.error for result in found))


def _members(request: Request) -> list[Member]:
    """Every mixer at every width. A budget of parameters is the first mixer's, at each width."""
    members: list[Member] = []
    first: dict[int, int] = {}
    for mixer in request.mixers:
        base = configured(request.task, ["--mixer", mixer.replace("+", ","), *request.train])
        for dim in request.sizes or (0,):
            config = resized(base, dim) if dim else base
            if request.budget == "parameters":
                target = first.setdefault(dim, measured_size(config).parameters)
                config = matched(config, target)
            name = f"{mixer}-{dim}" if dim else mixer
            # Timed once: a member that was begun has its steps in its folder.
            if request.seconds is not None and not (request.folder / name / "config.json").exists():
                config = fitted(config, request.seconds)
            members.append(Member(name, mixer, dim, config))
    return members


def _exhibits(request: Request, found: Sequence[Result], headline: str, *, falls: bool):
    words: dict[Budget, str] = {
        "tokens": "All members saw the same number of tokens.",
        "parameters": "All members of a width saw as many tokens and have nearly as many parameters.",
        "seconds": f"All members were trained for about {request.seconds or 0:g} seconds.",
    }
    return comparison_exhibits(
        found, headline=headline, falls=falls, budget=words[cast(Budget, request.budget)]
    )


def _write(
    request: Request, found: Sequence[Result], headline: str, *, falls: bool, command: Sequence[str]
) -> Path:
    """The page as far as the members have come: an interruption leaves one that is true."""
    numbers = [
        {
            "name": result.name,
            "mixer": result.mixer,
            "dim": result.dim,
            "parameters": result.parameters,
            "state_bytes": result.state_bytes,
            "steps": result.steps,
            "step_bytes": result.step_bytes,
            "seconds": result.seconds,
            "metrics": {name: plain(value) for name, value in (result.metrics or {}).items()},
            "error": result.error,
        }
        for result in found
    ]
    return reports.write_folder(
        request.folder,
        title=f"Mixers compared: {request.task}",
        exhibits=_exhibits(request, found, headline, falls=falls),
        settings={"task": request.task, "mixers": ", ".join(request.mixers), "budget": request.budget},
        numbers=numbers,
        command=shlex.join(command),
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(table: Table, page: Path) -> None:
    rows = [list(table.columns)]
    rows += [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(table.note)
    print(page)
