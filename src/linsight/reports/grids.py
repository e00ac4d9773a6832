"""Draws a grid of images pixel by pixel: every pixel of an image is a square of whole screen pixels."""

import numpy as np
from matplotlib.figure import Figure

from linsight.tasks.exhibits import Grid

__all__ = ["draw_grid"]

DPI = 160
MAX_WIDTH = 1600
"""Twice the width of the page's column, for screens of two dots per pixel."""
LABEL_SIZE = 9.0
GREY = "#7b818a"
"""Letters and gaps show on white and on dark paper alike: grey letters, transparent gaps."""


def draw_grid(grid: Grid) -> Figure:
    """Images `(number, height, width)` in [0, 1], 0 black and 1 white, in rows of `grid.columns`.

    Raises:
        ValueError: Not a stack of images in [0, 1]; labels whose number is not that of rows or columns.
    """
    images = np.asarray(grid.images)
    _check(grid, images)
    count, height, width = images.shape
    columns = min(grid.columns, count)
    rows = -(-count // columns)
    scale = int(np.clip(MAX_WIDTH // (columns * width), 1, 8))
    gap = 2 + scale

    step_y, step_x = height * scale + gap, width * scale + gap
    canvas = np.zeros((rows * step_y - gap, columns * step_x - gap, 4))
    for index, image in enumerate(images.astype(np.float64)):
        top, left = index // columns * step_y, index % columns * step_x
        tile = image.repeat(scale, axis=0).repeat(scale, axis=1)
        canvas[top : top + height * scale, left : left + width * scale, :3] = tile[..., None]
        canvas[top : top + height * scale, left : left + width * scale, 3] = 1

    letter = LABEL_SIZE * DPI / 72
    left_margin = round(letter * 0.62 * max(map(len, grid.row_labels)) + letter) if grid.row_labels else 0
    top_margin = round(letter * 2) if grid.column_labels else 0
    pixels_high, pixels_wide = canvas.shape[0] + top_margin, canvas.shape[1] + left_margin
    figure = Figure(figsize=((pixels_wide + 0.1) / DPI, (pixels_high + 0.1) / DPI), dpi=DPI, facecolor="none")
    # figimage copies array pixels to file pixels without resampling; its origin is the lower left corner.
    figure.figimage(np.flipud(canvas), xo=left_margin, yo=0, origin="lower")
    for row, label in enumerate(grid.row_labels):
        centre = pixels_high - top_margin - row * step_y - height * scale / 2
        x = (left_margin - letter / 2) / pixels_wide
        figure.text(x, centre / pixels_high, label, ha="right", va="center", fontsize=LABEL_SIZE, color=GREY)
    for column, label in enumerate(grid.column_labels):
        centre = left_margin + column * step_x + width * scale / 2
        y = 1 - top_margin / 2 / pixels_high
        figure.text(centre / pixels_wide, y, label, ha="center", va="center", fontsize=LABEL_SIZE, color=GREY)
    return figure


def _check(grid: Grid, images: np.ndarray) -> None:
    if images.ndim != 3 or len(images) == 0:
        raise ValueError(
            f"grid {grid.name!r}: expected images of shape (number, height, width), got {images.shape}"
        )
    if grid.columns < 1:
        raise ValueError(f"grid {grid.name!r}: expected columns >= 1, got {grid.columns}")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"grid {grid.name!r}: expected pixels in [0, 1], got {low:g} to {high:g}")
    columns = min(grid.columns, len(images))
    rows = -(-len(images) // columns)
    for axis, labels, number in (("row", grid.row_labels, rows), ("column", grid.column_labels, columns)):
        if labels and len(labels) != number:
            raise ValueError(f"grid {grid.name!r}: expected {number} {axis} labels, got {len(labels)}")
