"""Densities of label noise beside one another: the true law, what was learnt, what labels really do."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from linsight.tasks.exhibits import Curves, Grid

__all__ = ["densities_beside", "square_grid"]


def square_grid(reach: float, number: int) -> Float[np.ndarray, "number number 2"]:
    """The centres (x, y) of number x number cells over [-reach, reach]^2; rows go along y.

    Raises ValueError for a reach that is not above 0, or fewer than 2 cells.
    """
    if not reach > 0:
        raise ValueError(f"reach: expected a number above 0, got {reach}")
    if number < 2:
        raise ValueError(f"number: expected at least 2 cells along a side, got {number}")
    line = (np.arange(number) + 0.5) * (2 * reach / number) - reach
    return np.stack(np.meshgrid(line, line), -1)


def densities_beside(
    densities: Mapping[str, np.ndarray],
    reach: float,
    *,
    axes: tuple[str, str],
    unit: str,
    note: str = "",
    name: str = "densities",
) -> tuple[Grid, Curves, Curves]:
    """Densities over `square_grid(reach, number)` as pictures beside one another, and their marginals.

    Pictures are brighter where the density is higher, by its square root; all have one scale, whose white is
    the greatest density of all.

    Args:
        densities: By name, each a probability by square unit, rows along the second axis.
        reach: Half the side of the square.
        axes: What the two axes are called.
        unit: Of both.
        note: Under the pictures.
        name: Of the exhibits, which are `name`, `name_0` and `name_1`.

    Raises ValueError for none, for one that is not square, or numbers that are no densities.
    """
    if not densities:
        raise ValueError("densities: expected at least one, got none")
    shape = next(iter(densities.values())).shape
    for called, one in densities.items():
        if one.ndim != 2 or one.shape[0] != one.shape[1] or one.shape != shape:
            raise ValueError(f"densities: expected squares of one size, got {one.shape} for {called!r}")
        if not (np.isfinite(one).all() and (one >= 0).all()):
            raise ValueError(f"densities: expected finite numbers of at least 0, got others for {called!r}")
    number = shape[0]
    greatest = max(float(one.max()) for one in densities.values()) or 1.0
    scale = max(1, 120 // number)  # a cell is several pixels of the exhibit
    images = np.stack(
        [np.sqrt(one / greatest).repeat(scale, 0).repeat(scale, 1) for one in densities.values()]
    )
    cell = 2 * reach / number
    line = square_grid(reach, number)[0, :, 0].tolist()
    # Rows go along the second axis: a sum over them leaves the first.
    series = [
        {called: (line, (one.sum(axis) * cell).tolist()) for called, one in densities.items()}
        for axis in (0, 1)
    ]
    about = f"From -{reach:g} to {reach:g} {unit} along both axes, {axes[0]} to the right, {axes[1]} down."
    grid = Grid(
        name,
        "Densities of labels",
        images,
        len(images),
        column_labels=tuple(densities),
        note=f"{about} {note}".strip(),
    )
    curves = tuple(
        Curves(
            f"{name}_{axis}",
            f"Density along {axes[axis]}",
            series[axis],
            f"{axes[axis]} ({unit})",
            f"1 / {unit}",
        )
        for axis in (0, 1)
    )
    return grid, curves[0], curves[1]
