"""Pictures of eyes for training: each rendered once, and then moved in each epoch."""

import threading

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from linsight.data.gaze import Eyes
from linsight.data.geometry import Augmentation, Warp
from linsight.ops import exp_map, log_map, to_pitchyaw, to_vector

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
        number = len(persons)
        self._lock = threading.Lock()
        self._known = np.zeros(number, bool)
        self._image = torch.zeros(number, data.channels, *data.size, dtype=torch.uint8)
        # Truth, label, head: pitch and yaw of each.
        self._angles = torch.zeros(number, 3, 2, dtype=torch.float64)

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
        self._render(rows)
        image = self._image[rows].float() / 255
        truth, label, head = self._angles[rows].unbind(1)
        if augmentation is None:
            return image, label, head
        warp = augmentation.draw(rows, self.data.size, seed=seed, epoch=epoch)
        residual = log_map(truth, label)
        truth, head = _turned(warp, truth), _turned(warp, head)
        label = exp_map(truth, residual) if residual.any() else truth
        return warp.image(image, "border").clamp(0, 1), label, head

    def _render(self, rows: np.ndarray) -> None:
        with self._lock:
            missing = np.unique(rows[~self._known[rows]])
            if len(missing) == 0:
                return
            found = self.data.samples(self.persons[missing], self.items[missing])
            where = torch.from_numpy(missing)
            self._image[where] = found.image
            self._angles[where] = torch.stack([found.gaze, found.label, found.head], 1)
            self._known[missing] = True


def _turned(warp: Warp, angles: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 2"]:
    return to_pitchyaw(warp.directions(to_vector(angles)[:, None]))[:, 0]
