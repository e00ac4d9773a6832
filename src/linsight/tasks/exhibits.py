"""What a task shows: plain data for tables and pictures, drawn by `reports`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

__all__ = [
    "Box",
    "Curves",
    "Evaluation",
    "Exhibit",
    "Grid",
    "Heatmap",
    "Line",
    "Picture",
    "Pictures",
    "Role",
    "Table",
    "Text",
]

Role = Literal["truth", "found", "wrong"]
"""What a mark on a picture is: what is there, what a model found, and what it should not have found."""


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
class Box:
    """A rectangle on a picture: (x0, y0, x1, y1) in pixels, continuous edges; `text` stands above it."""

    xyxy: tuple[float, float, float, float]
    text: str = ""
    role: Role = "found"


@dataclass(frozen=True)
class Line:
    """A line through points (x, y) in pixels, pixel 0 centred at 0.0; one point is a dot."""

    points: tuple[tuple[float, float], ...]
    role: Role = "found"


@dataclass(frozen=True)
class Picture:
    """A colour image (height, width, 3) in [0, 1], and what is marked on it."""

    image: np.ndarray
    caption: str = ""
    boxes: tuple[Box, ...] = ()
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """Colour pictures of any sizes, laid out row by row, `columns` to a row, each over its caption."""

    name: str
    title: str
    pictures: tuple[Picture, ...]
    columns: int
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
    """Named series of (x, y) over common axes whose labels carry the units; `areas` are filled to 0."""

    name: str
    title: str
    series: dict[str, tuple[Sequence[float], Sequence[float]]]
    x_label: str
    y_label: str
    log_x: bool = False
    log_y: bool = False
    note: str = ""
    areas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """Text as it is, line breaks kept."""

    name: str
    title: str
    text: str
    note: str = ""


Exhibit = Table | Grid | Pictures | Heatmap | Curves | Text


@dataclass(frozen=True)
class Evaluation:
    """The outcome of evaluating a model on one split.

    `metrics` maps a name that carries its unit (`nll_nats_per_image`, `accuracy`) to a number; `exhibits`
    are shown in the report in their order.
    """

    split: str
    metrics: dict[str, float]
    exhibits: tuple[Exhibit, ...] = field(default=())
