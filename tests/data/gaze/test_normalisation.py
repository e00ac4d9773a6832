"""Normalisation: the laws of the virtual camera, of labels, heads, points and images."""

import math

import pytest
import torch
from torch import Tensor

from linsight.data.gaze import (
    NORMALISED_CAMERAS,
    NormalisedCamera,
    mirror_rotation,
    mirror_vectors,
    normalisation,
)
from linsight.ops import angular_error, rotation_matrix, to_vector

EYE = NORMALISED_CAMERAS["eye"]
CAMERA = torch.tensor([[1000.0, 0, 640], [0, 1010.0, 360], [0, 0, 1]], dtype=torch.float64)


def geometry(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Eyes 0.4 to 0.9 m away, somewhere in view, and heads that turn and roll."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(batch, 6, generator=generator, dtype=torch.float64)
    aim = torch.cat([0.3 * (2 * draw[:, :2] - 1), torch.ones(batch, 1, dtype=torch.float64)], 1)
    centre = aim / aim.norm(dim=1, keepdim=True) * (0.4 + 0.5 * draw[:, 2:3])
    return centre, rotation_matrix(1.2 * (draw[:, 3:] - 0.5))


def project(camera: Tensor, points: Tensor) -> Tensor:
    found = points @ camera.mT
    return found[..., :2] / found[..., 2:]


def test_the_laws_of_the_virtual_camera():
    """R is a rotation, R c = (0, 0, |c|), the head loses its roll, the centre is the principal point."""
    centre, head = geometry(200)
    found = normalisation(centre, head, CAMERA)
    identity = torch.eye(3, dtype=torch.float64).expand(200, 3, 3)
    torch.testing.assert_close(found.rotation @ found.rotation.mT, identity, rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.det(found.rotation), torch.ones(200, dtype=torch.float64))
    ahead = torch.zeros(200, 3, dtype=torch.float64)
    ahead[:, 2] = centre.norm(dim=1)
    torch.testing.assert_close((found.rotation @ centre[..., None])[..., 0], ahead, rtol=0, atol=1e-15)
    assert found.head(head)[:, 1, 0].abs().max() < 1e-14
    assert (found.head(head)[:, 0, 0] > 0).all(), "the head's x axis keeps its side"
    places = found.places(project(CAMERA, centre)[:, None])[:, 0]
    middle = torch.tensor([30.0, 18.0], dtype=torch.float64).expand(200, 2)
    torch.testing.assert_close(places, middle, rtol=0, atol=1e-9)


def test_a_point_is_seen_where_the_virtual_camera_sees_it():
    """W of the projection of P is the projection by C_n of S R P, and goes back."""
    centre, head = geometry(50, 1)
    found = normalisation(centre, head, CAMERA)
    points = centre[:, None] + 0.02 * torch.randn(50, 7, 3, dtype=torch.float64)
    moved = points @ found.rotation.mT
    moved[..., 2] *= found.scale[:, None]
    expected = project(EYE.matrix, moved)
    seen = project(CAMERA, points)
    torch.testing.assert_close(found.places(seen), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.places_back(expected), seen, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.scale, 0.6 / centre.norm(dim=1))


def test_labels_turn_by_r_alone_and_come_back():
    """g_n = R g: angles between directions stay; with S R they would not, by some degrees."""
    centre, head = geometry(500, 2)
    found = normalisation(centre, head, CAMERA)
    gaze = to_vector(0.6 * (torch.rand(500, 2, dtype=torch.float64) - 0.5))
    label = found.gaze(gaze)
    torch.testing.assert_close(label.norm(dim=1), torch.ones(500, dtype=torch.float64))
    torch.testing.assert_close(found.gaze_back(label), gaze, rtol=0, atol=1e-15)
    torch.testing.assert_close(label, (found.rotation @ gaze[..., None])[..., 0])
    scaled = label * torch.stack([torch.ones(500), torch.ones(500), found.scale], 1)
    assert math.degrees(angular_error(label, scaled).mean()) > 1
    # Who looks at the camera looks at the virtual one: it stands on the same line.
    at_camera = found.gaze(-centre / centre.norm(dim=1, keepdim=True))
    torch.testing.assert_close(
        at_camera, torch.tensor([[0.0, 0, -1]]).double().expand(500, 3), atol=1e-15, rtol=0
    )


def test_heads_turn_as_their_axes_do():
    centre, head = geometry(20, 3)
    found = normalisation(centre, head, CAMERA)
    for axis in range(3):
        torch.testing.assert_close(found.head(head)[..., axis], found.gaze(head[..., axis]))


def test_a_roll_of_the_camera_changes_neither_the_image_nor_the_labels():
    """The camera turned about its line of sight to the eye: the normalised world is the same."""
    centre, head = geometry(30, 4)
    axis = centre / centre.norm(dim=1, keepdim=True)
    roll = rotation_matrix(0.7 * axis)
    gaze = to_vector(0.6 * (torch.rand(30, 2, dtype=torch.float64) - 0.5))
    before, after = normalisation(centre, head, CAMERA), normalisation(centre, roll @ head, CAMERA)
    rolled = (roll @ gaze[..., None])[..., 0]
    torch.testing.assert_close(after.gaze(rolled), before.gaze(gaze), rtol=0, atol=1e-14)
    torch.testing.assert_close(after.head(roll @ head), before.head(head), rtol=0, atol=1e-14)


def test_a_mirrored_world_is_normalised_to_the_mirror_of_the_labels():
    centre, head = geometry(30, 5)
    # F H F turns the head's own left and right round as well, which leaves h_x pointing the same way.
    one = normalisation(centre, head, CAMERA)
    other = normalisation(mirror_vectors(centre), mirror_rotation(head), CAMERA)
    torch.testing.assert_close(other.rotation, mirror_rotation(one.rotation), rtol=0, atol=1e-14)


def test_a_picture_is_warped_by_the_exact_homography():
    """A picture that is linear along x and y is sampled without error: half pixels are in their places."""
    centre, head = geometry(4, 6)
    found = normalisation(centre, head, CAMERA)
    rows, columns = (
        torch.arange(720, dtype=torch.float64) + 0.5,
        torch.arange(1280, dtype=torch.float64) + 0.5,
    )
    picture = torch.stack([columns.expand(720, 1280), rows[:, None].expand(720, 1280)])
    warped = found.image(picture.expand(4, 2, 720, 1280))
    assert warped.shape == (4, 2, 36, 60)
    target = torch.tensor([[[30.5, 18.5], [0.5, 0.5], [59.5, 35.5], [12.5, 30.5]]], dtype=torch.float64)
    expected = found.places_back(target.expand(4, 4, 2))
    column, row = (target[0] - 0.5).long().unbind(1)
    torch.testing.assert_close(warped[:, :, row, column].mT, expected, rtol=0, atol=1e-8)


def test_images_come_back_as_far_as_sampling_lets_them():
    """A smooth picture, normalised and warped back by the inverse homography, is nearly itself."""
    target = NormalisedCamera(96, 96, 300.0, 1.0)
    source = torch.tensor([[290.0, 0, 48], [0, 290.0, 48], [0, 0, 1]], dtype=torch.float64)
    centre = torch.tensor([[0.01, -0.01, 1.0]], dtype=torch.float64)
    found = normalisation(centre, rotation_matrix(torch.tensor([[0.0, 0.0, 0.3]]).double()), source, target)
    side = torch.arange(96, dtype=torch.float64)
    picture = (0.5 + 0.5 * (side / 9).sin() * (side[:, None] / 11).cos())[None, None]
    there = found.image(picture)
    inverse = found._replace(homography=torch.linalg.inv(found.homography))
    back = inverse.image(there)
    assert (back - picture)[..., 24:72, 24:72].abs().max() < 0.02
    assert (there - picture)[..., 24:72, 24:72].abs().max() > 0.2, "it was turned in between"


def test_beyond_the_image_is_black_and_uint8_is_rounded():
    centre = torch.tensor([[0.0, 0.0, 0.6]], dtype=torch.float64)
    head = torch.eye(3, dtype=torch.float64)[None]
    camera = torch.tensor([[960.0, 0, 15], [0, 960.0, 9], [0, 0, 1]], dtype=torch.float64)
    images = torch.full((1, 1, 18, 30), 200, dtype=torch.uint8)
    warped = normalisation(centre, head, camera).image(images)
    assert warped.dtype == torch.uint8
    assert warped[0, 0, 9:27, 15:45].unique().tolist() == [200]
    assert warped[0, 0, :8].sum() == 0
    assert normalisation(centre[:0], head[:0], camera).image(images[:0]).shape == (0, 1, 36, 60)


def test_presets_look_at_the_middle_of_their_images():
    assert EYE.matrix.tolist() == [[960, 0, 30], [0, 960, 18], [0, 0, 1]]
    assert NORMALISED_CAMERAS["face"].matrix[:2, 2].tolist() == [112, 112]


def test_what_cannot_be_normalised_is_refused():
    centre, head = geometry(3)

    def refuse(message: str, **changes: Tensor) -> None:
        arguments = {"centre": centre, "head": head, "camera": CAMERA} | changes
        with pytest.raises(ValueError, match=message):
            normalisation(**arguments)

    near = centre.clone()
    near[1] *= 9e-4 / near[1].norm()
    refuse("centre: expected at least 1e-3 from the camera, got a smaller distance at index 1", centre=near)
    refuse("head: expected rotations, got another matrix at index 0", head=head * 1.01)
    refuse("head: expected rotations, got another matrix at index 0", head=-head)
    towards = head.clone()
    x = centre[2] / centre[2].norm()
    y = torch.linalg.cross(x, torch.tensor([0.0, 1.0, 0.0]).double())
    y = y / y.norm()
    towards[2] = torch.stack([x, y, torch.linalg.cross(x, y)], 1)
    refuse("head: expected an x axis that is not the line of sight, got one that is at index 2", head=towards)
    refuse(
        "camera: expected a matrix with an inverse, got none at index 0", camera=torch.zeros(3, 3).double()
    )
    refuse(r"centre: expected shape \(batch, 3\), got \(3,\)", centre=centre[0])
    refuse(r"head: expected shape \(3, 3, 3\), got \(2, 3, 3\)", head=head[:2])
    refuse(r"camera: expected shape \(3, 3\) or \(3, 3, 3\), got \(2, 3, 3\)", camera=CAMERA.expand(2, 3, 3))
    for name, tensor in (("centre", centre), ("head", head), ("camera", CAMERA)):
        refuse(f"{name}: expected finite numbers, got NaN or infinity", **{name: tensor * math.nan})
    with pytest.raises(ValueError, match="focal: expected a number above 0, got 0"):
        NormalisedCamera(60, 36, 0, 0.6)
    with pytest.raises(
        ValueError, match=r"images: expected \(3, channels, height, width\), got \(2, 1, 4, 4\)"
    ):
        normalisation(centre, head, CAMERA).image(torch.zeros(2, 1, 4, 4))
