"""Crops of people with the labels that somebody gave them: noisy ones, whose law is known."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Integer
from torch import Tensor

from linsight.data import People, noise
from linsight.data.geometry import Augmentation
from linsight.data.keypoint_noise import AnyKeypointNoise, noisy, num_uniforms
from linsight.data.people import PAIRS
from linsight.tasks.base import Split
from linsight.tasks.kept import Kept

__all__ = ["Labelled", "PeopleKept", "drawn_labels", "labelled"]


class Labelled(NamedTuple):
    """People of a split, what is true of them, and what their labels say."""

    image: Float32[Tensor, "people 3 height width"]
    """In [0, 1]."""
    truth: Float[Tensor, "people joints 2"]
    """Pixels of the crop, float64."""
    labels: Float[Tensor, "people joints 2"]
    visibility: Int64[Tensor, "people joints"]
    """2 seen, 1 hidden, 0 beyond the crop."""
    box: Float[Tensor, "people 4"]
    """x1, y1, x2, y2."""
    area: Float[Tensor, " people"]
    """Of the person, in pixels."""

    @property
    def reference(self) -> Float[Tensor, " people"]:
        """The larger side of the box, which noise and PCK are measured in."""
        return (self.box[:, 2:] - self.box[:, :2]).amax(1)


def drawn_labels(
    law: AnyKeypointNoise,
    truth: Float[Tensor, "people joints 2"],
    visibility: Int64[Tensor, "people joints"],
    reference: Float[Tensor, " people"],
    items: Integer[np.ndarray, "people"],
    *,
    split: str,
    seed: int,
) -> Float[Tensor, "people joints 2"]:
    """`noisy` labels in shares of the reference, of numbers that depend on (law, split, seed, item) alone."""
    joints, width = truth.shape[1], num_uniforms(law)
    drawn = noise.uniform(noise.key(seed, f"pose labels/{split}"), items, joints * width)
    uniform = torch.from_numpy(drawn).reshape(len(items), joints, width)
    return noisy(law, truth, visibility, reference[:, None].expand(-1, 2), uniform, PAIRS)


def labelled(
    data: People, law: AnyKeypointNoise, split: Split, items: np.ndarray, *, seed: int = 0
) -> Labelled:
    """These people of a split, as they are: nothing is moved."""
    found = data.items(split, items, seed=seed)
    truth, visibility = torch.from_numpy(found.keypoints), torch.from_numpy(found.visibility)
    box = torch.from_numpy(found.box)
    reference = (box[:, 2:] - box[:, :2]).amax(1)
    return Labelled(
        torch.from_numpy(found.image).float() / 255,
        truth,
        drawn_labels(law, truth, visibility, reference, items, split=split, seed=seed),
        visibility,
        box,
        torch.from_numpy((found.parts > 0).sum((1, 2)).astype(np.float64)),
    )


class PeopleKept:
    """People of training, each rendered once, when it is first asked for, and then moved in each epoch.

    To render one costs 2 to 3 ms, to move it less than half a millisecond. What is kept depends on nothing
    but (data, seed, item), so a batch is what it is with an empty memory. Safe for several threads.

    Args:
        data: Whom to render.
        number: Items are 0 to number - 1.

    Memory: an image of bytes and 300 bytes for each person that was asked for, one seed's.
    """

    def __init__(self, data: People, number: int) -> None:
        self.data, self.number = data, number
        self._kept: tuple[int, Kept] | None = None

    def moved(
        self,
        items: Integer[np.ndarray, "batch"],
        law: AnyKeypointNoise,
        augmentation: Augmentation | None,
        *,
        seed: int,
        epoch: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images `(batch, 3, height, width)` in [0, 1], labels `(batch, 17, 2)`, visibility `(batch, 17)`.

        Labels are noisy in the axes of the moved crop, at its scale, by residuals that are the item's in all
        epochs: a law that is skewed to the right stays so in mirrored crops.
        """
        pixels, places, seen, boxes = self._of(seed).rows(items)
        image, reference = pixels.float() / 255, (boxes[:, 2:] - boxes[:, :2]).amax(1)
        if augmentation is not None:
            warp = augmentation.draw(items, self.data.size, seed=seed, epoch=epoch)
            image = warp.image(image, "border").clamp(0, 1)
            places = warp.keypoints(places, PAIRS)
            seen = warp.exchange(seen, PAIRS)
            seen = seen.where(warp.inside(places), torch.zeros_like(seen))
            reference = reference * torch.linalg.det(warp.matrix[:, :, :2]).abs().sqrt()
        labels = drawn_labels(law, places, seen, reference, items, split="train", seed=seed)
        return image, labels, seen

    def _of(self, seed: int) -> Kept:
        """What is kept of this seed; of another it is dropped."""
        kept = self._kept
        if kept is None or kept[0] != seed:
            kept = self._kept = (seed, Kept(self.number, partial(self._rendered, seed=seed)))
        return kept[1]

    def _rendered(self, items: Integer[np.ndarray, "items"], *, seed: int) -> tuple[Tensor, ...]:
        found = self.data.items("train", items, seed=seed)
        parts = (found.image, found.keypoints, found.visibility, found.box)
        return tuple(torch.from_numpy(part) for part in parts)
