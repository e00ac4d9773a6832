"""Scenes as ground truth in plain arrays, which the writers of annotations make files of, and as pictures."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from linsight.data.annotations.rle import from_mask
from linsight.data.annotations.tables import GroundTruth
from linsight.data.scenes.scene import Scene

__all__ = ["ground_truth", "ids_of", "picture_name", "write_pictures"]


@runtime_checkable
class Pictured(Protocol):
    """What has an image."""

    @property
    def image(self) -> UInt8[np.ndarray, "3 height width"]:
        """Colours."""
        ...


def ground_truth(scenes: Sequence[Scene], image_ids: Sequence[int] | None = None) -> GroundTruth:
    """The annotations of scenes: categories 0 to 9, boxes of all ink, masks and areas of what is visible.

    Args:
        scenes: Of any sizes.
        image_ids: An id of 0 or more for each. Default: 0, 1, ...

    Raises ValueError for other than one id a scene, or an id that is there twice or negative.
    """
    ids = ids_of(len(scenes), image_ids)
    counts = [len(scene.labels) for scene in scenes]

    def joined(arrays: list[np.ndarray], like: np.ndarray) -> np.ndarray:
        return np.concatenate([like, *arrays])

    corners = joined([scene.boxes for scene in scenes], np.zeros((0, 4)))
    flags = np.zeros(0, bool)
    return GroundTruth(
        image_ids=np.array(ids, np.int64),
        image_names=tuple(picture_name(identity) for identity in ids),
        image_sizes=np.array([scene.semantic.shape for scene in scenes], np.int64).reshape(-1, 2),
        category_ids=np.arange(10),
        category_names=tuple(map(str, range(10))),
        annotation_id=np.arange(sum(counts)),
        image_id=np.repeat(np.array(ids, np.int64), counts),
        category_id=joined([scene.labels for scene in scenes], np.zeros(0, np.int64)),
        box=np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1),
        box_format="xywh",
        area=joined([scene.areas for scene in scenes], np.zeros(0)),
        area_source="file",
        crowd=joined([scene.crowd for scene in scenes], flags),
        difficult=joined([scene.difficult for scene in scenes], flags),
        ignore=np.zeros(sum(counts), bool),
        mask=tuple(from_mask(instance) for scene in scenes for instance in scene.instances),
    )


def ids_of(number: int, image_ids: Sequence[int] | None) -> list[int]:
    """The ids, or 0, 1, ... where there are none; refuses others than one different id an image."""
    ids = list(range(number) if image_ids is None else image_ids)
    if len(ids) != number or len(set(ids)) < len(ids) or min(ids, default=0) < 0:
        raise ValueError(f"image_ids: expected {number} different integers of at least 0, got {ids}")
    return ids


def picture_name(image_id: int) -> str:
    """The file name of an image: its id in six digits."""
    return f"{image_id:06}.png"


def write_pictures(
    scenes: Sequence[Pictured], folder: str | os.PathLike[str], image_ids: Sequence[int] | None = None
) -> None:
    """Write the images as PNG, under the names that `ground_truth` gives them. Needs pillow."""
    from PIL import Image

    for identity, scene in zip(range(len(scenes)) if image_ids is None else image_ids, scenes, strict=True):
        path = Path(folder) / picture_name(identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(scene.image.transpose(1, 2, 0))).save(path)
