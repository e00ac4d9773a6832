"""Scenes of people: who is nearer covers, limb by limb, and every mask and share is that of the picture."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from standing import plain, still

from linsight.data.annotations import read_coco, read_coco_results, write_coco, write_coco_results
from linsight.data.annotations.rle import to_mask
from linsight.data.keypoint_set import read_keypoints
from linsight.data.people import (
    JOINTS,
    Camera,
    PeopleScene,
    PeopleScenes,
    compose,
    people_ground_truth,
    render,
    skeleton,
    write_people,
)
from linsight.data.people.rows import rows
from linsight.data.splits import SPLITS
from linsight.metrics.average_precision import coco, detections, evaluate_detections, ground_truth

CHECKSUMS = {
    "train": "7c794b89a4a27a1478c8a46e91304f60ed52d5734c5a53089da20196bcb6abff",
    "valid": "46747d2f04e68eeef59c1414c06d6c12cfb04bc903ab5e6ca34394f9cb5b75af",
    "test": "fa689020c3d888712628bc32cf0c5c08291b84be253de30c607f749892358d75",
}
SIZE = (48, 64)


@cache
def _scenes(split: str = "train", number: int = 40) -> list[PeopleScene]:
    return PeopleScenes().scenes(split, np.arange(number))


def _standing(*positions: tuple[float, float, float], samples: int = 1, **angles: object) -> PeopleScene:
    """People who stand at these places in metres, before a camera of a focal length of one height."""
    clothes, around = plain(len(positions))
    camera = Camera(np.array([48.0]), np.array([[32.0, 24.0]]))
    body = skeleton(still(len(positions), **angles)).at(np.array(positions))
    return compose(body, camera, clothes, rows(around, slice(1)), SIZE, samples=samples)


def _alone(scene: PeopleScene, person: int) -> PeopleScene:
    return compose(
        rows(scene.body, slice(person, person + 1)),
        scene.camera,
        rows(scene.clothes, slice(person, person + 1)),
        scene.surroundings,
        scene.parts.shape,
    )


def test_instances_are_disjoint_and_their_union_is_what_has_parts() -> None:
    for scene in _scenes():
        assert scene.instances.sum(0).max() == 1
        assert np.array_equal(scene.instances.any(0), scene.parts > 0)
        assert np.array_equal(np.isfinite(scene.depth), scene.parts > 0)


def test_a_pixel_shows_the_nearest_of_those_who_are_there() -> None:
    """Its depth is that of its owner alone, unless the sample there was another's, and nobody is nearer."""
    for scene in _scenes()[:20]:
        alone = np.stack([_alone(scene, person).depth for person in range(len(scene.boxes))])
        assert (scene.depth <= alone.min(0) + 1e-6).all()
        for instance, depth in zip(scene.instances, alone, strict=True):
            same = scene.depth[instance] == depth[instance]
            assert same.mean() > 0.9


def test_boxes_are_tight_around_people_as_they_are_without_the_others() -> None:
    for scene in _scenes()[:20]:
        for person, box in enumerate(scene.boxes):
            expected = _alone(scene, person).boxes[0]
            # Pixels that a person has less than half of count where others have the rest.
            assert np.abs(box - expected).max() <= 1
            x1, y1, x2, y2 = box.astype(int)
            outside = scene.instances[person].copy()
            outside[y1:y2, x1:x2] = False
            assert not outside.any()


def test_someone_alone_is_as_in_a_portrait() -> None:
    """The two ways to a picture agree, to the last bit."""
    scene = _standing((0.25, 0.125, 3.0), samples=2)
    camera = Camera(np.array([48.0]), np.array([[32.0, 24.0]]))
    portrait = render(scene.body, camera, *plain(), SIZE)
    for one, other in (
        (scene.image, portrait.image),
        (scene.parts, portrait.parts),
        (scene.depth, portrait.depth),
        (scene.instances, portrait.parts > 0),
        (scene.boxes, portrait.box),
        (scene.keypoints, portrait.keypoints),
        (scene.visibility, portrait.visibility),
    ):
        assert np.array_equal(one, other if other.shape == one.shape else other[0])
    assert scene.visible.tolist() == [1.0]


def test_the_order_of_people_changes_nothing_but_their_order() -> None:
    for scene in (scene for scene in _scenes() if len(scene.boxes) == 3):
        order = np.array([2, 0, 1])
        other = compose(
            rows(scene.body, order), scene.camera, rows(scene.clothes, order), scene.surroundings, (96, 128)
        )
        assert np.array_equal(scene.image, other.image)
        assert np.array_equal(scene.instances[order], other.instances)
        assert np.array_equal(scene.boxes[order], other.boxes)
        assert np.array_equal(scene.visibility[order], other.visibility)


def test_who_stands_behind_somebody_is_covered_and_their_joints_are_hidden() -> None:
    """Side by side with an arm's overlap, half behind, and wholly behind, who is left out."""
    scene = _standing((0.0, 0.0, 2.5), (0.25, 0.0, 3.5))
    assert scene.visible[0] == 1
    assert 0.3 < scene.visible[1] < 0.9
    assert scene.visible[1] == scene.instances[1].sum() / _alone_area((0.25, 0.0, 3.5))
    seen = dict(zip(JOINTS, scene.visibility[1], strict=True))
    assert seen["right_hip"] == 1
    assert seen["left_shoulder"] == 2
    assert (scene.visibility[0] == _standing((0.0, 0.0, 2.5)).visibility[0]).all()
    hiding = _standing((0.0, 0.0, 2.5), (0.0, 0.0, 4.0))
    before = _standing((0.0, 0.0, 2.5))
    assert len(hiding.boxes) == 1
    assert np.array_equal(hiding.image, before.image)
    assert np.array_equal(hiding.depth, before.depth)


def _alone_area(position: tuple[float, float, float]) -> int:
    return int(_standing(position).instances.sum())


def test_limbs_reach_before_and_behind_others() -> None:
    """Side by side, the left arms stretched forwards: each arm is before the other's body or beside it."""
    scene = _standing((0.0, 0.0, 3.0), (0.3, 0.0, 3.25), shoulder=((-1.4, 0), (0, 0)))
    first, second = scene.depth[scene.instances[0]], scene.depth[scene.instances[1]]
    assert first.min() < second.min() < first.max() < second.max()


def test_one_to_four_people_all_occur_and_a_tenth_of_each_is_seen() -> None:
    scenes = _scenes()
    assert {len(scene.boxes) for scene in scenes} == {1, 2, 3, 4}
    visible = np.concatenate([scene.visible for scene in scenes])
    assert visible.min() >= 0.1
    assert visible.min() < 0.5
    assert visible.max() == 1
    assert {len(scene.boxes) for scene in PeopleScenes(most=1, samples=1).scenes("train", np.arange(10))} == {
        1
    }
    seen = np.concatenate([scene.visibility for scene in scenes])
    assert 0.15 < (seen == 1).sum() / (seen > 0).sum() < 0.45


def test_an_item_is_the_same_whatever_else_is_asked_for() -> None:
    again = PeopleScenes().scenes("train", np.array([7, 2]))
    for scene, expected in zip(again, (_scenes()[7], _scenes()[2]), strict=True):
        for one, other in zip(scene[:8], expected[:8], strict=True):
            assert np.array_equal(one, other)
    other = PeopleScenes().scenes("train", np.array([7]), seed=1)[0]
    assert not np.array_equal(other.image, again[0].image)


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_are_the_same_on_every_machine(split: str) -> None:
    digest = hashlib.sha256()
    for scene in _scenes(split, 20):
        for values in (scene.image, scene.parts, scene.depth, scene.instances, scene.boxes.astype("<f8")):
            digest.update(np.ascontiguousarray(values).data.cast("B"))
        digest.update(np.rint(scene.keypoints * 1024).astype("<i8").data.cast("B"))
    assert digest.hexdigest() == CHECKSUMS[split]


def test_exported_to_coco_and_read_again_all_is_equal(tmp_path: Path) -> None:
    scenes = _scenes()[:6]
    truth = people_ground_truth(scenes, [3, 1, 4, 15, 9, 2])
    write_coco(truth, tmp_path / "people.json")
    found = read_coco(tmp_path / "people.json", masks=True)
    assert found.keypoint_names == JOINTS
    assert found.category_names == ("person",)
    assert found.keypoints is not None
    assert found.mask is not None
    start = 0
    for scene, identity in zip(scenes, [3, 1, 4, 15, 9, 2], strict=True):
        part = slice(start, start := start + len(scene.boxes))
        assert (found.image_id[part] == identity).all()
        assert np.array_equal(found.xyxy()[part], scene.boxes)
        assert np.array_equal(found.area[part], scene.areas)
        seen = scene.visibility
        assert np.array_equal(found.keypoints[part][..., 2], seen)
        assert np.array_equal(
            found.keypoints[part][..., :2], np.where(seen[..., None] > 0, scene.keypoints, 0)
        )
        for runs, instance in zip(found.mask[part], scene.instances, strict=True):
            assert np.array_equal(to_mask(runs), instance)
    assert len(found.annotation_id) == start


def test_pictures_are_written_under_the_names_of_the_annotations(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    scenes = _scenes()[:2]
    write_people(scenes, tmp_path / "images", [5, 8])
    for scene, name in zip(scenes, people_ground_truth(scenes, [5, 8]).image_names, strict=True):
        with image.open(tmp_path / "images" / name) as picture:
            assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), scene.image)


def test_from_a_scene_to_a_file_a_crop_an_answer_and_its_score(tmp_path: Path) -> None:
    """Keypoints that are read, cropped, taken back, written and read again are the truth: OKS AP is 1.

    What is found 4 pixels away is another answer, and OKS says so.
    """
    pytest.importorskip("PIL")
    scenes = PeopleScenes((192, 256), samples=1).scenes("valid", np.arange(3))
    write_coco(people_ground_truth(scenes), tmp_path / "people.json")
    write_people(scenes, tmp_path)
    instances = read_keypoints(tmp_path / "people.json", tmp_path, joints=17)
    everyone = np.arange(len(instances))
    crops = instances.crops(everyone, (96, 72))
    back = crops.warp.inverse().keypoints(crops.keypoints)
    truth, labelled = instances.truth, crops.visibility > 0
    expected = np.concatenate([scene.keypoints for scene in scenes])
    assert np.abs(back.numpy() - expected)[labelled.numpy()].max() < 1e-9
    scores = {}
    for shift in (0.0, 4.0):
        found = instances.results(everyone, back + shift, torch.ones(back.shape[:2]), torch.ones(len(back)))
        write_coco_results(found, tmp_path / "results.json")
        again = read_coco_results(tmp_path / "results.json", truth)
        tables = (
            ground_truth(
                images=truth.image_ids,
                categories=truth.category_ids,
                image_id=truth.image_id,
                category_id=truth.category_id,
                box=truth.box,
                box_format="xywh",
                area=truth.area,
                keypoints=truth.keypoints,
                num_keypoints=truth.num_keypoints,
            ),
            detections(
                image_id=again.image_id,
                category_id=again.category_id,
                score=again.score,
                box=again.box,
                box_format="xywh",
                keypoints=again.keypoints,
            ),
        )
        scores[shift] = evaluate_detections(*tables, coco("keypoints")).value
    assert scores[0.0] == pytest.approx(1, abs=1e-12)
    assert scores[4.0] < 0.9


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"size: expected height and width of at least 8, got \(96, 0\)"):
        PeopleScenes((96, 0))
    with pytest.raises(ValueError, match="samples: expected 1 to 8 along a side of a pixel, got 0"):
        PeopleScenes(samples=0)
    for most in (0, 5):
        with pytest.raises(ValueError, match=f"most: expected 1 to 4 people, got {most}"):
            PeopleScenes(most=most)
    with pytest.raises(ValueError, match="split: expected one of"):
        PeopleScenes().scenes("dev", np.arange(1))
    with pytest.raises(ValueError, match="body: expected 1 to 4 people, got 5"):
        _standing(*[(0.0, 0.0, 3.0)] * 5)
    for ids in ([1], [1, 1], [-1, 2]):
        with pytest.raises(ValueError, match="image_ids: expected 2 different integers of at least 0, got"):
            people_ground_truth(_scenes()[:2], ids)
