"""`linsight train TASK`: trains a preset with the user's changes, evaluates it, writes its report."""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from linsight.cli.parsing import choose, parse

__all__ = ["Options", "configured", "parsed", "run"]

DESCRIPTION = """Train a model of the task, evaluate it on the test split, write its report.

The preset is chosen first, then --model, --mixer, --decoder, --upsampler, --head, --noise and --optimizer,
then every other option changes a field of that configuration.
The same command on an existing run resumes it exactly.
"""


@dataclass(frozen=True)
class Options:
    """What `linsight train` takes besides the fields of the configuration."""

    preset: str = "default"
    """The configuration to start from."""
    model: str | None = None
    """Kind of model: the preset of that name; beside --preset, a model of that kind in that preset."""
    mixer: str | None = None
    """Mixer of every layer, 'KIND OPTION=VALUE ...' or KIND alone; several with commas between take turns;
    transnormer, transnormer-t1: that model's."""
    decoder: str | None = None
    """Decoder of a network on images: fcn, unet or fpn, the other options its own."""
    upsampler: str | None = None
    """Upsampler between the levels of the decoder, of linsight.nn.upsampling; unpool: of a backbone that
    pools."""
    head: str | None = None
    """Codec of keypoints or gaze, 'NAME OPTION=VALUE ...' or NAME alone, of linsight.models.vision.codecs."""
    noise: str | None = None
    """Law of the noise of labels, 'KIND OPTION=VALUE ...' or KIND alone: none, gauss, laplace, hetero,
    outlier, skew; of pose also swap."""
    optimizer: str | None = None
    """Optimiser: adamw, adam, sgd or muon; the values that it shares with the preset's are kept."""
    run: Path | None = None
    """The run folder; None: runs/ and a name made of the task, the preset and the choices above."""
    progress: Literal["auto", "rich", "plain", "none"] = "auto"
    """A bar, a line every ten seconds, or nothing; auto: a bar on a terminal."""
    json: bool = False
    """Print the numbers as JSON."""
    allocator: Literal["keep", "default"] = "keep"
    """keep: glibc keeps the memory that is freed, which is quicker and holds more; default: as it is."""
    devices: int = 1
    """Processes on this machine, which share the work; a run may go on with another number."""
    nodes: int = 1
    """Machines; the same command runs on each."""
    rendezvous: str | None = None
    """HOST:PORT of the first of several machines, where they meet."""
    strategy: Literal["ddp", "fsdp", "sequence"] = "ddp"
    """What the processes share: examples; examples and weights; the tokens of every row."""


def run(arguments: Sequence[str]) -> int:
    """Train, evaluate, report; prints the numbers, and the path of the report last."""
    from linsight.training.presets import PRESETS

    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview(PRESETS), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    task, *rest = arguments
    options, config = parsed(task, rest)

    from linsight.cli.launching import ENDING, launch
    from linsight.training.ranks import Followed, Ranks
    from linsight.training.spreading import check_shares

    ranks = Ranks.here(options.strategy)
    if ranks.alone and _asks_for_several(options):
        check_shares(config.training, Ranks(0, options.devices * options.nodes, strategy=options.strategy))
        return launch(arguments, devices=options.devices, nodes=options.nodes, rendezvous=options.rendezvous)
    from linsight.cli.evaluation import evaluate
    from linsight.profiling import keep_memory
    from linsight.training.engine import fit

    if options.allocator == "keep":
        keep_memory()
    try:
        outcome = fit(
            config, options.run or _default_folder(task, options), progress=options.progress, ranks=ranks
        )
    except Followed:
        return 1
    except BaseException as error:
        if ranks.ended and ENDING in os.environ:
            code = 2 if isinstance(error, ValueError) else 1
            Path(os.environ[ENDING]).write_text(str(getattr(error, "exit_code", code)))
        raise
    if not ranks.first:
        return 0
    finished = outcome.run.report_file
    if outcome.status == "nothing to do" and finished.exists() and not options.json:
        print(finished)
        return 0
    evaluate(outcome.run, "test", as_json=options.json, command=["linsight", "train", *arguments])
    return 0


def _asks_for_several(options: Any) -> bool:
    for name in ("devices", "nodes"):
        if getattr(options, name) < 1:
            raise ValueError(f"{name}: expected an integer >= 1, got {getattr(options, name)}")
    if options.nodes > 1 and options.rendezvous is None:
        raise ValueError("rendezvous: expected HOST:PORT of the first machine, got None with several nodes")
    return options.devices * options.nodes > 1


def configured(task: str, arguments: Sequence[str]) -> Any:
    """The configuration that `linsight train TASK` makes of its arguments."""
    return parsed(task, arguments)[1]


def parsed(
    task: str, arguments: Sequence[str], *, verb: str = "train", description: str = DESCRIPTION
) -> tuple[Any, Any]:
    """The options, and the preset's configuration with the mixers and every other change put in.

    Raises:
        ValueError: A task, preset, kind or value that does not exist.
    """
    from linsight.cli.overrides import (
        kinds_in,
        with_decoder,
        with_head,
        with_mixers,
        with_model,
        with_noise,
        with_optimizer,
        with_upsampler,
    )
    from linsight.training.presets import PRESETS

    presets = PRESETS[choose("task", task, PRESETS)]
    asked, model = _value_of("--preset", arguments), _value_of("--model", arguments)
    preset = choose("preset", asked or "default", presets)
    config = presets[preset]()
    if model is not None:
        config = with_model(config, model)
        if asked is None and model in presets:
            config = presets[model]()
    chosen: dict[str, Any] = {"preset": preset, "model": model}
    for name, change in (
        ("mixer", lambda config, value: with_mixers(config, value.split(","))),
        ("decoder", with_decoder),
        ("upsampler", with_upsampler),
        ("head", with_head),
        ("noise", with_noise),
        ("optimizer", with_optimizer),
    ):
        chosen[name] = _value_of(f"--{name}", arguments)
        if chosen[name] is not None:
            config = change(config, chosen[name])
    # The task's fields stand at the top of the command line: --data, --model.sequence.dim.
    parts = [
        ("task", Annotated[type(config.task), arg(name="")], field(default=config.task)),
        ("training", type(config.training), field(default=config.training)),
    ]
    shape = make_dataclass("Options", parts, bases=(Options,), frozen=True)
    parsed: Any = parse(
        shape,
        arguments,
        prog=f"linsight {verb} {task}",
        description=f"{description}\npresets:\n{_lines(presets)}",
        default=shape(**chosen),
        fixed=kinds_in(config),
    )
    return parsed, replace(config, task=parsed.task, training=parsed.training)


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """The last value of a flag, as the parser will see it: needed before the parser can be made."""
    value = None
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            value = argument.removeprefix(f"{flag}=")
        elif argument == flag and index + 1 < len(arguments):
            value = arguments[index + 1]
    return value


def _default_folder(task: str, options: Options) -> Path:
    parts = [
        task,
        "" if options.preset == "default" else options.preset,
        options.model or "",
        re.sub("[, ]+", "-", options.mixer or ""),
        options.decoder or "",
        options.upsampler or "",
        re.sub(" +", "-", options.head or ""),
        re.sub(" +", "-", options.noise or ""),
        options.optimizer or "",
    ]
    return Path("runs") / "-".join(part for part in parts if part)


def _overview(tasks: dict) -> str:
    lines = ["usage: linsight train TASK [options]", "", DESCRIPTION]
    for task, presets in tasks.items():
        lines += [f"{task}:", _lines(presets), ""]
    return "\n".join([*lines, "linsight train TASK --help lists the options of a task."])


def _lines(presets: dict) -> str:
    width = max(map(len, presets))
    return "\n".join(
        f"  {name:<{width}}  {(make.__doc__ or '').splitlines()[0]}" for name, make in presets.items()
    )
