"""Densities beside one another: marginals by hand, the axes, one scale, refusals."""

import numpy as np
import pytest

from linsight.tasks.densities_beside import densities_beside, square_grid


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
