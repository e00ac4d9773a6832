"""Draws what a task shows: grids, pictures, heatmaps and curves to PNG, without matplotlib's global state."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogFormatter, NullFormatter

from linsight.reports.grids import draw_grid
from linsight.reports.pictures import draw_pictures
from linsight.tasks.exhibits import Curves, Exhibit, Grid, Heatmap, Pictures

__all__ = ["draw", "png_of", "save"]

INK, RULE = "#1f2328", "#d0d4da"
SERIES = ("#0b6fb8", "#d1581a", "#128a6b", "#b0447e", "#8a6d00", "#5b5bd6")
"""Told apart by colour-blind readers (after Okabe and Ito 2008), dark enough for thin lines on white."""
DPI = 160
MAX_LABELLED_CELLS = 20
MANY_SERIES = 6
"""With more curves than these a legend inside the axes would cover some of them."""


def draw(exhibit: Exhibit, *, inches: float = 7.2) -> Figure:
    """The picture of an exhibit; its title and note belong to the page around it.

    `inches` is the width of curves; grids, pictures and heatmaps have the size of what they show.

    Raises:
        ValueError: Shapes and labels that do not fit, named with the exhibit.
        TypeError: Something that is not drawn as a picture.
    """
    if isinstance(exhibit, Grid):
        return draw_grid(exhibit)
    if isinstance(exhibit, Pictures):
        return draw_pictures(exhibit)
    if isinstance(exhibit, Heatmap):
        return _draw_heatmap(exhibit)
    if isinstance(exhibit, Curves):
        return _draw_curves(exhibit, inches)
    raise TypeError(f"exhibit: expected a Grid, Pictures, Heatmap or Curves, got {type(exhibit).__name__}")


def save(exhibit: Exhibit, path: Path, *, inches: float = 7.2) -> Path:
    """Draw an exhibit to a PNG file that carries its title and note; the same input gives the same bytes."""
    path.write_bytes(png_of(exhibit, inches=inches))
    return path


def png_of(exhibit: Exhibit, *, inches: float = 7.2) -> bytes:
    """The content of the file that `save` writes."""
    figure = draw(exhibit, inches=inches)
    metadata = {"Title": exhibit.title, "Description": exhibit.note, "Software": None}
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content, metadata=metadata)
    return content.getvalue()


def _draw_curves(curves: Curves, inches: float) -> Figure:
    height = 3.6 if inches > 5 else 0.66 * inches
    figure = Figure(figsize=(inches, height), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    _style(axes)
    axes.grid(color=RULE, linewidth=0.5, alpha=0.7)
    for index, (name, (x, y)) in enumerate(curves.series.items()):
        if len(x) != len(y):
            raise ValueError(f"curves {curves.name!r}: series {name!r} has {len(x)} x and {len(y)} y values")
        few = len(x) <= 24
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        colour = SERIES[index % len(SERIES)]
        if name in curves.areas:
            axes.fill_between(x, y, color=colour, alpha=0.14, linewidth=0)
        axes.plot(
            x,
            y,
            label=name,
            color=colour,
            linestyle=("-", "--", "-.", ":")[index // len(SERIES) % 4],
            linewidth=1.6,
            marker="o" if few else None,
            markersize=3.5,
        )
    axes.set_xlabel(curves.x_label, color=INK, fontsize=9)
    axes.set_ylabel(curves.y_label, color=INK, fontsize=9)
    if curves.log_x:
        axes.set_xscale("log")
        _plain_decades(axes.xaxis)
    elif _largest(curves, 0) >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if curves.log_y:
        axes.set_yscale("log")
        _plain_decades(axes.yaxis)
    if len(curves.series) > MANY_SERIES:
        _legend_beside(figure, axes)
    elif len(curves.series) > 1:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    axes.margins(x=0.02)
    return figure


def _legend_beside(figure: Figure, axes: Axes) -> None:
    """Names on the right in the order in which the curves end, where they cover none of them."""

    def end(line: Line2D) -> float:
        known = np.asarray(line.get_ydata(), dtype=float)
        known = known[np.isfinite(known)]
        return known[-1] if known.size else -np.inf

    lines = sorted(axes.get_lines(), key=end, reverse=True)
    figure.legend(
        handles=lines,
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=2.6,
    )


def _plain_decades(axis: Axis) -> None:
    """0.1, 1, 10 instead of powers of ten; a range inside one decade labels its minor ticks too."""
    low, high = axis.get_view_interval()
    axis.set_major_formatter(FuncFormatter(_said))
    axis.set_minor_formatter(_Thinned() if high < 10 * low else NullFormatter())


class _Thinned(LogFormatter):
    """Numbers where matplotlib would have some; its own are of one digit, however close they are."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return _said(x) if super().__call__(x, pos) else ""


def _said(value: float, _: int | None = None) -> str:
    return f"{value:g}" if value < 10_000 else EngFormatter(sep="")(value)


def _largest(curves: Curves, axis: int) -> float:
    return max(
        (float(np.max(np.abs(points[axis]), initial=0)) for points in curves.series.values()), default=0
    )


def _draw_heatmap(heatmap: Heatmap) -> Figure:
    matrix = np.asarray(heatmap.matrix)
    expected = (len(heatmap.row_labels), len(heatmap.column_labels))
    if matrix.shape != expected:
        raise ValueError(
            f"heatmap {heatmap.name!r}: its labels expect a matrix of shape {expected}, got {matrix.shape}"
        )
    rows, columns = matrix.shape
    cell = 0.46 if max(rows, columns) <= MAX_LABELLED_CELLS else 9.0 / max(rows, columns)
    figure = Figure(
        figsize=(max(2.4, columns * cell) + 1.1, max(1.6, rows * cell) + 0.9),
        dpi=DPI,
        layout="constrained",
        facecolor="white",
    )
    axes = figure.add_subplot()
    _style(axes)
    finite = matrix[np.isfinite(matrix)]
    signed = finite.size > 0 and finite.min() < 0
    bound = float(np.abs(finite).max(initial=0)) or 1.0
    low, high = heatmap.low, heatmap.high or bound
    # A square-root scale: the few errors beside a thousand right answers stay visible.
    norm = Normalize(-bound, bound) if signed else PowerNorm(0.5, low, high)
    colours = matplotlib.colormaps["RdBu_r" if signed else "Blues"]
    image = axes.imshow(matrix, cmap=colours, norm=norm, interpolation="nearest", aspect="equal")
    axes.set_xlabel(heatmap.column_axis, color=INK, fontsize=9)
    axes.set_ylabel(heatmap.row_axis, color=INK, fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if max(rows, columns) <= MAX_LABELLED_CELLS:
        axes.set_xticks(range(columns), heatmap.column_labels)
        axes.set_yticks(range(rows), heatmap.row_labels)
        _write_cells(axes, matrix, lambda value: colours(norm(value)))
    else:
        figure.colorbar(image, ax=axes, shrink=0.8).outline.set_visible(False)
    return figure


def _write_cells(axes: Axes, matrix: np.ndarray, colour_of) -> None:
    whole = np.issubdtype(matrix.dtype, np.integer)
    for (row, column), value in np.ndenumerate(matrix):
        if not np.isfinite(value) or (whole and value == 0):
            continue
        red, green, blue, _ = colour_of(value)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        axes.text(
            column,
            row,
            f"{value:d}" if whole else _digits(value),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else INK,
        )


def _digits(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2g}"


def _style(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(which="both", color=RULE, labelsize=8.5, labelcolor=INK, width=0.6)
    for side, spine in axes.spines.items():
        spine.set_color(RULE)
        spine.set_visible(side in ("left", "bottom"))
