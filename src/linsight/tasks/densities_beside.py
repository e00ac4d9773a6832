"""Densities of label noise beside one another: the true law, what was learnt, what labels really do."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from linsight.models.vision.codecs import ScaledCodec
from linsight.tasks.exhibits import Curves, Grid

__all__ = ["densities_beside", "learnt_beside", "learnt_density", "square_grid"]

_CELLS = 41


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
    about = (
        f"From -{reach:.3g} to {reach:.3g} {unit} along both axes, {axes[0]} to the right, {axes[1]} down."
    )
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


def learnt_beside(
    codec: ScaledCodec,
    sigma: Float[Tensor, "examples axes"],
    scale: Float[Tensor, "examples axes"],
    offsets: Float[Tensor, "labels 2"],
    law: Callable[[Float[Tensor, "points 2"]], Float[Tensor, " points"]] | None,
    *,
    axes: tuple[str, str],
    unit: str,
    within: tuple[float, float],
    note: str = "",
) -> tuple[Grid, Curves, Curves]:
    """The law, what a codec has learnt of it, and what labels really are about what was found.

    A label at r units from what was found has the error -r s in the codec's own, with s the example's scale,
    so that p(r) = p(error) times the product of s over the axes; what is shown is the mean over the examples.

    Args:
        codec: What gave the sigmas.
        sigma: In the codec's unit of errors, of some examples.
        scale: The codec's units in one of ours, of each.
        offsets: Of all labels from what was found, in ours.
        law: Its density at places in ours; None where there is none.
        axes, unit, note: See `densities_beside`.
        within: The least and greatest reach of the figure; it holds 98 % of the offsets where it can.
    """
    reach = float(torch.quantile(offsets.abs().flatten(), 0.98).clamp(*within))
    points = torch.from_numpy(square_grid(reach, _CELLS)).reshape(-1, 2)
    shown: dict[str, np.ndarray] = {}
    if law is not None:
        shown["the law"] = law(points).reshape(_CELLS, _CELLS).numpy()
    shown["learnt"] = learnt_density(codec, sigma, scale, points).reshape(_CELLS, _CELLS).numpy()
    edges = np.linspace(-reach, reach, _CELLS + 1)
    counts, _, _ = np.histogram2d(offsets[:, 1].numpy(), offsets[:, 0].numpy(), bins=(edges, edges))
    shown["labels"] = counts / len(offsets) / (2 * reach / _CELLS) ** 2
    return densities_beside(shown, reach, axes=axes, unit=unit, note=note)


def learnt_density(
    codec: ScaledCodec,
    sigma: Float[Tensor, "examples axes"],
    scale: Float[Tensor, "examples axes"],
    points: Float[Tensor, "points axes"],
) -> Float[Tensor, " points"]:
    """The mean over examples of the density of labels at points about what was found; see `learnt_beside`."""
    total = torch.zeros(len(points), dtype=torch.float64)
    with torch.no_grad():
        for one, spread in zip(scale, sigma, strict=True):
            error = (-points * one).to(spread.dtype)
            log = -codec.nlls(error, spread.expand_as(error)).double() + one.log().sum()
            total += log.exp()
    return total / len(sigma)
