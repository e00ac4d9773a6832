"""A pasted digit against the same place computed pixel by pixel in float64."""

import numpy as np
import pytest

from linsight.data import embedded, mnist
from linsight.data.scenes.paste import ANGLES, UNIT, placed
from linsight.data.textures import reflected, textures


def _reference(digit: np.ndarray, scale: float, degrees: float, centre: tuple[float, float], size: int):
    """Bilinear sampling between pixel centres, 0 outside, by the definition."""
    image = np.zeros((size, size))
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))

    def at(row: int, column: int) -> float:
        return float(digit[row, column]) if 0 <= row < 28 and 0 <= column < 28 else 0.0

    for row in range(size):
        for column in range(size):
            y, x = row + 0.5 - centre[0], column + 0.5 - centre[1]
            # Clockwise as seen, with rows downwards: (x, y) -> (c x - s y, s x + c y); here its inverse.
            across = (cosine * x + sine * y) / scale + 13.5
            down = (-sine * x + cosine * y) / scale + 13.5
            top, left = int(np.floor(down)), int(np.floor(across))
            v, u = down - top, across - left
            image[row, column] = (
                at(top, left) * (1 - u) * (1 - v)
                + at(top, left + 1) * u * (1 - v)
                + at(top + 1, left) * (1 - u) * v
                + at(top + 1, left + 1) * u * v
            )
    return image


@pytest.mark.parametrize("scale", [154, 256, 411, 512])
@pytest.mark.parametrize("angle", [0, 30, 47, 60])
def test_a_placed_digit_is_the_bilinear_image(scale: int, angle: int) -> None:
    digit = mnist("test")[0][angle]
    centre = (40 * UNIT + 77, 17 * UNIT + 200)
    found = np.zeros((64, 64), np.uint8)
    patch = placed(digit, scale=scale, angle=angle, centre=centre, size=64)
    rows, columns = patch.alpha.shape
    found[patch.top : patch.top + rows, patch.left : patch.left + columns] = patch.alpha
    degrees = (angle - 30) / 2
    expected = _reference(digit, scale / UNIT, degrees, (centre[0] / UNIT, centre[1] / UNIT), 64)
    # Places are rounded to 1/256 pixel: up to 2 grey values at a step from 0 to 255, and half for the result.
    assert np.abs(found - expected).max() < 3.5


def test_without_turn_and_scale_a_digit_is_itself() -> None:
    digit = mnist("test")[0][0]
    patch = placed(digit, scale=UNIT, angle=30, centre=(20 * UNIT, 30 * UNIT), size=64)
    whole = np.zeros((64, 64), np.uint8)
    rows, columns = patch.alpha.shape
    whole[patch.top : patch.top + rows, patch.left : patch.left + columns] = patch.alpha
    assert (whole[6:34, 16:44] == digit).all()
    assert whole.sum() == digit.sum()


def test_a_digit_beyond_the_grid_is_an_empty_patch() -> None:
    patch = placed(mnist("test")[0][0], scale=UNIT, angle=3, centre=(-90 * UNIT, 300 * UNIT), size=64)
    assert patch.alpha.size == 0


def test_the_turns_are_half_degrees_and_of_length_one() -> None:
    assert len(ANGLES) == 61
    assert ANGLES[30] == (65536, 0)
    assert np.degrees(np.arctan2(ANGLES[60][1], ANGLES[60][0])) == pytest.approx(15, abs=1e-3)
    assert np.hypot(*np.array(ANGLES, float).T) == pytest.approx(65536, abs=1)


def test_columns_of_splits_are_those_of_the_photographs() -> None:
    whole = np.concatenate([textures("train"), textures("test")], axis=2)
    assert whole.tobytes() == embedded.read("textures.xz")
    assert textures("train").shape == (3, 256, 160)
    assert (textures("valid") == textures("test")).all()
    assert not textures("train").flags.writeable


def test_a_crop_is_tiled_by_reflection() -> None:
    texture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    tiled = reflected(texture, 0, 0, 16)
    assert tiled[0].tolist() == [0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0]
    assert tiled[:, 0].tolist() == [0, 4, 8, 8, 4, 0, 0, 4, 8, 8, 4, 0, 0, 4, 8, 8]
    expected = np.pad(texture, 60, mode="symmetric")  # rows and columns -60 to 62
    assert (reflected(texture, 5, 7, 20) == expected[65:85, 67:87]).all()
