"""`linsight compare TASK`: trains mixers, models or heads under one budget, and shows what each gives."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]

DESCRIPTION = """Train one model for each mixer, of each kind, with each upsampler or each head; evaluate all
on the test split; write one report. The same command goes on where it was interrupted, and tries again what
failed. Options after -- are those of linsight train TASK, for all members.
"""


AXES = {"mixer": "--mixers", "model": "--models", "upsampler": "--upsamplers", "head": "--head"}
"""What may differ between members, and the flag that says which they are."""


@dataclass(frozen=True)
class Options:
    """What `linsight compare` takes."""

    over: Literal["mixer", "model", "upsampler", "head"] = "mixer"
    """What differs between the members."""
    mixers: Annotated[str | None, arg(metavar="KIND,KIND,...")] = None
    """The mixers, each a kind, or 'KIND OPTION=VALUE ...' in quotes; A+B alternates two in one stack."""
    models: Annotated[str | None, arg(metavar="KIND,KIND,...")] = None
    """With --over model: the kinds, each trained as its own preset says; none: all that have one."""
    upsamplers: Annotated[str | None, arg(metavar="NAME,NAME,...")] = None
    """With --over upsampler: those of the decoder, of linsight.nn.upsampling; none: all."""
    heads: UseAppendAction[Annotated[tuple[str, ...], arg(name="head", metavar="NAME")]] = ()
    """With --over head: a codec of keypoints or gaze, NAME or 'NAME OPTION=VALUE ...'; once for each; none:
    all of the task."""
    seeds: int = 1
    """Runs of each member, with the preset's seed and those after it; of several, the table has means and
    their intervals."""
    budget: Literal["tokens", "parameters", "seconds"] = "tokens"
    """What they have in common: tokens, the preset's steps and batch; parameters, these and as many
    parameters as the first mixer's, by the width of the feed-forward networks (by the layers where a mixer
    replaces those); seconds, as much time for training."""
    seconds: float | None = None
    """Seconds of training for each member, with --budget seconds."""
    sizes: str | None = None
    """WIDTH,WIDTH,...: every mixer at each of these widths; none: at the preset's."""
    preset: str | None = None
    """The configuration to start from; none: the default, or the one of each model."""
    run: Path | None = None
    """The comparison's folder; none: runs/compare-TASK-mixer, -model, -upsampler or -head."""
    progress: Literal["auto", "rich", "plain", "none"] = "auto"
    """As in linsight train."""
    json: bool = False
    """Print the numbers as JSON."""
    allocator: Literal["keep", "default"] = "keep"
    """As in linsight train."""


def run(arguments: Sequence[str]) -> int:
    """Train, evaluate, compare; prints the table, and the path of the page last. 1 where a member failed."""
    from linsight.training.presets import PRESETS

    if not arguments or arguments[0].startswith("-"):
        wants_help = bool(arguments) and arguments[0] in ("-h", "--help")
        usage = (
            "usage: linsight compare TASK --mixers KIND,KIND,... [options]\n"
            f"       linsight compare TASK --over model|upsampler|head [options]\n\n{DESCRIPTION}"
        )
        print(f"{usage}\nTASK is one of {', '.join(PRESETS)}.", file=sys.stdout if wants_help else sys.stderr)
        return 0 if wants_help else 2
    task, *rest = arguments
    ours, theirs = rest, []
    if "--" in rest:
        ours, theirs = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    options = parse(Options, ours, prog=f"linsight compare {task}", description=DESCRIPTION)
    sizes = _sizes(options.sizes)
    if (options.budget == "seconds") != (options.seconds is not None):
        raise ValueError("--seconds: expected with --budget seconds, and with no other")
    if options.seconds is not None and not options.seconds > 0:
        raise ValueError(f"--seconds: expected a number above 0, got {options.seconds}")
    if options.seeds < 1:
        raise ValueError(f"--seeds: expected at least 1, got {options.seeds}")
    from linsight.cli.comparing import Request, compare
    from linsight.profiling import keep_memory

    if options.allocator == "keep":
        keep_memory()
    request = Request(
        task=task,
        over=options.over,
        variants=_variants(options),
        budget=options.budget,
        seconds=options.seconds,
        sizes=sizes,
        seeds=options.seeds,
        folder=options.run or Path("runs") / f"compare-{task}-{options.over}",
        progress=options.progress,
        train=(*(("--preset", options.preset) if options.preset else ()), *theirs),
    )
    return compare(request, as_json=options.json, command=["linsight", "compare", *arguments])


def _variants(options: Options) -> tuple[str, ...]:
    """The words of what is compared; none where all are."""
    for other, flag in AXES.items():
        if other != options.over and getattr(options, f"{other}s"):
            raise ValueError(f"{flag}: expected with --over {other}, and with no other")
    if options.over != "mixer" and (options.sizes or options.budget == "parameters"):
        raise ValueError(
            f"--over {options.over}: {options.over}s have no width in common; --sizes and --budget "
            "parameters are for mixers"
        )
    if options.over == "head":
        return tuple(dict.fromkeys(" ".join(words.split()) for words in options.heads))
    text = getattr(options, f"{options.over}s")
    if text is None and options.over == "mixer":
        raise ValueError("--mixers: expected KIND,KIND,..., or --over model, --over upsampler or --over head")
    return tuple(kind.strip() for kind in text.split(",")) if text else ()


def _sizes(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        raise ValueError(f"--sizes: expected whole numbers with commas between, got {text!r}") from None
