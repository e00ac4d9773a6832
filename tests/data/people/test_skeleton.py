"""Skeletons: places worked out by hand, rigid bones, and a mirror that exchanges left and right."""

import numpy as np
import pytest
from standing import drawn, place, still

from linsight.data.people.skeleton import JOINTS, PAIRS, PLACES, Angles, rounded, skeleton

HALF_TURN, QUARTER = np.pi, np.pi / 2


def _at(angles: Angles, name: str) -> list[float]:
    return skeleton(angles).places[0, place(name)].tolist()


def test_the_joints_are_coco_s_and_their_pairs_are_neighbours() -> None:
    assert len(JOINTS) == 17
    assert tuple((left, left + 1) for left in range(1, 17, 2)) == PAIRS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("neck", (0, -0.5, 0)),
        ("head", (0, -0.7, 0)),
        ("nose", (0, -0.7, -0.115)),
        ("left_eye", (0.04, -0.735, -0.095)),
        ("right_ear", (-0.11, -0.7, 0)),
        ("left_shoulder", (0.19, -0.5, 0)),
        ("right_elbow", (-0.19, -0.21, 0)),
        ("left_wrist", (0.19, 0.04, 0)),
        ("right_hip", (-0.12, 0, 0)),
        ("left_knee", (0.12, 0.43, 0)),
        ("right_ankle", (-0.12, 0.85, 0)),
    ],
)
def test_who_stands_still_faces_the_camera_and_has_its_left_at_the_image_s_right(
    name: str, expected: tuple[float, ...]
) -> None:
    """x right, y down, z away, in metres from the middle of the hips."""
    assert _at(still(), name) == pytest.approx(expected, abs=2e-6)
    twice = skeleton(still(scale=1.1)).places[0, place(name)]
    assert twice == pytest.approx(1.1 * np.array(expected), abs=2e-6)


@pytest.mark.parametrize(
    ("angles", "name", "expected"),
    [
        # The body turns to its left, to the image's right: its left shoulder goes away from the camera.
        ({"turn": (QUARTER, 0, 0)}, "nose", (0.115, -0.7, 0)),
        ({"turn": (QUARTER, 0, 0)}, "left_shoulder", (0, -0.5, 0.19)),
        ({"turn": (HALF_TURN, 0, 0)}, "left_shoulder", (-0.19, -0.5, 0)),
        ({"turn": (0, QUARTER, 0)}, "neck", (0, 0, -0.5)),
        ({"turn": (0, 0, QUARTER)}, "neck", (-0.5, 0, 0)),
        ({"trunk": (QUARTER, 0)}, "neck", (0, 0, -0.5)),
        ({"trunk": (QUARTER, 0)}, "left_knee", (0.12, 0.43, 0)),
        ({"trunk": (0, QUARTER)}, "left_shoulder", (0, -0.5, 0.19)),
        ({"trunk": (0, QUARTER)}, "left_hip", (0.12, 0, 0)),
        ({"head": (QUARTER, 0)}, "nose", (0.115, -0.7, 0)),
        ({"head": (0, QUARTER)}, "nose", (0, -0.385, -0.2)),
        ({"hip": ((-QUARTER, 0), (0, 0))}, "left_ankle", (0.12, 0, -0.85)),
        ({"hip": ((-QUARTER, 0), (0, 0))}, "right_ankle", (-0.12, 0.85, 0)),
        ({"hip": ((0, QUARTER), (0, QUARTER))}, "left_knee", (0.55, 0, 0)),
        ({"hip": ((0, QUARTER), (0, QUARTER))}, "right_knee", (-0.55, 0, 0)),
        ({"knee": (QUARTER, 0)}, "left_ankle", (0.12, 0.43, 0.42)),
        ({"knee": (0, QUARTER)}, "right_ankle", (-0.12, 0.43, 0.42)),
        ({"shoulder": ((-QUARTER, 0), (0, 0))}, "left_wrist", (0.19, -0.5, -0.54)),
        ({"shoulder": ((0, -QUARTER), (0, -QUARTER))}, "left_wrist", (0.73, -0.5, 0)),
        ({"shoulder": ((0, -QUARTER), (0, -QUARTER))}, "right_wrist", (-0.73, -0.5, 0)),
        ({"elbow": (QUARTER, 0)}, "left_wrist", (0.19, -0.21, -0.25)),
        ({"elbow": (0, QUARTER)}, "right_wrist", (-0.19, -0.21, -0.25)),
    ],
)
def test_each_angle_moves_what_it_says_and_which_way(
    angles: dict[str, object], name: str, expected: tuple[float, ...]
) -> None:
    assert _at(still(**angles), name) == pytest.approx(expected, abs=2e-6)


def test_bones_keep_their_lengths_whatever_the_angles() -> None:
    angles = drawn(40)
    places = skeleton(angles).places / angles.scale[:, None, None]
    for one, other, length in (
        ("shoulder", "elbow", 0.29),
        ("elbow", "wrist", 0.25),
        ("hip", "knee", 0.43),
        ("knee", "ankle", 0.42),
    ):
        for side in ("left", "right"):
            bone = places[:, place(f"{side}_{one}")] - places[:, place(f"{side}_{other}")]
            assert np.linalg.norm(bone, axis=1) == pytest.approx(length, abs=1e-5)
    neck = places[:, place("neck")]
    assert np.linalg.norm(neck, axis=1) == pytest.approx(0.5, abs=1e-5)
    assert np.linalg.norm(places[:, place("head")] - neck, axis=1) == pytest.approx(0.2, abs=1e-5)
    assert (places[:, place("left_hip")] + places[:, place("right_hip")]) == pytest.approx(0, abs=1e-5)


def test_axes_of_trunk_and_head_are_right_handed_and_of_their_joints() -> None:
    body = skeleton(drawn())
    for axes in (body.trunk, body.head):
        assert axes.swapaxes(1, 2) @ axes == pytest.approx(np.tile(np.eye(3), (24, 1, 1)), abs=1e-5)
        assert np.linalg.det(axes) == pytest.approx(1, abs=1e-5)
    shoulders = body.places[:, place("left_shoulder")] - body.places[:, place("right_shoulder")]
    assert shoulders == pytest.approx(0.38 * body.trunk[:, :, 0] * body.scale[:, None], abs=1e-5)
    face = body.places[:, place("nose")] - body.places[:, place("head")]
    assert face == pytest.approx(0.115 * body.head[:, :, 2] * body.scale[:, None], abs=1e-5)


def test_a_mirrored_body_has_mirrored_joints_with_left_and_right_exchanged() -> None:
    """To the last bit; and twice is the body itself."""
    angles = drawn()
    order = list(range(len(PLACES)))
    for left, right in PAIRS:
        order[left], order[right] = right, left
    mirrored, flip = skeleton(angles.mirrored()), np.array([-1.0, 1.0, 1.0])
    assert np.array_equal(mirrored.places, skeleton(angles).places[:, order] * flip)
    again = angles.mirrored().mirrored()
    assert all(np.array_equal(one, other) for one, other in zip(again, angles, strict=True))


def test_places_are_rounded_to_a_micrometre_and_moved_exactly() -> None:
    body = skeleton(drawn())
    for values in body:
        assert np.array_equal(values * 2.0**20, np.rint(values * 2.0**20))
    assert rounded(np.array([0.3])) == pytest.approx(0.3, abs=2.0**-21)
    position = np.tile([0.5, -0.25, 4.0], (24, 1))
    assert np.array_equal(
        body.at(position).places - body.places, np.broadcast_to(position[:, None], body.places.shape)
    )
