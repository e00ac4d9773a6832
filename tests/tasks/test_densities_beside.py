"""Densities beside one another: marginals by hand, the axes, one scale, refusals."""

import numpy as np
import pytest
import torch

from linsight.models.vision.codecs import Pixels, make_codec
from linsight.tasks.densities_beside import densities_beside, learnt_density, square_grid


def test_a_grid_has_its_cells_centres_with_x_along_rows() -> None:
    assert square_grid(2.0, 2).tolist() == [[[-1, -1], [1, -1]], [[-1, 1], [1, 1]]]


def test_marginals_of_a_normal_law_are_its_factors() -> None:
    """N(0, 0.5) along x and N(1, 0.3) along y: each marginal is the factor, to the grid's accuracy."""
    points = square_grid(3.0, 90)

    def normal(x, mean, scale):
        return np.exp(-0.5 * ((x - mean) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))

    joint = normal(points[..., 0], 0, 0.5) * normal(points[..., 1], 1, 0.3)
    _, along_x, along_y = densities_beside({"a": joint}, 3.0, axes=("x", "y"), unit="m")
    for curves, mean, scale in ((along_x, 0, 0.5), (along_y, 1, 0.3)):
        line, density = curves.series["a"]
        np.testing.assert_allclose(density, normal(np.array(line), mean, scale), atol=1e-6)
    assert (along_x.x_label, along_y.x_label) == ("x (m)", "y (m)")


def test_pictures_have_one_scale_and_names() -> None:
    one = np.array([[1.0, 0.0], [0.0, 0.0]])
    grid, *_ = densities_beside({"low": one, "high": 4 * one}, 1.0, axes=("x", "y"), unit="m", note="Why.")
    assert grid.column_labels == ("low", "high")
    assert [image.max() for image in grid.images] == [0.5, 1.0]
    assert grid.images[1][0, 0] == 1
    assert grid.images[1][0, -1] == 0
    assert grid.note == "From -1 to 1 m along both axes, x to the right, y down. Why."


@pytest.mark.parametrize(
    ("densities", "message"),
    [
        ({}, "densities: expected at least one, got none"),
        ({"a": np.zeros((2, 3))}, r"densities: expected squares of one size, got \(2, 3\) for 'a'"),
        (
            {"a": np.zeros((2, 2)), "b": np.zeros((3, 3))},
            r"densities: expected squares of one size, got \(3, 3\) for 'b'",
        ),
        (
            {"a": np.full((2, 2), -1.0)},
            "densities: expected finite numbers of at least 0, got others for 'a'",
        ),
        ({"a": np.full((2, 2), np.nan)}, "densities: expected finite numbers of at least 0"),
    ],
)
def test_what_is_no_density_is_refused(densities, message) -> None:
    with pytest.raises(ValueError, match=message):
        densities_beside(densities, 1.0, axes=("x", "y"), unit="m")


@pytest.mark.parametrize(
    ("reach", "number", "message"),
    [(0.0, 3, "reach: expected a number above 0, got 0"), (1.0, 1, "number: expected at least 2 cells")],
)
def test_a_grid_that_is_none_is_refused(reach, number, message) -> None:
    with pytest.raises(ValueError, match=message):
        square_grid(reach, number)


def test_what_was_learnt_lies_where_labels_are_and_not_mirrored() -> None:
    """A flow that is all on one side: labels are as far on the other, a label being truth less error.

    One coupling shifts its coordinate by a constant c, so that x ~ N(c, 1) on that axis, errors are sigma x,
    and labels about what was found are at -sigma c, in units of 1 / scale.
    """
    codec = make_codec("rle", Pixels(width=40, height=20))
    with torch.no_grad():
        for number, shift in ((0, 2.0), (1, -1.0)):
            codec.flow.couplings[number].shift[-1].bias.fill_(shift)
    drawn = codec.flow.sample(4000, generator=torch.Generator().manual_seed(0))
    assert drawn.mean(0).abs().min() > 0.5, "a law without a side shows nothing"
    sigma, scale = torch.full((1, 2), 0.05), torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    reach, number = 1.6, 161
    points = torch.from_numpy(square_grid(reach, number)).reshape(-1, 2)
    density = learnt_density(codec, sigma, scale, points)
    cell = (2 * reach / number) ** 2
    assert density.sum().item() * cell == pytest.approx(1, abs=2e-3)
    mean = (density[:, None] * points).sum(0) * cell
    want = -(sigma * drawn.mean(0)).double()[0] / scale[0]
    assert mean.tolist() == pytest.approx(want.tolist(), abs=0.02)
