"""Pictures: light, clothes and the box filter as they are by hand, and mirrored scenes mirrored."""

import numpy as np
import pytest
import torch
from standing import drawn, place, plain, still

from linsight.data.people import (
    PAIRS,
    PARTS,
    Camera,
    Clothes,
    Portraits,
    Surroundings,
    clothes,
    render,
    skeleton,
)
from linsight.data.people.appearance import background
from linsight.data.people.capsules import Surface
from linsight.data.people.population import CLOTHES, SURROUNDINGS, clothes_of, surroundings_of
from linsight.data.people.render import nearest

SIZE = (48, 36)
FAR = np.array([[0.0, 0.0, 4.0]])


def _camera(batch: int = 1, scale: float = 1.0) -> Camera:
    return Camera(np.full(batch, 95.0 * scale), np.tile([18.25 * scale, 23.5 * scale], (batch, 1)))


def _looks(batch: int) -> tuple[Clothes, Surroundings]:
    random = np.random.default_rng(5)
    return clothes_of(random.random((batch, CLOTHES))), surroundings_of(random.random((batch, SURROUNDINGS)))


def _some(**options: bool) -> Portraits:
    body = skeleton(drawn()).at(np.tile([0.125, 0.0625, 3.5], (24, 1)))
    return render(body, _camera(24), *_looks(24), SIZE, **options)


def _mirrored(**options: bool) -> Portraits:
    body = skeleton(drawn().mirrored()).at(np.tile([-0.125, 0.0625, 3.5], (24, 1)))
    clothes, around = _looks(24)
    return render(body, _camera(24).mirrored(SIZE[1]), clothes, around.mirrored(), SIZE, **options)


@pytest.mark.parametrize("options", [{"symmetric": True}, {"stripes": False}], ids=str)
def test_a_mirrored_scene_is_the_mirrored_picture_with_left_and_right_exchanged(
    options: dict[str, bool],
) -> None:
    """Exactly, where clothes are of no side; keypoints to 1e-9 pixels."""
    one, other = _some(**options), _mirrored(**options)
    order = list(range(17))
    for left, right in PAIRS:
        order[left], order[right] = right, left
    exchanged = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 9], np.uint8)
    assert np.array_equal(other.image, one.image[..., ::-1])
    assert np.allclose(other.depth, one.depth[..., ::-1], rtol=0, atol=1e-5)  # bars begin at the other end
    assert np.array_equal(other.parts, exchanged[one.parts[..., ::-1]])
    assert np.allclose(other.keypoints[..., 0], SIZE[1] - 1 - one.keypoints[:, order, 0], rtol=0, atol=1e-9)
    assert np.allclose(other.keypoints[..., 1], one.keypoints[:, order, 1], rtol=0, atol=1e-9)
    assert np.array_equal(other.visibility, one.visibility[:, order])
    assert (other.box[:, [0, 2]] == SIZE[1] - one.box[:, [2, 0]]).all()


def test_clothes_tell_a_mirrored_scene_from_a_mirrored_picture() -> None:
    one, other = _some(), _mirrored()
    changed = (other.image != one.image[..., ::-1]).any(1).sum((1, 2))
    assert (changed > 20).all()
    assert np.allclose(other.depth, one.depth[..., ::-1], rtol=0, atol=1e-5)


def test_from_behind_a_symmetric_body_is_the_same_and_one_in_clothes_is_not() -> None:
    pictures = {}
    for symmetric in (False, True):
        for yaw in (0.0, np.pi):
            body = skeleton(still(turn=(yaw, 0, 0))).at(FAR)
            camera = Camera(np.array([95.0]), np.array([[18.0, 24.0]]))
            pictures[symmetric, yaw] = render(body, camera, *plain(), SIZE, symmetric=symmetric).image
    difference = np.abs(pictures[True, 0.0].astype(int) - pictures[True, np.pi])
    assert (difference > 2).mean() < 0.002
    assert (np.abs(pictures[False, 0.0].astype(int) - pictures[False, np.pi]) > 2).mean() > 0.03


@pytest.mark.parametrize("samples", [2, 3])
def test_a_pixel_is_the_mean_of_its_samples(samples: int) -> None:
    """That of a picture so many times as large, in which a pixel is one sample; the wall is plain."""
    body = skeleton(drawn(6)).at(np.tile([0.1, 0, 3.5], (6, 1)))
    few = render(body, _camera(6), *plain(6), SIZE, samples=samples)
    large = (SIZE[0] * samples, SIZE[1] * samples)
    many = render(body, _camera(6, samples), *plain(6), large, samples=1)
    blocks = many.image.reshape(6, 3, SIZE[0], samples, SIZE[1], samples).astype(float)
    assert np.abs(few.image - blocks.mean((3, 5))).max() <= 1.01
    depth = many.depth.reshape(6, SIZE[0], samples, SIZE[1], samples).min((2, 4))
    share = np.isfinite(many.depth).reshape(6, SIZE[0], samples, SIZE[1], samples).mean((2, 4))
    assert np.array_equal(few.depth, np.where(share >= 0.5, depth, np.inf).astype(np.float32))
    assert np.array_equal(few.parts > 0, share >= 0.5)


@pytest.mark.parametrize(("light", "brightness"), [(-1.0, 1.0), (1.0, 0.5)])
def test_light_from_the_camera_shows_the_colour_itself_and_from_behind_the_ambient_share(
    light: float, brightness: float
) -> None:
    """In the middle of the right thigh, whose normal there points to the camera."""
    found = render(skeleton(still()).at(FAR), _camera(), *plain(light=(0, 0, light)), SIZE, samples=1)
    thigh = (skeleton(still()).places[:, [place("right_hip"), place("right_knee")]].mean(1) + FAR)[:, None]
    column, row = np.floor(_camera().places(thigh)[0, 0]).astype(int)
    assert PARTS[found.parts[0, row, column]] == "right_thigh"
    expected = 255 * brightness * np.array([0.1, 0.2, 0.7])
    assert found.image[0, :, row, column] == pytest.approx(expected, abs=3)


def test_light_from_the_side_shades_by_the_cosine() -> None:
    """Across a sphere, the head: n l = x / r at x from its middle, when the light comes from the right."""
    camera = Camera(np.array([800.0]), np.array([[24.0, 24.0 + 800 * 0.7 / 4]]))
    found = render(
        skeleton(still()).at(FAR), camera, *plain(light=(1, 0, 0)), SIZE, samples=1, symmetric=True
    )
    row = 23  # at the height of the centre of the head
    offsets = np.arange(14, 35) + 0.5 - 24
    expected = 255 * 0.9 * (0.5 + 0.5 * np.maximum(offsets * (4 - 0.1) / 800 / 0.105, 0))
    assert found.image[0, 0, row, 14:35] == pytest.approx(expected, abs=4)


def _colours(found: Portraits, part: str) -> set[tuple[int, ...]]:
    """The hues of a part, as its channels over the greatest, in tenths."""
    mask = found.parts[0] == PARTS.index(part)
    pixels = found.image[0][:, mask].T.astype(float)
    return {tuple(np.rint(10 * pixel / pixel.max()).astype(int)) for pixel in pixels[pixels.max(1) > 60]}


def test_left_limbs_are_striped_and_right_ones_are_not() -> None:
    size = (384, 288)
    camera = Camera(np.array([760.0]), np.array([[144.0, 192.0]]))
    body = skeleton(still(shoulder=((0, -0.8), (0, -0.8)))).at(FAR)
    dressed = render(body, camera, *plain(), size, samples=1)
    alike = render(body, camera, *plain(), size, samples=1, symmetric=True)
    plainly = render(body, camera, *plain(), size, samples=1, stripes=False)
    assert (plainly.image != alike.image).any()  # a face, and a placket
    for limb in ("upper_arm", "thigh"):
        assert len(_colours(dressed, f"right_{limb}")) == 1
        assert len(_colours(dressed, f"left_{limb}")) == 2
        for found in (alike, plainly):
            assert _colours(found, f"left_{limb}") == _colours(found, f"right_{limb}")
    for limb in ("forearm", "shank"):  # with hand and shoe
        assert len(_colours(dressed, f"left_{limb}")) == len(_colours(dressed, f"right_{limb}")) + 1


def test_stripes_differ_from_any_cloth_by_two_fifths_of_white_in_the_mean() -> None:
    cloth = np.stack(np.meshgrid(*[np.linspace(0, 1, 9, dtype=np.float32)] * 3), -1).reshape(-1, 3)
    palette = clothes.palette(Clothes(*[cloth] * 5))
    worn, stripes = palette[:, :5].mean(-1), palette[:, 7:12].mean(-1)
    assert (np.abs(worn - stripes) > 0.4 - 1e-6).all()
    assert palette.min() >= 0
    assert palette.max() <= 1


def test_a_face_has_eyes_and_a_back_of_the_head_has_hair_alone() -> None:
    size = (96, 96)
    camera = Camera(np.array([1400.0]), np.array([[48.0, 48.0 + 1400 * 0.7 / 4]]))
    skin, hair = np.array([0.9, 0.7, 0.6]) * 255, np.array([0.1, 0.1, 0.2]) * 255
    for yaw, colour in ((0.0, skin), (np.pi, hair)):
        body = skeleton(still(turn=(yaw, 0, 0))).at(FAR)
        found = render(body, camera, *plain(), size, samples=1)
        assert found.image[0, :, 48, 48] == pytest.approx(colour, abs=6)
        eyes = camera.keypoints(body.places[:, [place("left_eye"), place("right_eye")]])[0]
        for x, y in np.rint(eyes).astype(int):
            assert found.image[0, :, y, x].max() < 60
            assert (found.image[0, 0, y, x] < found.image[0, 2, y, x] - 10) == (yaw != 0)  # the bluish hair


def test_a_background_is_bilinear_between_its_grid_s_points() -> None:
    around = _looks(3)[1]
    expected = sum(
        weight
        * torch.nn.functional.interpolate(torch.from_numpy(grid), SIZE, mode="bilinear", align_corners=True)
        for weight, grid in ((1.0, around.coarse), (0.3, around.fine - np.float32(0.5)))
    )
    assert np.allclose(background(around, SIZE), expected.clamp(0, 1).numpy(), atol=1e-5)
    image = render(skeleton(still(3)).at(np.tile(FAR, (3, 1))), _camera(3), *_looks(3), SIZE).image
    assert np.abs(image[:, :, 0, 0] / 255 - background(around, SIZE)[:, :, 0, 0]).max() <= 0.5 / 255 + 1e-6


def test_the_nearest_sample_is_shown_where_half_of_them_are_of_a_body() -> None:
    """Four pixels of 2 x 2 samples: all, two, one and none of a body."""
    far = np.inf
    depth = np.array([[[3, 2, far, 5], [4, 3, far, 6], [far, 1, far, far], [far, far, far, far]]], np.float32)
    capsule = np.where(np.isfinite(depth), (depth + 1).astype(np.float32), -1).clip(-1, 99).astype(np.int8)
    shown, front = nearest(Surface(depth, capsule), 2)
    assert shown.tolist() == [[[3, 6], [-1, -1]]]
    assert front.tolist() == [[[2, 5], [far, far]]]
