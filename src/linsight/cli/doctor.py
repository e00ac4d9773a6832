"""`linsight doctor`: what this machine has, and which path each op takes and why."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What `linsight doctor` takes."""

    json: bool = False
    """Print what was found as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Look, and say; returns 1 where something is broken, such as a damaged data file."""
    options = parse(
        Options,
        arguments,
        prog="linsight doctor",
        description="Show what this machine has, and what runs on it.",
    )
    from linsight.cli.diagnosis import diagnose

    found = diagnose()
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
