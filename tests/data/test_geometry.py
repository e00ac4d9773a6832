"""Maps move everything together: what is marked on an image is still marked on its result."""

import math

import numpy as np
import pytest
import torch

from linsight.data.geometry import Augmentation, Warp
from linsight.data.scenes import Scenes

SIZE = (12, 17)


def _turned(angle: float, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0), size=SIZE) -> Warp:
    return Warp.about_the_centre(
        torch.tensor([angle], dtype=torch.float64),
        torch.tensor([scale], dtype=torch.float64),
        torch.tensor([shift], dtype=torch.float64),
        size,
    )


def _some(batch: int = 6, size: tuple[int, int] = SIZE) -> Warp:
    return Augmentation(degrees=40, least=0.5, most=2.0, shift=0.3).draw(np.arange(batch), size, seed=3)


def test_identity_changes_nothing() -> None:
    identity = Warp.identity(2, SIZE)
    image = torch.rand(2, 3, *SIZE)
    assert (identity.image(image) == image).all()
    labels = torch.randint(0, 256, (2, 1, *SIZE), dtype=torch.uint8)
    assert (identity.mask(labels) == labels).all()
    assert (identity.image(labels) == labels).all()
    boxes = torch.rand(2, 4, 4).sort(-1).values
    assert torch.allclose(identity.boxes(boxes), boxes, atol=0)


def test_a_flip_is_torchs_flip_of_pixels_and_twice_is_the_identity() -> None:
    flip = Warp.flip(2, SIZE)
    image, labels = torch.rand(2, 3, *SIZE), torch.randint(0, 9, (2, 1, *SIZE))
    assert (flip.image(image) == image.flip(-1)).all()
    assert (flip.mask(labels) == labels.flip(-1)).all()
    assert (flip.image(flip.image(image)) == image).all()
    assert torch.equal(flip.then(flip).matrix, Warp.identity(2, SIZE).matrix)


def test_a_quarter_turn_is_torchs_rotation() -> None:
    image = torch.rand(1, 2, 9, 9)
    turned = _turned(math.pi / 2, size=(9, 9))
    assert torch.allclose(turned.image(image), image.rot90(-1, (2, 3)), atol=1e-6)
    assert (turned.mask(image) == image.rot90(-1, (2, 3))).all()


def test_a_change_of_size_is_half_pixel_bilinear_and_nearest_exact() -> None:
    image = torch.rand(1, 2, *SIZE, dtype=torch.float64)
    for target in ((24, 34), (6, 7), (13, 50), (1, 1)):
        resize = Warp.resize(1, SIZE, target)
        expected = torch.nn.functional.interpolate(image, target, mode="bilinear", align_corners=False)
        assert torch.allclose(resize.image(image, "border"), expected, atol=1e-12)
        labels = torch.randint(0, 9, (1, 1, *SIZE)).double()
        nearest = torch.nn.functional.interpolate(labels, target, mode="nearest-exact")
        assert (resize.mask(labels) == nearest).all()
    keypoints = torch.tensor([[[3.0, 5.0]]])
    assert Warp.resize(1, SIZE, (24, 34)).keypoints(keypoints).tolist() == [[[6.5, 10.5]]]


def test_a_crop_takes_the_pixels_of_its_box() -> None:
    image = torch.rand(2, 3, *SIZE)
    corners = torch.tensor([[2.0, 3.0, 9.0, 8.0], [-1.0, -2.0, 6.0, 3.0]])
    crop = Warp.crop(corners, SIZE, (5, 7))
    found = crop.image(image)
    assert torch.allclose(found[0], image[0, :, 3:8, 2:9], atol=1e-6)
    assert torch.allclose(found[1, :, 2:, 1:], image[1, :, :3, :6], atol=1e-6)
    assert found[1, :, :2].abs().max() < 1e-12
    assert (crop.mask(torch.ones(2, 1, *SIZE, dtype=torch.uint8), fill=255)[1, 0, :2] == 255).all()
    boxes = corners[:, None]
    assert crop.boxes(boxes).tolist() == [[[0.0, 0.0, 7.0, 5.0]]] * 2


def test_the_inverse_undoes_every_map_of_places() -> None:
    warp = _some()
    back = warp.then(warp.inverse())
    assert torch.allclose(back.matrix, Warp.identity(6, SIZE).matrix, atol=1e-12)
    keypoints = torch.rand(6, 5, 2, dtype=torch.float64) * 10
    pairs = [(0, 1), (2, 4)]
    assert torch.allclose(warp.inverse().keypoints(warp.keypoints(keypoints, pairs), pairs), keypoints)
    vectors = torch.randn(6, 2, 3, dtype=torch.float64)
    there = warp.directions(vectors, [(0, 1)])
    assert torch.allclose(warp.inverse().directions(there, [(0, 1)]), vectors)
    lengths = warp.exchange(vectors.norm(dim=-1), [(0, 1)])
    assert torch.allclose(there.norm(dim=-1), lengths)


def test_the_inverse_brings_a_smooth_image_back() -> None:
    size = (64, 80)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    image = ((x / 9).sin() + (y / 7).cos())[None, None]
    for warp in (_turned(0.3, 1.3, size=size), Warp.flip(1, size).then(_turned(-0.2, 1.1, (3.0, 2.0), size))):
        back = warp.inverse().image(warp.image(image))
        assert (back - image)[..., 26:38, 32:48].abs().max() < 0.02


def test_one_map_of_two_is_the_two_one_after_another() -> None:
    first, second = _some(), Warp.resize(6, SIZE, (20, 9))
    both = first.then(second)
    keypoints = torch.rand(6, 4, 2, dtype=torch.float64) * 9
    assert torch.allclose(both.keypoints(keypoints), second.keypoints(first.keypoints(keypoints)))
    assert (both.source, both.target) == (SIZE, (20, 9))


@pytest.mark.parametrize("number", range(6))
def test_a_spot_goes_where_its_keypoint_and_its_box_go(number: int) -> None:
    """A bright spot: its centre of mass in the result is the keypoint, within the moved box and mask."""
    size = (80, 90)
    warp = _some(size=size)
    warp = Warp(warp.matrix[number : number + 1], size, size)
    x, y = 43.0, 37.0
    rows, columns = torch.meshgrid(
        torch.arange(80.0, dtype=torch.float64), torch.arange(90.0, dtype=torch.float64), indexing="ij"
    )
    image = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)[None, None]
    found = warp.image(image)[0, 0]
    mass = torch.stack([(found * columns).sum(), (found * rows).sum()]) / found.sum()
    moved = warp.keypoints(torch.tensor([[[x, y]]], dtype=torch.float64))[0, 0]
    assert torch.allclose(mass, moved, atol=0.02)
    mask = warp.mask(image > 0.5)[0, 0]
    edge = (image[0, 0] > 0.5).nonzero()
    box = torch.cat([edge.amin(0).flip(0), edge.amax(0).flip(0) + 1]).double()
    x1, y1, x2, y2 = warp.boxes(box[None, None])[0, 0].tolist()
    at = mask.nonzero().double()
    assert at[:, 1].min() >= x1 - 0.5
    assert at[:, 1].max() + 1 <= x2 + 0.5
    assert at[:, 0].min() >= y1 - 0.5
    assert at[:, 0].max() + 1 <= y2 + 0.5
    assert mask.sum() > 6


def test_a_mirrored_scene_has_mirrored_boxes_of_its_masks() -> None:
    (scene,) = Scenes().scenes("train", np.arange(1))
    flip = Warp.flip(1, (96, 96))
    ink = flip.mask(torch.from_numpy(scene.ink)[None])[0]
    moved = flip.boxes(torch.from_numpy(scene.boxes)[None])[0]
    for mask, box in zip(ink, moved.tolist(), strict=True):
        at = mask.nonzero()
        assert box == [*at.amin(0).flip(0).tolist(), *(at.amax(0).flip(0) + 1).tolist()]
    semantic = torch.from_numpy(scene.semantic)[None, None]
    assert (
        (flip.mask(semantic)[0, 0] > 0) == flip.mask(torch.from_numpy(scene.instances)[None])[0].any(0)
    ).all()


def _pitch_yaw(vector: torch.Tensor) -> tuple[float, float]:
    x, y, z = vector.tolist()
    return math.atan2(-y, math.hypot(x, z)), math.atan2(-x, -z)


def test_a_flip_changes_the_sign_of_yaw_and_exchanges_eyes() -> None:
    pitch, yaw = 0.2, 0.3
    left = torch.tensor(
        [-math.cos(pitch) * math.sin(yaw), -math.sin(pitch), -math.cos(pitch) * math.cos(yaw)]
    )
    right = torch.tensor([0.0, 0.0, -1.0])
    moved = Warp.flip(1, SIZE).directions(torch.stack([left, right])[None], [(0, 1)])[0]
    assert moved[0].tolist() == right.tolist()
    assert _pitch_yaw(moved[1]) == pytest.approx((pitch, -yaw))


def test_a_direction_turns_with_the_image_and_not_with_its_size() -> None:
    """To the right of the image, turned clockwise by 90 degrees, is down."""
    across = torch.tensor([[[0.6, 0.0, -0.8]]], dtype=torch.float64)
    moved = _turned(math.pi / 2, 2.5).directions(across)[0, 0]
    assert torch.allclose(moved, torch.tensor([0.0, 0.6, -0.8], dtype=torch.float64))
    with pytest.raises(ValueError, match="directions: expected one scale along both axes and no shear"):
        Warp.resize(1, SIZE, (12, 34)).directions(across)


def test_pairs_change_places_in_mirrored_images_alone() -> None:
    matrix = torch.cat([Warp.identity(1, SIZE).matrix, Warp.flip(1, SIZE).matrix])
    warp = Warp(matrix, SIZE, SIZE)
    assert warp.mirrors.tolist() == [False, True]
    visible = torch.tensor([[0, 1, 2], [0, 1, 2]])
    assert warp.exchange(visible, [(0, 2)]).tolist() == [[0, 1, 2], [2, 1, 0]]
    for pairs in ([(0, 0)], [(0, 1), (1, 2)], [(0, 3)], [(-1, 0)]):
        with pytest.raises(ValueError, match="pairs: expected each of 3 joints in at most one pair"):
            warp.exchange(visible, pairs)


def test_what_leaves_the_image_is_told() -> None:
    warp = _turned(0.0, 1.0, (5.0, 0.0))
    moved = warp.keypoints(torch.tensor([[[11.0, 3.0], [12.0, 3.0], [-5.4, 0.0], [-5.6, 0.0]]]))
    assert warp.inside(moved).tolist() == [[True, False, True, False]]
    boxes = warp.boxes(torch.tensor([[[13.0, 0.0, 15.0, 4.0], [10.0, 0.0, 15.0, 4.0]]]))
    assert boxes.tolist() == [[[17.0, 0.0, 17.0, 4.0], [15.0, 0.0, 17.0, 4.0]]]
    assert warp.boxes(torch.tensor([[[13.0, 0.0, 15.0, 4.0]]]), clip=False).tolist() == [
        [[18.0, 0.0, 20.0, 4.0]]
    ]


def test_an_augmentation_is_a_function_of_seed_epoch_and_item() -> None:
    source = Augmentation()
    together = source.draw(np.array([5, 9, 2]), SIZE, seed=1, epoch=4).matrix
    for row, item in zip(together, (5, 9, 2), strict=True):
        assert torch.equal(source.draw(np.array([item]), SIZE, seed=1, epoch=4).matrix[0], row)
    others = [
        source.draw(np.array([5]), SIZE, seed=2, epoch=4),
        source.draw(np.array([5]), SIZE, seed=1, epoch=5),
        source.draw(np.array([6]), SIZE, seed=1, epoch=4),
    ]
    assert not any(torch.equal(other.matrix[0], together[0]) for other in others)


def test_an_augmentation_stays_within_its_settings() -> None:
    warp = Augmentation(flip=0.25, degrees=20, least=0.5, most=2.0, shift=0.2).draw(np.arange(2000), (40, 60))
    assert warp.mirrors.double().mean() == pytest.approx(0.25, abs=0.03)
    linear = warp.matrix[:, :, :2]
    scale = torch.linalg.det(linear).abs().sqrt()
    assert 0.5 <= scale.min() < 0.52
    assert 1.92 < scale.max() <= 2.0
    assert scale.log().mean() == pytest.approx(0, abs=0.03)
    angle = torch.atan2(linear[:, 1, 1] * 0 - linear[:, 0, 1], linear[:, 1, 1]).rad2deg()
    assert angle.abs().max() <= 20.001
    assert angle.min() < -19
    assert angle.max() > 19
    centre = warp.points(torch.tensor([30.0, 20.0], dtype=torch.float64).expand(2000, 1, 2))[:, 0]
    away = (centre - torch.tensor([30.0, 20.0])).abs().amax(0)
    assert (away <= torch.tensor([12.0, 8.0])).all()
    assert (away > torch.tensor([11.5, 7.6])).all()
    still = Augmentation(flip=0, degrees=0, least=1, most=1, shift=0).draw(np.arange(2), SIZE)
    assert torch.equal(still.matrix, Warp.identity(2, SIZE).matrix)


def test_maps_and_settings_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="target: expected height and width of at least 1"):
        Warp.resize(1, SIZE, (0, 4))
    with pytest.raises(ValueError, match="matrix: expected one that can be inverted, got none for image 1"):
        Warp(torch.cat([Warp.flip(1, SIZE).matrix, torch.ones(1, 2, 3).double()]), SIZE, SIZE)
    with pytest.raises(ValueError, match="matrix: expected finite numbers"):
        Warp(torch.full((1, 2, 3), math.nan, dtype=torch.float64), SIZE, SIZE)
    with pytest.raises(
        ValueError, match=r"corners: expected x1 < x2 and y1 < y2, got \[1.0, 2.0, 1.0, 3.0\]"
    ):
        Warp.crop(torch.tensor([[1.0, 2.0, 1.0, 3.0]]), SIZE, SIZE)
    with pytest.raises(ValueError, match=r"images: expected 1 of \(12, 17\), got 1 of \(12, 18\)"):
        Warp.identity(1, SIZE).image(torch.zeros(1, 1, 12, 18))
    with pytest.raises(ValueError, match=r"other: expected a map of 1 images of \(12, 17\), got one of 2"):
        Warp.identity(1, SIZE).then(Warp.identity(2, SIZE))
    for settings, words in (
        ({"flip": 1.5}, "flip: expected a share from 0 to 1, got 1.5"),
        ({"shift": -0.1}, "shift: expected a share"),
        ({"degrees": 200.0}, "degrees: expected 0 to 180, got 200.0"),
        ({"least": 0.0}, "least, most: expected 0 < least <= most, got 0.0 and 1.25"),
    ):
        with pytest.raises(ValueError, match=words):
            Augmentation(**settings)
