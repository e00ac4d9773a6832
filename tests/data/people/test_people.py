"""People: items that depend on their number alone, and labels that the pictures confirm."""

import hashlib
from functools import cache

import numpy as np
import pytest
from standing import plain, still

from linsight.data.people import JOINTS, PARTS, Camera, People, Portraits, render, skeleton
from linsight.data.people import generator as made_by
from linsight.data.splits import SPLITS

CHECKSUMS = {
    "train": "58dacfd899bc1f1fc818daca07a588495460b983c5a5b4296bbf640ee84bc4b6",
    "valid": "074c1b72b1951cc15f34e041879f1253a707ca9263eeafc9355881916232bd5e",
    "test": "07d38306a16489878d6979028a1434b1cdb0151dd63546359de146ba15dd7ebb",
}
SIZE = (48, 36)


@cache
def _people(split: str = "train", size: tuple[int, int] = (64, 48), samples: int = 2) -> Portraits:
    return People(size, samples).items(split, np.arange(60))


@cache
def _many() -> Portraits:
    return People(samples=1).items("train", np.arange(300))


def test_an_item_is_the_same_whatever_else_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order, alone, and where more or fewer are shaded at once."""
    whole = _people()
    for order in ([41, 3, 17], [3], [17]):
        found = People().items("train", np.array(order))
        for one, other in zip(found[:6], whole[:6], strict=True):
            assert np.array_equal(one, other[order])
    monkeypatch.setattr(made_by, "_AT_ONCE", 1)
    assert np.array_equal(People().items("train", np.arange(9)).image, whole.image[:9])


def test_splits_and_seeds_share_no_item() -> None:
    bodies = [_people(split).keypoints[:, 0] for split in SPLITS]
    bodies.append(People().items("train", np.arange(60), seed=1).keypoints[:, 0])
    assert len(np.unique(np.concatenate(bodies), axis=0)) == 240


def test_what_is_random_is_all_of_it_used() -> None:
    """No two of a hundred bodies, clothes, cameras or backgrounds are alike."""
    found = People(samples=1).items("train", np.arange(100))
    for values in (found.body.places, found.camera.centre, *found.clothes, found.surroundings.coarse):
        flat = values.reshape(100, -1)
        assert len(np.unique(flat, axis=0)) == 100


def test_about_a_quarter_of_the_joints_is_hidden_and_few_are_beyond_the_image() -> None:
    """The specification expects 15 to 40 % hidden."""
    seen = _many().visibility
    hidden = (seen == 1).sum() / (seen > 0).sum()
    assert 0.15 < hidden < 0.4
    assert 0.002 < (seen == 0).mean() < 0.05
    by_joint = (seen == 1).mean(0)
    assert (by_joint > 0.03).all()
    assert (by_joint < 0.6).all()


def test_keypoints_are_the_projected_joints() -> None:
    """f X / Z + c - 1/2, joint by joint."""
    found = _people()
    for number in range(0, 60, 7):
        for joint in range(17):
            x, y, z = found.body.places[number, joint]
            focal, (across, down) = found.camera.focal[number], found.camera.centre[number]
            expected = [focal * x / z + across - 0.5, focal * y / z + down - 0.5]
            assert found.keypoints[number, joint].tolist() == pytest.approx(expected, abs=1e-9)


def test_a_joint_beyond_the_image_is_0_and_all_others_are_not() -> None:
    """A pixel reaches from half before its centre to half behind it."""
    found = _many()
    inside = ((found.keypoints >= -0.5) & (found.keypoints < np.array([47.5, 63.5]))).all(-1)
    assert np.array_equal(found.visibility > 0, inside)
    assert not inside.all()


def test_a_joint_that_is_in_front_of_everything_is_2() -> None:
    found = _people()
    nearest = found.body.places[:, :17, 2].argmin(1)
    seen = found.visibility[np.arange(60), nearest]
    assert set(seen) <= {0, 2}
    assert (seen == 2).sum() > 50


def test_what_the_body_covers_is_1() -> None:
    """Turned to its left, the right side covers the left one: 0.38 m of shoulders is more than 0.13."""
    body = skeleton(still(turn=(np.pi / 2, 0, 0))).at(np.array([[0.0, 0.0, 4.0]]))
    camera = Camera(np.array([95.0]), np.array([[18.0, 24.0]]))
    seen = dict(zip(JOINTS, render(body, camera, *plain(), SIZE).visibility[0], strict=True))
    assert {name for name, value in seen.items() if value == 1} == {
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "left_hip",
        "left_knee",
        "left_ankle",
        "left_ear",
    }
    assert all(value == 2 for name, value in seen.items() if name.startswith("right") or name == "nose")


_MEETING = {
    "shoulder": ("trunk_and_head", "{}_upper_arm"),
    "elbow": ("{}_upper_arm", "{}_forearm"),
    "wrist": ("{}_forearm",),
    "hip": ("trunk_and_head", "{}_thigh"),
    "knee": ("{}_thigh", "{}_shank"),
    "ankle": ("{}_shank",),
}


def test_visible_joints_lie_on_their_parts() -> None:
    """Within a pixel and the radius, seen from there, of a part that ends at the joint."""
    found = _people(samples=1)
    checked = 0
    for number, joint in np.argwhere(found.visibility == 2):
        side, _, kind = JOINTS[joint].partition("_")
        parts = [PARTS.index(part.format(side)) for part in _MEETING.get(kind, ("trunk_and_head",))]
        rows, columns = np.nonzero(np.isin(found.parts[number], parts))
        x, y = found.keypoints[number, joint]
        reach = 0.12 * found.camera.focal[number] / found.body.places[number, joint, 2]
        assert len(rows), (number, JOINTS[joint])
        assert np.hypot(rows - y, columns - x).min() <= 1 + reach, (number, JOINTS[joint])
        checked += 1
    assert checked > 600


def test_boxes_are_tight_around_the_parts_and_depth_is_where_they_are() -> None:
    found = _people()
    for box, parts, depth in zip(found.box.astype(int), found.parts, found.depth, strict=True):
        x1, y1, x2, y2 = box
        inside = parts[y1:y2, x1:x2] > 0
        assert inside.sum() == (parts > 0).sum() > 50
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        assert np.array_equal(np.isfinite(depth), parts > 0)
    assert len(np.unique(found.parts)) == 10


def test_depth_is_of_the_body() -> None:
    """Between the nearest and the farthest joint, give or take a radius."""
    found = _people()
    shown = np.where(np.isfinite(found.depth), found.depth, np.nan)
    z = found.body.places[..., 2]
    assert (np.nanmin(shown, (1, 2)) > z.min(1) - 0.13).all()
    assert (np.nanmax(shown, (1, 2)) < z.max(1) + 0.13).all()


def test_the_labels_bodies_and_camera_render_the_same_picture_again() -> None:
    found = _people()
    again = render(found.body, found.camera, found.clothes, found.surroundings, (64, 48))
    for one, other in zip(found[:6], again[:6], strict=True):
        assert np.array_equal(one, other)


def test_the_size_of_a_picture_changes_its_resolution_alone() -> None:
    """Twice as large, keypoints are at twice the continuous places, to a rounding of the camera."""
    small, large = _people(), _people(size=(128, 96), samples=1)
    assert np.allclose(2 * (small.keypoints + 0.5), large.keypoints + 0.5, rtol=0, atol=0.02)
    assert np.array_equal(small.body.places, large.body.places)


def test_a_body_fills_its_crop_but_for_the_margin() -> None:
    """1 / 1.25, at a zoom of 0.8 to 1.25, of the height or the width, and not much less."""
    sides = _people().box[:, 2:] - _people().box[:, :2]
    filled = (sides / np.array([48, 64])).max(1)
    assert filled.min() > 0.55
    assert filled.max() <= 1
    assert np.ptp(filled) > 0.3


@pytest.mark.parametrize("split", SPLITS)
def test_items_are_the_same_on_every_machine(split: str) -> None:
    found = _people(split)
    digest = hashlib.sha256()
    for values in (found.image, found.parts, found.depth, found.visibility.astype("<i8")):
        digest.update(np.ascontiguousarray(values[:20]).data.cast("B"))
    digest.update(np.rint(found.keypoints[:20] * 1024).astype("<i8").data.cast("B"))
    assert digest.hexdigest() == CHECKSUMS[split]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"size: expected height and width of at least 8, got \(7, 48\)"):
        People((7, 48))
    for samples in (0, 9):
        with pytest.raises(
            ValueError, match=f"samples: expected 1 to 8 along a side of a pixel, got {samples}"
        ):
            People(samples=samples)
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got 'dev'"):
        People().items("dev", np.arange(1))
    with pytest.raises(ValueError, match="items: expected integers of at least 0, got -1"):
        People().items("train", np.array([-1]))
