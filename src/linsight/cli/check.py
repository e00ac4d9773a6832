"""`linsight check`: puts mixers, ours or anybody's, under the laws of the contract."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]

DESCRIPTION = """Put mixers under the laws of the contract: every law with its verdict, every breach with its
evidence and the command that replays it. The exit code is 1 where a promised law is broken.

A SUBJECT is a kind of mixer, options and "bidirectional" after it if need be, or a function in a Python file:

  linsight check linear
  linsight check "linear feature_map=relu bidirectional" softmax
  linsight check path/to/file.py:factory

The factory takes no arguments and returns a linsight mixer, a module with an integer attribute dim that maps
(batch, length, dim) to the same shape, or an adapter of linsight.conformance.
"""


@dataclass(frozen=True)
class Options:
    """What `linsight check` takes."""

    subjects: Annotated[Positional[tuple[str, ...]], arg(metavar="SUBJECT ...", help_behavior_hint="")] = ()
    """What to check."""
    all: bool = False
    """Check every mixer and op of linsight, in the variants that matter."""
    law: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = ()
    """Try this law alone, or NAME,NAME,...; may be repeated."""
    quick: bool = False
    """Leave out the laws that take long, and shorten the inputs of the others."""
    seed: int = 0
    """Of the inputs that are drawn."""
    seeds: int = 1
    """Try every law with this many seeds, from --seed on, up to its first breach."""
    set: Annotated[tuple[str, ...], arg(metavar="OPTION=VALUE ...", help_behavior_hint="")] = ()
    """Options of the kinds named; the others keep their defaults."""
    bidirectional: bool = False
    """Build the kinds named without causality."""
    jobs: int | None = None
    """Processes that share many subjects; none: one for each core."""
    laws: bool = False
    """Check nothing; list every law, what it says and what a breach costs."""
    json: bool = False
    """Print everything as JSON."""
    html: Path | None = None
    """Write everything to this page as well."""


def run(arguments: Sequence[str]) -> int:
    """Check, tell; returns 1 where a promised law is broken."""
    options = parse(Options, arguments, prog="linsight check", description=DESCRIPTION)
    if options.laws:
        from linsight.cli.verdicts import laws_data, laws_text

        print(json.dumps(laws_data(), indent=2) if options.json else laws_text())
        return 0
    _check(options)
    from linsight.cli.checking import Request, check
    from linsight.cli.subjects import laws_named, subjects_named

    words = subjects_named(
        options.subjects, all_ours=options.all, options=options.set, bidirectional=options.bidirectional
    )
    names = [name for text in options.law for name in text.split(",")]
    request = Request(
        laws=laws_named(names, quick=options.quick),
        seeds=range(options.seed, options.seed + options.seeds),
        quick=options.quick,
        command=("linsight", "check", *arguments),
        jobs=options.jobs,
    )
    return 1 if check(words, request, as_json=options.json, page=options.html) else 0


def _check(options: Options) -> None:
    """Refuse what cannot be checked, before anything is loaded."""
    if not options.subjects and not options.all:
        raise ValueError("missing SUBJECT: expected a kind of mixer, FILE.py:FACTORY or --all")
    if options.all and (options.set or options.bidirectional):
        flag = "--set" if options.set else "--bidirectional"
        raise ValueError(f"{flag}: expected a kind of mixer to change, got --all, which has all variants")
    if options.seeds < 1:
        raise ValueError(f"--seeds: expected at least 1, got {options.seeds}")
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs: expected at least 1, got {options.jobs}")
    for text in options.set:
        if "=" not in text:
            raise ValueError(f"--set: expected OPTION=VALUE, got {text!r}")
    if options.html is not None and not options.html.parent.is_dir():
        raise ValueError(f"--html: expected a file in a folder that exists, got '{options.html}'")
