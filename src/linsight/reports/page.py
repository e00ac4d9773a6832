"""Pages: one HTML file with its pictures, tables and style inside, and no link to elsewhere; the report's."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import jinja2

from linsight.reports.numbers import cell, name_and_unit, number
from linsight.tasks.exhibits import Table, Text

__all__ = ["Picture", "flatten", "render", "template"]

HEADLINES = 6


@dataclass(frozen=True)
class Picture:
    """A drawn exhibit: its words and PNG bytes; a grid of images is shown as it is in the dark too."""

    title: str
    note: str
    png: bytes
    is_grid: bool = False

    @property
    def width(self) -> int:
        """Width on the page: files have two dots per pixel of grids, and 1.6 of drawings."""
        dots = int.from_bytes(self.png[16:20], "big")
        return round(dots / (2 if self.is_grid else 1.6))

    @property
    def source(self) -> str:
        """The picture as a `data:` address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def render(
    *,
    title: str,
    subtitle: str,
    metrics: Mapping[str, float],
    curves: Sequence[Picture],
    exhibits: Sequence[Picture | Table | Text],
    configuration: Mapping[str, str],
    environment: Mapping[str, str],
    command: str,
) -> str:
    """The page as HTML, readable on light and dark screens and on paper, without scripts."""
    shown = [(*name_and_unit(name), number(value)) for name, value in metrics.items()]
    return template("report.html").render(
        title=title,
        subtitle=subtitle,
        headlines=shown[:HEADLINES],
        further=shown[HEADLINES:],
        curves=curves,
        exhibits=[_table(item) if isinstance(item, Table) else item for item in exhibits],
        configuration=configuration,
        environment=environment,
        command=command,
    )


def template(name: str) -> jinja2.Template:
    """A template of `templates/`; `base.html` is the style and the frame of all pages."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("linsight.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def flatten(config: Any, path: str = "") -> dict[str, str]:
    """A configuration as `path.to.field` -> value, in the order of its fields."""
    if is_dataclass(config) and not isinstance(config, type):
        parts = {field.name: getattr(config, field.name) for field in fields(config)}
    elif isinstance(config, tuple) and any(is_dataclass(part) for part in config):
        parts = {str(index): part for index, part in enumerate(config)}
    else:
        return {path: "none" if config is None else str(config)}
    flat: dict[str, str] = {}
    for name, part in parts.items():
        flat |= flatten(part, f"{path}.{name}" if path else name)
    return flat


def _table(table: Table) -> dict[str, Any]:
    numeric = [all(_is_number(row[column]) for row in table.rows) for column in range(len(table.columns))]
    rows = [[cell(value) for value in row] for row in table.rows]
    return {
        "title": table.title,
        "note": table.note,
        "columns": table.columns,
        "rows": rows,
        "numeric": numeric,
    }


def _is_number(value: str | int | float | None) -> bool:
    """Whether the cell is a number, as it is or written out (`82.9 ± 0.1`, `12 %`), or there is none."""
    return not isinstance(value, str) or re.fullmatch(r"([-+]?\d[\d.,eE±%/ +-]*)?", value) is not None
