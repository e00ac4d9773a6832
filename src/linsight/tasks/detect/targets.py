"""Scenes as a batch: images, boxes padded to one number, and cells that are not counted."""

import numpy as np
import torch
from torch import Tensor

from linsight.data import Scene, Scenes
from linsight.data.geometry import Augmentation, Warp
from linsight.ops import box_area
from linsight.tasks.base import Batch

__all__ = ["batch_of", "moved"]

_LEAST_LEFT = 0.25


def batch_of(scenes: list[Scene], data: Scenes) -> Batch:
    """image `(batch, 3, size, size)` in [0, 1]; boxes `(batch, most, 4)`, labels and crowd `(batch, most)`.

    Places without an object have the label -1. `most` is that of all scenes of these data, so that the shapes
    of every batch are the same.
    """
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).float() / 255
    places = data.most + (data.crowds > 0)
    boxes = torch.zeros(len(scenes), places, 4)
    labels = torch.full((len(scenes), places), -1)
    crowd = torch.zeros(len(scenes), places, dtype=torch.bool)
    for number, scene in enumerate(scenes):
        count = len(scene.labels)
        boxes[number, :count] = torch.from_numpy(scene.boxes).float()
        labels[number, :count] = torch.from_numpy(scene.labels)
        crowd[number, :count] = torch.from_numpy(scene.crowd)
    return {"image": images, "boxes": boxes, "labels": labels, "crowd": crowd}


def moved(
    batch: Batch, augmentation: Augmentation, indices: np.ndarray, stride: int, *, seed: int, epoch: int
) -> Batch:
    """The batch under the maps of its examples, with `beyond` `(batch, rows, columns)`.

    What comes from beyond a scene is its reflection, in which digits have no boxes: `beyond` are the cells of
    `stride` pixels whose middle is there. An object of which less than a quarter of the box is left is not to
    be found, nor wrong to be found: it is flagged as a crowd.
    """
    size = (batch["image"].shape[2], batch["image"].shape[3])
    warp = augmentation.draw(indices, size, seed=seed, epoch=epoch)
    boxes = warp.boxes(batch["boxes"])
    left = box_area(boxes) / box_area(warp.boxes(batch["boxes"], clip=False)).clamp_min(1e-6)
    there = (batch["labels"] >= 0) & (box_area(boxes) > 0)
    return {
        "image": warp.image(batch["image"], "reflection").clamp(0, 1),
        "boxes": boxes,
        "labels": torch.where(there, batch["labels"], -1),
        "crowd": batch["crowd"] | (there & (left < _LEAST_LEFT)),
        "beyond": _beyond(warp, len(boxes), size, stride),
    }


def _beyond(warp: Warp, number: int, size: tuple[int, int], stride: int) -> Tensor:
    outside = warp.mask(torch.zeros(number, 1, *size, dtype=torch.bool), fill=1)[:, 0]
    rows, columns = (
        (torch.arange(-(-side // stride)) * stride + stride // 2).clamp_max(side - 1) for side in size
    )
    return outside[:, rows[:, None], columns]
