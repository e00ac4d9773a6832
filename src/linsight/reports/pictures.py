"""Draws colour pictures with boxes and lines on them, pixel by pixel, each over its caption."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from linsight.reports.grids import DPI, GREY, MAX_WIDTH
from linsight.tasks.exhibits import Box, Line, Picture, Pictures

__all__ = ["draw_pictures"]

GAP = 10
LETTER = 8.0
COLOURS = {"truth": "#3ddc84", "found": "#ffc233", "wrong": "#ff5470"}
STYLES = {"truth": "-", "found": "-", "wrong": (0, (3, 1.5))}
"""What is wrong is dashed too, for readers who do not tell red from green."""


def draw_pictures(pictures: Pictures) -> Figure:
    """Pictures in rows of `pictures.columns`; every pixel is a square of whole screen pixels.

    Raises:
        ValueError: No picture, or columns below 1; an image that is not (height, width, 3) in [0, 1]; a line
            without a point; marks that are not finite.
    """
    _check(pictures)
    shown = pictures.pictures
    columns = min(pictures.columns, len(shown))
    rows = -(-len(shown) // columns)
    high = max(picture.image.shape[0] for picture in shown)
    wide = max(picture.image.shape[1] for picture in shown)
    scale = int(np.clip((MAX_WIDTH + GAP) // columns // wide, 1, 8))
    line_height = LETTER * DPI / 72 * 1.35
    caption = round(line_height * max(len(picture.caption.splitlines()) for picture in shown))
    step_y, step_x = high * scale + caption + GAP, wide * scale + GAP
    height, width = rows * step_y - GAP, columns * step_x - GAP

    figure = Figure(figsize=((width + 0.1) / DPI, (height + 0.1) / DPI), dpi=DPI, facecolor="none")
    for index, picture in enumerate(shown):
        top, left = index // columns * step_y, index % columns * step_x
        _draw_picture(figure, picture, top=top, left=left, scale=scale, canvas=(height, width))
        if picture.caption:
            bottom = top + picture.image.shape[0] * scale + line_height * 0.15
            figure.text(
                left / width,
                1 - bottom / height,
                picture.caption,
                ha="left",
                va="top",
                fontsize=LETTER,
                linespacing=1.2,
                color=GREY,
            )
    return figure


def _draw_picture(
    figure: Figure, picture: Picture, *, top: int, left: int, scale: int, canvas: tuple[int, int]
) -> None:
    rows, columns = picture.image.shape[:2]
    enlarged = np.asarray(picture.image, dtype=np.float64).repeat(scale, 0).repeat(scale, 1)
    height, width = canvas
    # figimage copies array pixels to file pixels without resampling; its origin is the lower left corner.
    figure.figimage(np.flipud(enlarged), xo=left, yo=height - top - rows * scale, origin="lower")
    axes = figure.add_axes(
        (left / width, 1 - (top + rows * scale) / height, columns * scale / width, rows * scale / height)
    )
    axes.set_zorder(1)  # above the image, which belongs to the figure
    axes.set_axis_off()
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    for line in picture.lines:
        _draw_line(axes, line)
    for box in picture.boxes:
        _draw_box(axes, box)


def _draw_box(axes: Axes, box: Box) -> None:
    x0, y0, x1, y1 = box.xyxy
    colour = COLOURS[box.role]
    axes.add_patch(
        Rectangle(
            (x0, y0),
            x1 - x0,
            y1 - y0,
            fill=False,
            edgecolor=colour,
            linewidth=1.4,
            linestyle=STYLES[box.role],
            path_effects=_halo(2.6),
        )
    )
    if box.text:
        axes.text(x0, y0, box.text, color=colour, fontsize=7, ha="left", va="bottom", path_effects=_halo(1.6))


def _draw_line(axes: Axes, line: Line) -> None:
    x, y = np.asarray(line.points, dtype=np.float64).T + 0.5
    dot = len(x) == 1
    axes.plot(
        x,
        y,
        color=COLOURS[line.role],
        linewidth=1.6,
        linestyle=STYLES[line.role],
        marker="o" if dot else None,
        markersize=3.2,
        path_effects=_halo(2.8),
        scalex=False,
        scaley=False,
    )


def _halo(width: float) -> list:
    """A dark rim, so that a mark shows on light pixels too."""
    return [Stroke(linewidth=width, foreground="#101418"), Normal()]


def _check(pictures: Pictures) -> None:
    name = pictures.name
    if not pictures.pictures:
        raise ValueError(f"pictures {name!r}: expected at least one picture, got none")
    if pictures.columns < 1:
        raise ValueError(f"pictures {name!r}: expected columns >= 1, got {pictures.columns}")
    for index, picture in enumerate(pictures.pictures):
        image = np.asarray(picture.image)
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(
                f"pictures {name!r}: expected image {index} of shape (height, width, 3), got {image.shape}"
            )
        low, high = float(image.min()), float(image.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"pictures {name!r}: expected pixels of image {index} in [0, 1], got {low:g} to {high:g}"
            )
        points = [point for line in picture.lines for point in line.points]
        marks = np.asarray([box.xyxy for box in picture.boxes] + [(*point, 0, 0) for point in points])
        if not np.isfinite(marks).all() or not all(line.points for line in picture.lines):
            raise ValueError(f"pictures {name!r}: expected marks of finite points on image {index}")
