"""A folder of exhibits: a self-contained page, the pictures, the tables as Markdown, and the numbers."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from linsight.reports.environment import environment
from linsight.reports.numbers import cell
from linsight.reports.page import render
from linsight.reports.shown import shown
from linsight.tasks.exhibits import Exhibit, Table
from linsight.training.files import write_atomically

__all__ = ["write_folder"]


def write_folder(
    folder: Path,
    *,
    title: str,
    exhibits: Sequence[Exhibit],
    settings: Mapping[str, Any],
    numbers: Any,
    command: str,
) -> Path:
    """Write `report.html`, `figures/*.png`, `tables.md` and `numbers.json`; returns the page's path.

    Args:
        folder: Made where it is missing.
        title: Of the page.
        exhibits: What it shows, in order.
        settings: What was asked for, by name.
        numbers: Plain data for programs.
        command: The command line that makes it.

    Raises:
        ValueError: An exhibit that cannot be drawn.
        OSError: A file that cannot be written.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    date, found = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", environment()
    configuration = {name: str(value) for name, value in settings.items()}
    page = render(
        title=title,
        subtitle=date,
        metrics={},
        curves=[],
        exhibits=shown(exhibits, figures),
        configuration=configuration,
        environment=found,
        command=command,
    )
    lines = [f"# {title}", "", f"`{command}`, {date}", "", _pairs(found), ""]
    for exhibit in exhibits:
        if isinstance(exhibit, Table):
            lines += [
                f"## {exhibit.title}",
                "",
                _markdown(exhibit),
                "",
                *([exhibit.note, ""] if exhibit.note else []),
            ]
    write_atomically(folder / "tables.md", "\n".join(lines).encode())
    data = {
        "command": command,
        "date": date,
        "environment": found,
        "settings": configuration,
        "found": numbers,
    }
    write_atomically(folder / "numbers.json", (json.dumps(data, indent=2, allow_nan=False) + "\n").encode())
    path = folder / "report.html"
    write_atomically(path, page.encode())
    return path


def _pairs(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _markdown(table: Table) -> str:
    rows = [[cell(value) for value in row] for row in table.rows]
    lines = [table.columns, ["---"] * len(table.columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
