"""`linsight doctor`: what this machine has, and which path each op takes and why."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What `linsight doctor` takes."""

    json: bool = False
    """Print what was found as JSON."""
    build: bool = False
    """First build the compiled kernels of the CPU again, which takes some ten seconds and a C++ compiler."""
    require: Literal["compiled", "triton"] | None = None
    """Fail if no op runs by this engine in float32 here."""


def run(arguments: Sequence[str]) -> int:
    """Look, and say; returns 1 where something is broken, such as a damaged data file, or missing."""
    options = parse(
        Options,
        arguments,
        prog="linsight doctor",
        description="Show what this machine has, and what runs on it.",
    )
    from linsight import kernels
    from linsight.cli.diagnosis import diagnose

    if options.build:
        try:
            print(f"built {kernels.cpu.build()}", file=sys.stderr)
        except RuntimeError as error:
            print(f"linsight: {error}", file=sys.stderr)
            return 1
    found = diagnose()
    if options.require and not any(
        row["engine"] == options.require and row["dtype"] == "float32" for row in found["ops"]
    ):
        found["problems"].append(f"no op runs by {options.require!r} here; see the table of ops for why")
    print(json.dumps(found, indent=2) if options.json else _text(found))
    return 1 if found["problems"] else 0


def _text(found: dict[str, Any]) -> str:
    """Each section as a heading and aligned lines; a list of records as a table."""
    lines: list[str] = []
    for section, content in found.items():
        if content:
            lines += [section, *(f"  {line}" for line in _lines(content)), ""]
    return "\n".join(lines).rstrip()


def _lines(content: Any) -> list[str]:
    if isinstance(content, dict):
        return _aligned([(name, str(value)) for name, value in content.items()])
    if isinstance(content[0], dict):
        return _aligned([tuple(content[0]), *(tuple(map(str, record.values())) for record in content)])
    return [str(item) for item in content]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in padded]
