"""Pictures: curves, heatmaps and grids show the numbers they were given, and nothing global changes."""

import io
from pathlib import Path

import matplotlib
import matplotlib._pylab_helpers
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from linsight.reports import draw, save
from linsight.tasks.exhibits import Curves, Grid, Heatmap, Table

LABELS = tuple("0123")


def pixels(grid: Grid) -> np.ndarray:
    """The drawn grid as `(height, width, RGBA)` in 0..255."""
    return np.asarray(Image.open(io.BytesIO(png(grid))).convert("RGBA"))


def png(exhibit) -> bytes:
    content = io.BytesIO()
    FigureCanvasAgg(draw(exhibit)).print_png(content)
    return content.getvalue()


def words(exhibit) -> list[str]:
    """Every text in the axes of a picture."""
    return [text.get_text() for axes in draw(exhibit).axes for text in axes.texts]


@pytest.mark.parametrize(("count", "columns", "side"), [(1, 1, 28), (7, 3, 28), (64, 16, 28), (4, 9, 5)])
def test_every_pixel_of_a_grid_is_a_square_of_its_own_value(count: int, columns: int, side: int) -> None:
    """Crisp: no resampling, no frame, whatever the size; the gaps are transparent."""
    images = np.random.default_rng(0).integers(0, 2, (count, side, side)).astype(float)
    canvas = pixels(Grid("g", "Grid", images, columns))
    columns = min(columns, count)
    solid = canvas[..., 3] == 255
    wide = solid[: side // 2].any(0)
    scale = int(np.argmin(wide)) // side if not wide.all() else len(wide) // side
    assert scale >= 1
    step = (canvas.shape[1] - side * scale) // max(1, columns - 1) if columns > 1 else 0
    for index, image in enumerate(images):
        top, left = index // columns * step, index % columns * step
        tile = canvas[top : top + side * scale, left : left + side * scale]
        expected = (255 * image.repeat(scale, 0).repeat(scale, 1)).astype(np.uint8)
        np.testing.assert_array_equal(tile[..., 0], expected)
        assert (tile[..., 3] == 255).all()


def test_the_last_row_of_a_grid_may_be_short() -> None:
    canvas = pixels(Grid("g", "Grid", np.ones((3, 4, 4)), 2))
    height, width = canvas.shape[:2]
    assert (canvas[height - 4 :, width - 4 :, 3] == 0).all()
    assert (canvas[height - 4 :, :4, 3] == 255).all()


def test_labels_of_a_grid_stand_beside_its_rows_and_columns() -> None:
    figure = draw(
        Grid("g", "Grid", np.zeros((4, 8, 8)), 2, row_labels=("up", "down"), column_labels=("a", "b"))
    )
    assert [text.get_text() for text in figure.texts] == ["up", "down", "a", "b"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            Grid("g", "", np.zeros((4, 4)), 2),
            r"grid 'g': expected images of shape \(number, height, width\), got \(4, 4\)",
        ),
        (Grid("g", "", np.zeros((0, 4, 4)), 2), r"grid 'g': expected images of shape .* got \(0, 4, 4\)"),
        (Grid("g", "", np.zeros((1, 4, 4)), 0), "grid 'g': expected columns >= 1, got 0"),
        (
            Grid("g", "", np.full((1, 2, 2), 255.0), 1),
            r"grid 'g': expected pixels in \[0, 1\], got 255 to 255",
        ),
        (
            Grid("g", "", np.full((1, 2, 2), np.nan), 1),
            r"grid 'g': expected pixels in \[0, 1\], got nan to nan",
        ),
        (Grid("g", "", np.zeros((4, 2, 2)), 2, row_labels=("a",)), "grid 'g': expected 2 row labels, got 1"),
    ],
)
def test_a_grid_that_cannot_be_drawn_is_named(grid: Grid, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(grid)


def test_a_heatmap_prints_its_counts_and_leaves_zeros_out() -> None:
    counts = np.diag([980, 1135, 7, 0])
    assert words(Heatmap("h", "", counts, LABELS, LABELS, "true class", "predicted class")) == [
        "980",
        "1135",
        "7",
    ]


def test_a_heatmap_of_fractions_prints_two_digits_and_labels_its_axes() -> None:
    heatmap = Heatmap("h", "", np.full((1, 2), 0.1234), ("a",), ("b", "c"), "rows", "columns")
    assert words(heatmap) == ["0.12", "0.12"]
    (axes,) = draw(heatmap).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("columns", "rows")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "c"]


def test_a_large_heatmap_has_a_scale_instead_of_numbers() -> None:
    names = tuple(map(str, range(30)))
    figure = draw(Heatmap("h", "", np.random.default_rng(0).random((30, 30)), names, names, "r", "c"))
    assert len(figure.axes) == 2
    assert not figure.axes[0].texts


def test_numbers_on_dark_cells_are_white_and_on_light_ones_dark() -> None:
    (axes,) = draw(Heatmap("h", "", np.array([[1, 900]]), ("a",), ("b", "c"), "r", "c")).axes
    light, dark = axes.texts
    assert dark.get_color() == "white"
    assert light.get_color() != "white"


def test_a_heatmap_whose_labels_do_not_fit_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"heatmap 'h': its labels expect a matrix of shape \(4, 4\), got \(2, 2\)"
    ):
        draw(Heatmap("h", "", np.zeros((2, 2)), LABELS, LABELS, "r", "c"))


def test_curves_carry_names_units_and_scales() -> None:
    series = {"state": ([1, 10, 100], [1.0, 1.0, 1.0]), "cache": ([1, 10, 100], [1.0, 5.0, 50.0])}
    (axes,) = draw(Curves("c", "", series, "position (tokens)", "time (ms)", log_x=True, log_y=True)).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("position (tokens)", "time (ms)")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["state", "cache"]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [1.0, 5.0, 50.0])


def test_the_areas_of_the_series_that_are_named_are_filled():
    series = {"a": ([0.0, 1.0], [2.0, 2.0]), "b": ([0.0, 1.0], [1.0, 3.0])}
    (axes,) = draw(Curves("c", "", series, "x", "y", areas=("b",))).axes
    (area,) = axes.collections
    corners = {tuple(corner) for corner in area.get_paths()[0].vertices.round(6).tolist()}
    assert corners == {(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 3.0)}
    assert (axes.lines[1].get_color(), len(axes.lines)) == ("#d1581a", 2)


def test_a_single_curve_needs_no_legend_and_a_gap_stays_a_gap() -> None:
    (axes,) = draw(Curves("c", "", {"loss": ([1, 2, 3], [3.0, float("nan"), 1.0])}, "step", "loss")).axes
    assert axes.get_legend() is None
    assert np.isnan(axes.lines[0].get_ydata()[1])


def test_many_curves_are_named_beside_the_axes_in_the_order_in_which_they_end() -> None:
    series = {
        f"curve {number}": ([1.0, 2.0, 3.0], [0.0, 10.0 * number % 7, float("nan")]) for number in range(8)
    }
    figure = draw(Curves("many", "Many", series, "x", "y"))
    assert figure.axes[0].get_legend() is None
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    ends = [series[name][1][1] for name in named]
    assert len(named) == 8
    assert ends == sorted(ends, reverse=True)
    figure.draw_without_rendering()
    assert legend.get_window_extent().x0 >= figure.axes[0].get_window_extent().x1


def test_a_log_axis_inside_one_decade_still_has_numbers() -> None:
    figure = draw(Curves("c", "", {"a": ([1, 2, 3], [2.0, 3.0, 5.0])}, "x", "y", log_y=True))
    FigureCanvasAgg(figure).draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels(minor=True)]
    assert any(labels)


def test_ticks_of_a_narrow_log_axis_can_be_told_apart() -> None:
    """Between 29.6 and 29.8 million no power of ten, and no single digit, says where one is."""
    curves = Curves("c", "", {"a": ([2.96e7, 2.97e7, 2.98e7], [2.0, 3.0, 5.0])}, "x", "y", log_x=True)
    figure = draw(curves)
    FigureCanvasAgg(figure).draw()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels(minor=True) if label.get_text()]
    assert len(labels) > 2
    assert len(set(labels)) == len(labels)
    assert all(label.endswith("M") for label in labels)


def test_a_curve_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="curves 'c': series 'a' has 2 x and 1 y values"):
        draw(Curves("c", "", {"a": ([1, 2], [1.0])}, "x", "y"))


def test_a_table_is_no_picture() -> None:
    with pytest.raises(TypeError, match="exhibit: expected a Grid, Pictures, Heatmap or Curves, got Table"):
        draw(Table("t", "", (), ()))


def test_a_file_holds_its_title_and_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    grid = Grid("g", "Samples of p(x)", np.zeros((2, 4, 4)), 2, note="none left out")
    first, second = save(grid, tmp_path / "a.png"), save(grid, tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.text == {"Title": "Samples of p(x)", "Description": "none left out"}


def test_drawing_changes_nothing_global() -> None:
    """No figure stays behind in pyplot, and the user's own settings are as they were."""
    before = dict(matplotlib.rcParams)
    draw(Heatmap("h", "", np.eye(2), ("a", "b"), ("a", "b"), "r", "c"))
    draw(Curves("c", "", {"a": ([1], [1.0])}, "x", "y"))
    assert dict(matplotlib.rcParams) == before
    assert matplotlib._pylab_helpers.Gcf.figs == {}
