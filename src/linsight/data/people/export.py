"""Scenes of people as ground truth in plain arrays, which the writers of annotations make files of."""

import os
from collections.abc import Sequence

import numpy as np

from linsight.data.annotations.rle import from_mask
from linsight.data.annotations.tables import GroundTruth
from linsight.data.people.scenes import PeopleScene
from linsight.data.people.skeleton import JOINTS
from linsight.data.scenes.export import ids_of, picture_name, write_pictures

__all__ = ["people_ground_truth", "write_people"]


def people_ground_truth(scenes: Sequence[PeopleScene], image_ids: Sequence[int] | None = None) -> GroundTruth:
    """COCO's annotations of scenes: category 1, person; boxes of people alone, masks and areas as visible.

    A joint beyond the image is (0, 0, 0), as COCO writes what is not labelled.

    Args:
        scenes: Of any sizes.
        image_ids: An id of 0 or more for each. Default: 0, 1, ...

    Raises ValueError for other than one id a scene, or an id that is there twice or negative.
    """
    ids = ids_of(len(scenes), image_ids)
    counts = [len(scene.boxes) for scene in scenes]
    total = sum(counts)

    def joined(arrays: list[np.ndarray], *shape: int) -> np.ndarray:
        return np.concatenate([np.zeros((0, *shape)), *arrays])

    corners = joined([scene.boxes for scene in scenes], 4)
    seen = joined([scene.visibility for scene in scenes], len(JOINTS))
    places = joined([scene.keypoints for scene in scenes], len(JOINTS), 2)
    labelled = (seen > 0)[..., None]
    return GroundTruth(
        image_ids=np.array(ids, np.int64),
        image_names=tuple(picture_name(identity) for identity in ids),
        image_sizes=np.array([scene.parts.shape for scene in scenes], np.int64).reshape(-1, 2),
        category_ids=np.array([1]),
        category_names=("person",),
        annotation_id=np.arange(1, total + 1),
        image_id=np.repeat(np.array(ids, np.int64), counts),
        category_id=np.ones(total, np.int64),
        box=np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1),
        box_format="xywh",
        area=joined([scene.areas for scene in scenes]),
        area_source="file",
        crowd=np.zeros(total, bool),
        difficult=np.zeros(total, bool),
        ignore=np.zeros(total, bool),
        mask=tuple(from_mask(instance) for scene in scenes for instance in scene.instances),
        keypoints=np.where(labelled, np.concatenate([places, seen[..., None]], 2), 0.0),
        num_keypoints=labelled.sum((1, 2), dtype=np.int64),
        keypoint_names=JOINTS,
    )


def write_people(
    scenes: Sequence[PeopleScene],
    folder: str | os.PathLike[str],
    image_ids: Sequence[int] | None = None,
) -> None:
    """Write the images as PNG, under the names that `people_ground_truth` gives them. Needs pillow."""
    write_pictures(scenes, folder, image_ids)
