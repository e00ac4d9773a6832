"""Crops: the box is where it should be, keypoints go there and back, and pixels are those of the map."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linsight.data.crops import crop_images, padded_boxes, top_down
from linsight.data.geometry import Augmentation, Warp

SIZE = (64, 48)
SOURCE = (90, 120)
PAIRS = ((1, 2), (3, 4))


def _boxes(batch: int = 5) -> torch.Tensor:
    random = np.random.default_rng(0)
    corners = random.uniform(-10, 60, (batch, 2))
    return torch.from_numpy(np.concatenate([corners, corners + random.uniform(5, 70, (batch, 2))], 1))


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2),
    st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=2),
    st.floats(0.5, 2),
    st.tuples(st.integers(1, 99), st.integers(1, 99)),
)
def test_a_padded_box_has_the_shape_of_the_crop_and_the_middle_of_the_box(
    corner: list[float], sides: list[float], padding: float, size: tuple[int, int]
) -> None:
    """Over `padding` it contains the box, and touches it along one axis."""
    box = torch.tensor([[*corner, corner[0] + sides[0], corner[1] + sides[1]]], dtype=torch.float64)
    width, height = (box[0, 2:] - box[0, :2]).tolist()
    found = padded_boxes(box, size, padding)
    across, down = (found[0, 2:] - found[0, :2]).tolist()
    assert across * size[0] == pytest.approx(down * size[1], rel=1e-6)
    assert (found[0, :2] + found[0, 2:]).tolist() == pytest.approx(
        (box[0, :2] + box[0, 2:]).tolist(), abs=1e-6
    )
    ratios = [across / (padding * width), down / (padding * height)]
    assert min(ratios) == pytest.approx(1, rel=1e-6)


def test_a_crop_by_hand() -> None:
    """A box of 40 x 40 about (50, 30) has 53.33 x 40 = 40 x 4/3 down, 50 x 66.67 padded, in 48 x 64 pixels.

    Its middle, the place (50, 30), is the keypoint (49.5, 29.5) and goes to the place (24, 32); a pixel of
    the image is 0.96 of the crop.
    """
    warp = top_down(torch.tensor([[30.0, 10.0, 70.0, 50.0]]), SOURCE, SIZE)
    points = torch.tensor([[[49.5, 29.5], [59.5, 29.5], [49.5, 19.5]]], dtype=torch.float64)
    expected = torch.tensor([[23.5, 31.5], [33.1, 31.5], [23.5, 21.9]], dtype=torch.float64)
    assert (warp.keypoints(points)[0] - expected).abs().max() < 1e-9


def test_keypoints_go_there_and_back() -> None:
    """To 1e-9 pixels in double precision, after a flip, a turn, a scale and a shift too."""
    points = torch.from_numpy(np.random.default_rng(1).uniform(-20, 140, (5, 5, 2)))
    crop = top_down(_boxes(), SOURCE, SIZE)
    drawn = Augmentation(flip=0.5, degrees=45, least=0.5, most=2, shift=0.3).draw(np.arange(5), SIZE, seed=1)
    assert 0 < drawn.mirrors.sum() < 5
    for warp in (crop, crop.then(drawn), crop.then(Warp.flip(5, SIZE))):
        there = warp.keypoints(points, PAIRS)
        back = warp.inverse().keypoints(there, PAIRS)
        assert (back - points).abs().max() < 1e-9
    exchanged = crop.then(Warp.flip(5, SIZE)).keypoints(points, PAIRS)
    straight = crop.keypoints(points)[:, [0, 2, 1, 4, 3]]
    assert (exchanged[..., 0] - (SIZE[1] - 1 - straight[..., 0])).abs().max() < 1e-9
    assert (exchanged[..., 1] - straight[..., 1]).abs().max() < 1e-9


def test_crops_then_a_turn_are_one_map_of_both() -> None:
    points = torch.from_numpy(np.random.default_rng(2).uniform(0, 90, (5, 5, 2)))
    crop = top_down(_boxes(), SOURCE, SIZE)
    turn = Augmentation(flip=1, degrees=30).draw(np.arange(5), SIZE)
    apart = turn.keypoints(crop.keypoints(points), PAIRS)
    assert (crop.then(turn).keypoints(points, PAIRS) - apart).abs().max() < 1e-9


def test_images_of_one_size_are_cropped_as_the_map_does() -> None:
    """Where nothing shrinks, to the last bit of uint8 and to 1e-12 in double precision."""
    boxes = _boxes()
    boxes[:, 2:] = boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2]) / 2  # crops of at most 1.4 pixels a pixel
    warp = top_down(boxes, SOURCE, SIZE).then(Augmentation().draw(np.arange(5), SIZE))
    assert (torch.linalg.det(warp.matrix[:, :, :2]).abs() > 0.25).all()
    images = torch.rand(5, 3, *SOURCE, dtype=torch.float64)
    assert (crop_images(list(images), warp) - warp.image(images)).abs().max() < 1e-12
    bytes_ = (255 * images).round().to(torch.uint8)
    assert torch.equal(crop_images(list(bytes_), warp), warp.image(bytes_))


def test_images_of_several_sizes_are_each_as_alone() -> None:
    images = [torch.rand(1, 30 + 17 * row, 80 - 9 * row) for row in range(4)]
    warp = top_down(_boxes(4), (90, 90), SIZE)
    together = crop_images(images, warp)
    for row, image in enumerate(images):
        alone = Warp(warp.matrix[row : row + 1], (90, 90), SIZE)
        assert torch.equal(crop_images([image], alone)[0], together[row])
        canvas = torch.zeros(1, 1, 90, 90)
        canvas[0, :, : image.shape[1], : image.shape[2]] = image
        if torch.linalg.det(alone.matrix[0, :, :2]).abs() > 0.25:
            assert torch.allclose(alone.image(canvas)[0], together[row], atol=1e-6)


@pytest.mark.parametrize("factor", [1.7, 2.0, 3.4, 6.1])
def test_a_ramp_stays_a_ramp_however_much_it_shrinks(factor: float) -> None:
    """The mean over a block is the value at its middle: places are kept, flipped and turned or not."""
    rows, columns = torch.meshgrid(torch.arange(400.0), torch.arange(300.0), indexing="ij")
    image = torch.stack([columns, rows]).double() + 0.5
    box = torch.tensor([[150 - 12 * factor, 200 - 16 * factor, 150 + 12 * factor, 200 + 16 * factor]])
    size = (32, 24)
    crop = top_down(box, (400, 300), size, padding=1.0)
    for warp in (crop, crop.then(Augmentation(flip=1, degrees=25, shift=0).draw(np.arange(1), size))):
        found = crop_images([image], warp)[0]
        centres = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(24.0), indexing="ij")[::-1], -1)
        back = warp.inverse().keypoints(centres.reshape(1, -1, 2).double())[0].reshape(32, 24, 2) + 0.5
        inside = ((back > 20) & (back < torch.tensor([280.0, 380.0]))).all(-1)
        assert inside.float().mean() > 0.5
        assert (found.permute(1, 2, 0) - back)[inside].abs().max() < 1e-9


def test_what_is_too_fine_for_the_crop_is_grey_in_it() -> None:
    """A chequerboard of single pixels, at whose centres all samples of a crop a quarter as large are."""
    image = ((torch.arange(200)[:, None] + torch.arange(200)) % 2).double()[None]
    warp = top_down(torch.tensor([[40.5, 40.5, 160.5, 160.5]]), (200, 200), (30, 30), padding=1.0)
    assert warp.image(image[None]).abs().max() < 1e-9  # what a sample a pixel would see
    assert (crop_images([image], warp)[0] - 0.5).abs().max() < 1e-9


def test_beyond_the_image_is_0() -> None:
    warp = top_down(torch.tensor([[500.0, 500.0, 520.0, 520.0], [-20.0, 0.0, 20.0, 40.0]]), SOURCE, (20, 20))
    crops = crop_images([torch.ones(1, *SOURCE)] * 2, warp)
    assert crops[0].abs().max() == 0
    assert crops[1, 0, 10, :9].abs().max() == 0
    assert (crops[1, 0, 10, 11:] == 1).all()


def test_crops_have_gradients_of_the_images() -> None:
    image = torch.rand(1, 12, 10, dtype=torch.float64, requires_grad=True)
    warp = top_down(torch.tensor([[1.0, 2.0, 9.0, 11.0]]), (12, 10), (5, 4))
    assert torch.autograd.gradcheck(lambda x: crop_images([x], warp), (image,))


def test_refusals() -> None:
    good = torch.tensor([[0.0, 0.0, 2.0, 3.0]])
    for wrong in (
        [1.0, 0.0, 1.0, 3.0],
        [0.0, 3.0, 2.0, 3.0],
        [2.0, 0.0, 1.0, 3.0],
        [0.0, 0.0, math.inf, 3.0],
    ):
        boxes = torch.cat([good, torch.tensor([wrong])])
        with pytest.raises(ValueError, match=r"boxes: expected finite x1 < x2 and y1 < y2, got .* in row 1"):
            padded_boxes(boxes, SIZE)
    with pytest.raises(ValueError, match=r"boxes: expected finite .*nan.* in row 0"):
        padded_boxes(torch.tensor([[math.nan, 0.0, 1.0, 1.0]]), SIZE)
    with pytest.raises(ValueError, match=r"size: expected height and width of at least 1, got \(64, 0\)"):
        top_down(good, SOURCE, (64, 0))
    for padding in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="padding: expected a number above 0, got"):
            top_down(good, SOURCE, SIZE, padding)
    with pytest.raises(ValueError, match="images: expected 1, as many as the map has, got 2"):
        crop_images([torch.zeros(1, *SOURCE)] * 2, top_down(good, SOURCE, SIZE))


@pytest.mark.parametrize("times", [2, 3, 5, 7, 10])
def test_a_crop_that_is_a_whole_number_of_times_smaller_is_the_mean_over_as_many_pixels(times: int) -> None:
    """1 / 5 squared is a little more than 1 / 25 in binary: no reason to take blocks of 4."""
    small = torch.rand(1, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(times, 1).repeat_interleave(times, 2)
    whole = torch.tensor([[0.0, 0.0, 8.0 * times, 6.0 * times]])
    (found,) = crop_images([large], top_down(whole, (6 * times, 8 * times), (6, 8), padding=1.0))
    torch.testing.assert_close(found, small)
