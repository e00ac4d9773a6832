"""Scenes in COCO's and VOC's files are read back equal."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linsight.data.annotations import read_coco, read_voc, write_coco, write_voc
from linsight.data.annotations.rle import to_mask
from linsight.data.scenes import Scenes, ground_truth, write_pictures


def test_scenes_come_back_from_coco(tmp_path: Path) -> None:
    scenes = Scenes(crowds=0.5).scenes("valid", np.arange(12))
    truth = ground_truth(scenes, range(100, 112))
    write_coco(truth, tmp_path / "scenes.json")
    again = read_coco(tmp_path / "scenes.json", masks=True)
    for name in (
        "image_ids", "image_sizes", "category_ids", "annotation_id", "image_id", "category_id", "box", "area",
        "crowd", "difficult", "ignore",
    ):  # fmt: skip
        first, second = getattr(truth, name), getattr(again, name)
        assert first.dtype == second.dtype, name
        assert first.tolist() == second.tolist(), name
    assert (truth.image_names, truth.category_names) == (again.image_names, again.category_names)
    assert again.crowd.any()
    assert again.mask is not None
    instances = [instance for scene in scenes for instance in scene.instances]
    for instance, runs, area in zip(instances, again.mask, again.area, strict=True):
        assert (to_mask(runs) == instance).all()
        assert instance.sum() == area
    assert (again.xyxy() == np.concatenate([scene.boxes for scene in scenes])).all()


def test_scenes_come_back_from_voc(tmp_path: Path) -> None:
    scenes = Scenes().scenes("test", np.arange(12))
    truth = ground_truth(scenes)
    write_voc(replace(truth, image_ids=truth.image_ids + 100, image_id=truth.image_id + 100), tmp_path)
    again = read_voc(tmp_path, categories=truth.category_names)
    assert again.xyxy().tolist() == truth.xyxy().tolist()
    assert again.category_id.tolist() == truth.category_id.tolist()
    assert again.difficult.tolist() == truth.difficult.tolist()
    assert again.image_id.tolist() == [str(image + 100) for image in truth.image_id]
    assert again.image_sizes.tolist() == truth.image_sizes.tolist()


def test_pictures_are_the_images_under_the_names_of_the_annotations(tmp_path: Path) -> None:
    scenes = Scenes().scenes("train", np.arange(2))
    write_pictures(scenes, tmp_path, [4, 9])
    for scene, name in zip(scenes, ground_truth(scenes, [4, 9]).image_names, strict=True):
        with Image.open(tmp_path / name) as picture:
            assert (np.asarray(picture).transpose(2, 0, 1) == scene.image).all()


def test_ids_that_do_not_fit_are_refused() -> None:
    scenes = Scenes().scenes("train", np.arange(2))
    for ids in ([1], [1, 1], [-1, 0]):
        with pytest.raises(ValueError, match="image_ids: expected 2 different integers of at least 0"):
            ground_truth(scenes, ids)
    assert len(ground_truth([]).box) == 0
