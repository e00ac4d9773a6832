"""Polygons: by hand where pixels are whole, by a literal walk elsewhere; pycocotools, where installed."""

from itertools import pairwise

import numpy as np
import pytest

from linsight.data.annotations.polygons import from_polygon, from_polygons
from linsight.data.annotations.rle import compress, from_mask, to_mask


def _literal(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The rule a point at a time: every crossing of a column's middle changes the column from there down."""
    corners = [(int(5 * x + 0.5), int(5 * y + 0.5)) for x, y in points.tolist()]
    walk = []
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        flat = abs(x2 - x1) >= abs(y2 - y1)
        length = max(abs(x2 - x1), abs(y2 - y1))
        back = x1 > x2 if flat else y1 > y2
        (u1, v1), (u2, v2) = ((x2, y2), (x1, y1)) if back else ((x1, y1), (x2, y2))
        side = []
        for step in range(length + 1):
            if flat:
                slope = (v2 - v1) / length if length else 0
                side.append((u1 + step, int(v1 + slope * step + 0.5)))
            else:
                side.append((int(u1 + (u2 - u1) / length * step + 0.5), v1 + step))
        walk += side[::-1] if back else side
    mask = np.zeros((height, width), bool)
    for (x1, y1), (x2, y2) in pairwise(walk):
        if x1 == x2:
            continue
        column = ((x2 if x2 < x1 else x2 - 1) + 0.5) / 5 - 0.5
        if column != np.floor(column) or not 0 <= column <= width - 1:
            continue
        row = int(np.ceil(min(max((min(y1, y2) + 0.5) / 5 - 0.5, 0), height)))
        flat_mask = mask.ravel(order="F")
        flat_mask[int(column) * height + row :] ^= True
        mask = flat_mask.reshape((height, width), order="F")
    return mask


def _random_polygon(random: np.random.Generator, number: int) -> tuple[np.ndarray, int, int]:
    height, width = (int(side) for side in random.integers(1, 50, 2))
    points = random.normal(size=(int(random.integers(3, 9)), 2)) * [width / 2, height / 2] + [
        width / 2,
        height / 2,
    ]
    if number % 3:
        points = np.round(points * (number % 3)) / (number % 3)
    if number % 7 == 0:
        points[1] = points[0]
    return points, height, width


def test_a_polygon_is_the_literal_walk() -> None:
    random = np.random.default_rng(0)
    for number in range(120):
        points, height, width = _random_polygon(random, number)
        assert (to_mask(from_polygon(points, (height, width))) == _literal(points, height, width)).all()


def test_whole_rectangles_are_whole() -> None:
    corners = np.array([[2.0, 1.0], [6.0, 1.0], [6.0, 4.0], [2.0, 4.0]])
    expected = np.zeros((8, 9), bool)
    expected[1:4, 2:6] = True
    for points in (corners, corners[::-1], np.roll(corners, 1, axis=0)):
        assert (to_mask(from_polygon(points, (8, 9))) == expected).all()


def test_what_is_beyond_the_image_is_cut_off() -> None:
    wide = np.array([[-20.0, -20.0], [40.0, -20.0], [40.0, 40.0], [-20.0, 40.0]])
    assert to_mask(from_polygon(wide, (6, 7))).all()
    assert not to_mask(from_polygon(wide + 100, (6, 7))).any()


def test_several_polygons_are_their_union() -> None:
    one = np.array([[0.0, 0.0], [5.0, 0.0], [5.0, 5.0], [0.0, 5.0]])
    both = to_mask(from_polygons([one, one + 3], (9, 9)))
    expected = np.zeros((9, 9), bool)
    expected[:5, :5] = expected[3:8, 3:8] = True
    assert (both == expected).all()


def test_pycocotools_fills_the_same_pixels() -> None:
    masks = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(1)
    for number in range(400):
        points, height, width = _random_polygon(random, number)
        expected = masks.frPyObjects([points.ravel().tolist()], height, width)[0]["counts"].decode()
        assert compress(from_polygon(points, (height, width))) == expected


def test_pycocotools_writes_the_same_strings() -> None:
    masks = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(2)
    for _ in range(200):
        mask = random.random(random.integers(1, 60, 2)) < random.random()
        expected = masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert compress(from_mask(mask)) == expected


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0.0, 0.0], [1.0, 1.0]], "expected at least 3 points, got 2"),
        ([[0.0, 0.0], [1.0, np.nan], [2.0, 0.0]], "expected finite coordinates, got nan at point 1"),
        ([[0.0, 0.0], [1.0, 1e9], [2.0, 0.0]], r"expected coordinates of the image, got 1e\+09"),
        ([[0.0, 0.0], [1.0, 1e308], [2.0, 0.0]], r"expected coordinates of the image, got 1e\+308"),
        ([[0.0, 0.0], [3e6, 1.0], [0.0, 2.0]] * 3, "an outline of at most 3355443 pixels, got one of"),
    ],
)
def test_polygons_without_end_are_refused(points: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_polygon(np.array(points), (10, 10))
    with pytest.raises(ValueError, match="expected at least one, got none"):
        from_polygons([], (10, 10))
