"""Pictures of eyes for training: each rendered once, and then moved in each epoch."""

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from linsight.data.gaze import Eyes
from linsight.data.geometry import Augmentation, Warp
from linsight.ops import exp_map, log_map, to_pitchyaw, to_vector
from linsight.tasks.kept import Kept

__all__ = ["EyesKept"]


class EyesKept:
    """Pictures of persons, each rendered when it is first asked for.

    To render one costs 1.5 ms, to move it a tenth of that. What is kept depends on nothing but (data, person,
    item): a run's seed chooses weights, order and augmentation, not who is in the data. So a batch is what it
    is with an empty memory. Safe for several threads.

    Args:
        data: What to render, the law of its labels included.
        persons, items: Of each picture.

    Memory: an image of bytes and 48 bytes for each picture.
    """

    def __init__(
        self, data: Eyes, persons: Integer[np.ndarray, "rows"], items: Integer[np.ndarray, "rows"]
    ) -> None:
        self.data, self.persons, self.items = data, persons, items
        self._kept = Kept(len(persons), self._rendered)

    def moved(
        self,
        rows: Integer[np.ndarray, "batch"],
        augmentation: Augmentation | None,
        *,
        seed: int,
        epoch: int,
    ) -> tuple[
        Float[Tensor, "batch channels height width"], Float[Tensor, "batch 2"], Float[Tensor, "batch 2"]
    ]:
        """Images in [0, 1], labels, poses of the head; gaze and head turn with the image.

        The residual of a label is the picture's in all epochs, in the axes of the moved image: a law that is
        skewed upwards stays so in pictures that are turned or mirrored.
        """
        pixels, angles = self._kept.rows(rows)
        image = pixels.float() / 255
        truth, label, head = angles.unbind(1)
        if augmentation is None:
            return image, label, head
        warp = augmentation.draw(rows, self.data.size, seed=seed, epoch=epoch)
        residual = log_map(truth, label)
        truth, head = _turned(warp, truth), _turned(warp, head)
        label = exp_map(truth, residual) if residual.any() else truth
        return warp.image(image, "border").clamp(0, 1), label, head

    def _rendered(self, rows: Integer[np.ndarray, "rows"]) -> tuple[Tensor, Tensor]:
        found = self.data.samples(self.persons[rows], self.items[rows])
        return found.image, torch.stack([found.gaze, found.label, found.head], 1)


def _turned(warp: Warp, angles: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    return to_pitchyaw(warp.directions(to_vector(angles)[:, None]))[:, 0]
