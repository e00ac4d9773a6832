"""Pictures: every pixel is shown as it is, and marks stand where their coordinates say."""

import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from linsight.reports import draw
from linsight.tasks import Box, Line, Picture, Pictures


def pixels(*pictures: Picture, columns: int = 2) -> np.ndarray:
    """The drawn pictures as `(height, width, RGBA)` in 0..255."""
    content = io.BytesIO()
    FigureCanvasAgg(draw(Pictures("p", "Pictures", pictures, columns))).print_png(content)
    return np.asarray(Image.open(io.BytesIO(content.getvalue())).convert("RGBA")).astype(int)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)) / 255


@pytest.mark.parametrize("sizes", [[(20, 30)], [(20, 30), (31, 17), (5, 8)]])
def test_every_pixel_is_a_square_of_its_own_colour(sizes: list[tuple[int, int]]) -> None:
    """Pictures of several sizes, no resampling: the tile is the image repeated."""
    images = [noise(height, width, seed) for seed, (height, width) in enumerate(sizes)]
    canvas = pixels(*map(Picture, images))
    scale = 8
    columns = min(2, len(sizes))
    high, wide = max(h for h, _ in sizes) * scale + 10, max(w for _, w in sizes) * scale + 10
    for index, image in enumerate(images):
        top, left = index // columns * high, index % columns * wide
        tile = (255 * image.repeat(scale, 0).repeat(scale, 1)).round().astype(int)
        got = canvas[top : top + tile.shape[0], left : left + tile.shape[1]]
        assert np.abs(got[..., :3] - tile).max() <= 1
        assert (got[..., 3] == 255).all()


def changed(picture: Picture) -> np.ndarray:
    """Which pixels of the image, as cells, are touched by what is marked."""
    bare, marked = pixels(Picture(picture.image)), pixels(picture)
    rows, columns = picture.image.shape[:2]
    differs = (bare != marked).any(-1)
    return differs.reshape(rows, 8, columns, 8).any((1, 3))


def test_a_box_stands_on_the_edges_that_it_names() -> None:
    """Continuous edges: x0 = 4 is the left edge of pixel 4: pixels 3 and 4 are touched, 2 and 6 not."""
    got = changed(Picture(np.full((20, 24, 3), 0.5), boxes=(Box((4, 5, 16, 15)),)))
    middle = got[10]
    assert middle[[3, 4, 15, 16]].all()
    assert not middle[[0, 1, 2, 6, 10, 13, 18, 19]].any()
    assert not got[[0, 1, 2, 3, 17, 18]].any()


def test_a_dot_stands_on_the_centre_of_its_pixel() -> None:
    """Pixel-centre indices: (7, 3) is the middle of pixel 7 of row 3; what is drawn is symmetric about it."""
    image = np.full((9, 15, 3), 0.5)
    bare, marked = pixels(Picture(image)), pixels(Picture(image, lines=(Line(((7.0, 3.0),)),)))
    rows, columns = np.nonzero((bare != marked).any(-1))
    assert columns.mean() == pytest.approx(7.5 * 8 - 0.5, abs=0.6)
    assert rows.mean() == pytest.approx(3.5 * 8 - 0.5, abs=0.6)


def test_roles_have_colours_of_their_own() -> None:
    image = np.full((20, 20, 3), 0.5)
    seen = {
        role: tuple(
            map(tuple, np.unique(pixels(Picture(image, boxes=(Box((4, 4, 16, 16), role=role),))), axis=0)[0])
        )
        for role in ("truth", "found", "wrong")
    }
    assert len(set(seen.values())) == 3


def test_a_caption_stands_below_and_covers_nothing() -> None:
    image = noise(20, 30)
    bare, captioned = pixels(Picture(image)), pixels(Picture(image, caption="two lines\nof words"))
    height = bare.shape[0]
    assert captioned.shape[0] > height
    assert (captioned[:height, :240] == bare).all()
    assert (captioned[height:, :, 3] > 0).any()


@pytest.mark.parametrize(
    ("pictures", "columns", "message"),
    [
        ((), 2, "pictures 'p': expected at least one picture, got none"),
        ((Picture(np.zeros((4, 4, 3))),), 0, "pictures 'p': expected columns >= 1, got 0"),
        ((Picture(np.zeros((4, 4))),), 1, r"image 0 of shape \(height, width, 3\), got \(4, 4\)"),
        ((Picture(np.full((4, 4, 3), 2.0)),), 1, r"pixels of image 0 in \[0, 1\], got 2 to 2"),
        ((Picture(np.zeros((4, 4, 3)), lines=(Line(()),)),), 1, "marks of finite points on image 0"),
        (
            (Picture(np.zeros((4, 4, 3)), boxes=(Box((0, 0, float("nan"), 1)),)),),
            1,
            "marks of finite points on image 0",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(pictures: tuple, columns: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(Pictures("p", "Pictures", pictures, columns))
