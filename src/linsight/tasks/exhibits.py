"""What a task shows: plain data for tables and pictures, drawn by `reports`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Curves", "Evaluation", "Exhibit", "Grid", "Heatmap", "Table", "Text"]


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; numbers are formatted by the drawer, text is kept."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """Images (number, height, width) in [0, 1], laid out row by row, `columns` to a row."""

    name: str
    title: str
    images: np.ndarray
    columns: int
    row_labels: tuple[str, ...] = ()
    column_labels: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Heatmap:
    """A matrix (rows, columns) with a label for every row and column; its numbers stand in the cells.

    `low` has the lightest colour, `high` the darkest (None: the largest number).
    """

    name: str
    title: str
    matrix: np.ndarray
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    row_axis: str
    column_axis: str
    note: str = ""
    low: float = 0.0
    high: float | None = None


@dataclass(frozen=True)
class Curves:
    """Named series of (x, y) over common axes whose labels carry the units."""

    name: str
    title: str
    series: dict[str, tuple[Sequence[float], Sequence[float]]]
    x_label: str
    y_label: str
    log_x: bool = False
    log_y: bool = False
    note: str = ""


@dataclass(frozen=True)
class Text:
    """Text as it is, line breaks kept."""

    name: str
    title: str
    text: str
    note: str = ""


Exhibit = Table | Grid | Heatmap | Curves | Text


@dataclass(frozen=True)
class Evaluation:
    """The outcome of evaluating a model on one split.

    `metrics` maps a name that carries its unit (`nll_nats_per_image`, `accuracy`) to a number; `exhibits`
    are shown in the report in their order.
    """

    split: str
    metrics: dict[str, float]
    exhibits: tuple[Exhibit, ...] = field(default=())
