"""Batches of synthetic people for training: drawn once, labelled with noise, augmented anew every epoch."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Integer, UInt8
from torch import Tensor

from linsight.data import noise
from linsight.data.geometry import Augmentation
from linsight.data.identity import generated_fingerprint
from linsight.data.keypoint_noise import AnyKeypointNoise, log_density, noisy, num_uniforms
from linsight.data.noise_laws import NoNoise
from linsight.data.people.generator import People
from linsight.data.people.skeleton import JOINTS, PAIRS
from linsight.data.splits import check_split

__all__ = ["PeopleBatch", "PeopleCrops"]


class PeopleBatch(NamedTuple):
    """Crops of one person each; places are indices of pixel centres."""

    image: UInt8[Tensor, "batch 3 height width"]
    labels: Float32[Tensor, "batch 17 2"]
    """The truth under the law of the labels: what is learnt from."""
    truth: Float32[Tensor, "batch 17 2"]
    visibility: Int64[Tensor, "batch 17"]
    """2 seen, 1 hidden, 0 beyond the crop; of the truth, after the augmentation."""
    box: Float32[Tensor, "batch 4"]
    """x1, y1, x2, y2 around the person; after a turn, around the turned box."""


@dataclass(eq=False)
class PeopleCrops:
    """The first `count` items of a split of `People`, each drawn when it is first asked for, and then kept.

    A batch is a pure function of (the fields, indices, seed, epoch): pictures and labels are the items' own
    for ever, labels one draw of the law each, and an augmentation is drawn from (seed, epoch, index). It may
    be asked for by several threads.

    Args:
        people: What is drawn.
        law: Of the labels, in shares of the crop's width and height: `keypoint_noise(kind)`. It moves labels
            before the augmentation, which turns and scales the error as it does the picture.
        split: "train", "valid" or "test".
        count: The number of items.
        data_seed: Of items and labels.

    Cost: 3 height width bytes an item once it is drawn: 184 MB for 20,000 of 64 x 48, and what `People` needs
    to draw it; after that a copy.

    Raises ValueError for another split, and a count below 1.
    """

    people: People = field(default_factory=People)
    law: AnyKeypointNoise = field(default_factory=NoNoise)
    split: str = "train"
    count: int = 20_000
    data_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what there is nothing of; make room."""
        check_split(self.split)
        if self.count < 1:
            raise ValueError(f"count: expected at least 1 item, got {self.count}")
        self._drawn = np.zeros(self.count, bool)
        self._image = np.zeros((self.count, 3, *self.people.size), np.uint8)
        self._truth = np.zeros((self.count, len(JOINTS), 2))
        self._visibility = np.zeros((self.count, len(JOINTS)), np.int64)
        self._box = np.zeros((self.count, 4))

    def __len__(self) -> int:
        """The number of items."""
        return self.count

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the fields and of the first items."""
        first = self.batch(np.arange(min(8, self.count)))
        law = np.frombuffer(repr((self.law, self.split, self.count, self.data_seed)).encode(), np.uint8)
        return generated_fingerprint(self.people, law, first.image.numpy(), first.labels.numpy())

    def batch(
        self,
        indices: Integer[np.ndarray, "batch"],
        *,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        epoch: int = 0,
    ) -> PeopleBatch:
        """These items.

        Args:
            indices: From 0 to `count`, exclusive.
            augmentation: Turns, scales and shifts. Its flips have to be none (`flip=0`) unless people are
                drawn with `stripes=False`: a mirror would put the stripes of the left on the right.
            seed, epoch: For the augmentation alone.

        Raises ValueError for an index out of range, and for flips of people that are told by their sides.
        """
        wrong = (indices < 0) | (indices >= self.count)
        if wrong.any():
            raise ValueError(f"indices: expected 0 to {self.count - 1}, got {indices[wrong][0]}")
        if augmentation is not None and augmentation.flip > 0 and self.people.sided:
            raise ValueError(
                f"augmentation: expected flip=0, since a mirror would put stripes on the right, got "
                f"{augmentation.flip}; leave flips out, or draw people with stripes=False"
            )
        self._draw(indices)
        image = torch.from_numpy(self._image[indices])
        truth, visibility = (
            torch.from_numpy(self._truth[indices]),
            torch.from_numpy(self._visibility[indices]),
        )
        box = torch.from_numpy(self._box[indices])
        labels = noisy(
            self.law, truth, visibility, self.unit.expand(len(indices), -1), self._uniform(indices), PAIRS
        )
        if augmentation is not None:
            warp = augmentation.draw(indices, self.people.size, seed=seed, epoch=epoch)
            image, box = warp.image(image), warp.boxes(box[:, None])[:, 0]
            truth, labels = warp.keypoints(truth, PAIRS), warp.keypoints(labels, PAIRS)
            visibility = warp.exchange(visibility, PAIRS)
            visibility = visibility.where(warp.inside(truth), torch.zeros_like(visibility))
        return PeopleBatch(image, labels.float(), truth.float(), visibility, box.float())

    def log_density(self, batch: PeopleBatch) -> Float64[Tensor, "batch 17"]:
        """The true log density in nats of each label of a batch without augmentation.

        It is of places in shares of the crop's width and height. Raises ValueError for the law `none`.
        """
        unit = self.unit.expand(len(batch.image), -1)
        return log_density(
            self.law, batch.labels.double(), batch.truth.double(), batch.visibility, unit, PAIRS
        )

    @property
    def unit(self) -> Float64[Tensor, "1 2"]:
        """Pixels along x and y that are one unit of the law: the sides of the crop."""
        return torch.tensor([[self.people.size[1], self.people.size[0]]], dtype=torch.float64)

    def _draw(self, indices: Integer[np.ndarray, "batch"]) -> None:
        """Draw what has not been. Two threads that draw the same item write the same."""
        missing = np.unique(indices[~self._drawn[indices]])
        if not len(missing):
            return
        found = self.people.items(self.split, missing, seed=self.data_seed)
        self._image[missing], self._truth[missing] = found.image, found.keypoints
        self._visibility[missing], self._box[missing] = found.visibility, found.box
        self._drawn[missing] = True

    def _uniform(self, indices: Integer[np.ndarray, "batch"]) -> Float64[Tensor, "batch 17 uniforms"]:
        each = num_uniforms(self.law)
        key = noise.key(self.data_seed, f"people-labels/{self.split}")
        drawn = noise.uniform(key, indices, len(JOINTS) * each)
        return torch.from_numpy(drawn.reshape(len(indices), len(JOINTS), each))
