"""Makes the members of a comparison, trains them, tells what came of them."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from linsight import densities, reports
from linsight.cli.evaluation import measure
from linsight.cli.overrides import SEQUENCE
from linsight.cli.tables import columns
from linsight.cli.train import configured
from linsight.nn.upsampling import UPSAMPLERS
from linsight.reports.comparison import comparison_exhibits
from linsight.reports.numbers import plain
from linsight.tasks.base import Task
from linsight.tasks.exhibits import Evaluation, Exhibit
from linsight.training.comparison import Result, compared
from linsight.training.config import RunConfig, TaskConfig
from linsight.training.display import Display
from linsight.training.hardware import pick_device
from linsight.training.members import Budget, Member, fitted, matched, measured_size, resized
from linsight.training.presets import PRESETS
from linsight.training.pretrained import from_pretrained
from linsight.training.run import Run, load_run

__all__ = ["Request", "compare"]


@dataclass(frozen=True)
class Request:
    """What to compare; the fields are those of the command line, `train` what is handed to every member."""

    task: str
    over: str
    variants: tuple[str, ...]
    budget: str
    seconds: float | None
    sizes: tuple[int, ...]
    seeds: int
    folder: Path
    progress: str
    train: tuple[str, ...]


def compare(request: Request, *, as_json: bool, command: Sequence[str]) -> int:
    """Train and tell; returns 1 where a member failed."""

    def evaluate(run: Run) -> Evaluation:
        evaluation = measure(run, "test")
        reports.write(run, evaluation, command=f"linsight train {request.task} --run {run.folder}")
        return evaluation

    members, progress = _members(request), cast(Display, request.progress)
    found: list[Result] = []
    told = ""
    for result in compared(members, request.folder, evaluate, progress=progress, say=_say):
        found.append(result)
        told = _written(request, found, members[0].config.task, command)
    if together := _together(request, found, members[0].config.task):
        told = _written(request, found, members[0].config.task, command, together)
    if as_json:
        told = (request.folder / "numbers.json").read_text(encoding="utf-8").rstrip()
    print(told)
    return int(any(result.error for result in found))


def _together(request: Request, found: Sequence[Result], task: TaskConfig) -> tuple[Exhibit, ...]:
    """What the members make of the same examples, where the task shows that: each with its first seed."""
    first: dict[tuple[str, int], str] = {}
    for result in found:
        if result.metrics is not None:
            first.setdefault((result.variant, result.dim), result.name)
    if not (task.shows_together and first):
        return ()
    models = {name: from_pretrained(request.folder / name / "model") for name in first.values()}
    return cast(Task[Any], task.build()).shown_together(models, device=pick_device())


def _written(
    request: Request,
    found: Sequence[Result],
    task: TaskConfig,
    command: Sequence[str],
    together: Sequence[Exhibit] = (),
) -> str:
    """Write the page of what is found so far, true after an interruption too; its table and its path."""
    variants = dict.fromkeys(result.variant for result in found)
    exhibits = comparison_exhibits(
        found,
        headline=task.headline,
        falls=task.headline_falls,
        budget=_in_common(request),
        beside=task.beside,
    )
    page = reports.write_folder(
        request.folder,
        title=f"{request.over.capitalize()}s compared: {request.task}",
        exhibits=(exhibits[0], *together, *exhibits[1:], *task.published()),
        settings={
            "task": request.task,
            f"{request.over}s": ", ".join(variants),
            "budget": request.budget,
            "seeds": request.seeds,
        },
        numbers=[_numbers(result) for result in found],
        command=shlex.join(command),
    )
    return f"{columns(exhibits[0])}\n{page}"


def _members(request: Request) -> list[Member]:
    """Every variant, width and seed. A budget of parameters is the first variant's, at each width."""
    members: list[Member] = []
    first: dict[int, int] = {}
    for variant in request.variants or _all(request):
        words = variant.replace("+", ",") if request.over == "mixer" else variant
        base = configured(request.task, [f"--{request.over}", words, *request.train])
        for dim in request.sizes or (0,):
            config = resized(base, dim) if dim else base
            if request.budget == "parameters":
                target = first.setdefault(dim, measured_size(config).parameters)
                config = matched(config, target)
            name = "-".join([*variant.split(), *([str(dim)] if dim else [])])
            names = [name, *(f"{name}-seed{more}" for more in range(1, request.seeds))]
            if request.seconds is not None:
                config = _fitted(config, request.seconds, [request.folder / name for name in names])
            for more, name in enumerate(names):
                training = replace(config.training, seed=base.training.seed + more)
                members.append(Member(name, variant, dim, replace(config, training=training)))
    return members


def _fitted(config: RunConfig, seconds: float, folders: Sequence[Path]) -> RunConfig:
    """Timed once: a member that was begun has its steps in its folder, and all its seeds have as many."""
    for folder in folders:
        if (folder / "config.json").exists():
            return load_run(folder).config
    return fitted(config, seconds)


def _all(request: Request) -> tuple[str, ...]:
    """All upsamplers or heads; or the kinds of model that have their own preset, the sequence model first."""
    if request.over == "upsampler":
        return tuple(UPSAMPLERS)
    if request.over == "head":
        task = configured(request.task, request.train).task
        if not task.heads:
            raise ValueError(f"--over head: the models of task {request.task!r} have no codec")
        return task.heads
    return (SEQUENCE, *(kind for kind in densities.kinds() if kind in PRESETS[request.task]))


def _in_common(request: Request) -> str:
    """What all members have, in a sentence."""
    if request.over == "model" and request.budget == "tokens":
        return "Every model was trained as its own preset says."
    words: dict[Budget, str] = {
        "tokens": "All members saw the same number of tokens.",
        "parameters": "All members of a width saw as many tokens and have nearly as many parameters.",
        "seconds": f"All members were trained for about {request.seconds or 0:g} seconds.",
    }
    return words[cast(Budget, request.budget)]


def _numbers(result: Result) -> dict[str, Any]:
    """The result as plain data; its history stands in the member's own folder."""
    numbers = asdict(replace(result, history=None))
    del numbers["history"]
    metrics = {name: plain(value) for name, value in (result.metrics or {}).items()}
    return {**numbers, "metrics": metrics}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
