"""The data sets of sequence classification under one interface: examples by number, sizes, and names."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64

from linsight.data import (
    LISTOPS,
    PATHFINDERS,
    PERMUTATION,
    ListOps,
    Pathfinder,
    classified,
    fingerprint,
    generated_fingerprint,
    permutation,
)
from linsight.data.listops import VOCABULARY
from linsight.tasks.base import Batch

__all__ = ["NAMES", "DigitSource", "Examples", "ListOpsSource", "PathfinderSource", "Source", "source"]

NAMES = ("smnist", "pmnist", *LISTOPS, *PATHFINDERS)


class Examples(NamedTuple):
    """A batch: pixels (uint8) or token ids in the order of the sequence, each row's own length, labels."""

    x: np.ndarray
    lengths: Int64[np.ndarray, "number"]
    labels: Int64[np.ndarray, "number"]

    def batch(self) -> Batch:
        """As tensors: pixels in [0, 1], all rows being whole; or token ids with the rows' lengths."""
        labels = torch.from_numpy(self.labels)
        if self.x.dtype == np.uint8:
            return {"x": torch.from_numpy(self.x).float() / 255, "y": labels}
        return {"x": torch.from_numpy(self.x), "lengths": torch.from_numpy(self.lengths), "y": labels}


class Source(ABC):
    """A data set of sequences with a class each.

    `length` is the longest sequence's, in pixels or tokens; `vocabulary` the number of ids, None for pixels;
    `chance` the accuracy of the best guess without looking; `note` what a result has to say beside it.
    """

    name: str
    note: str
    length: int
    vocabulary: int | None
    classes: tuple[str, ...]
    chance: float

    @abstractmethod
    def count(self, split: str) -> int | None:
        """Examples of a split; None where they are generated without end."""

    @abstractmethod
    def examples(self, split: str, items: np.ndarray, *, seed: int) -> Examples:
        """These examples; `seed` is of generated ones."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """The identity of the training data."""


class DigitSource(Source):
    """Digits pixel by pixel in raster order (sMNIST), or in one fixed order of pixels (pMNIST)."""

    vocabulary = None

    def __init__(self, name: str, folder: str) -> None:
        self.name = name if folder == "mnist" else f"{name} of {folder}"
        self._splits = {split: classified(split, folder) for split in ("train", "valid", "test")}
        pixels, labels = self._splits["train"]
        self.shape = pixels.shape[1:]
        self.length = int(np.prod(self.shape))
        self.order = permutation(self.length) if name == "pmnist" else np.arange(self.length)
        permuted = f"Pixels in the order {PERMUTATION}, our own permutation: other figures are of others."
        self.note = permuted if name == "pmnist" else "Pixels in raster order."
        self.classes = tuple(str(label) for label in range(int(labels.max()) + 1))
        self.chance = float(np.bincount(self._splits["test"][1]).max() / len(self._splits["test"][1]))

    def count(self, split: str) -> int:
        """As many as the file has."""
        return len(self._splits[split][0])

    def examples(self, split: str, items: np.ndarray, *, seed: int) -> Examples:
        """Rows of the file."""
        pixels, labels = self._splits[split]
        x = pixels[items].reshape(len(items), -1)[:, self.order]
        return Examples(x, np.full(len(items), self.length), labels[items].astype(np.int64))

    @property
    def fingerprint(self) -> str:
        """Of pixels, labels and the order."""
        return fingerprint(*self._splits["train"], self.order)


class ListOpsSource(Source):
    """Nested lists of operators; the classes are the values 0 to 9."""

    note = "Labels balanced, brackets are tokens, nothing is truncated."
    vocabulary = len(VOCABULARY)
    classes = tuple("0123456789")
    chance = ListOps.chance

    def __init__(self, name: str) -> None:
        self.name = name
        self.data = ListOps.named(name)
        self.length = self.data.max_length

    def count(self, split: str) -> None:
        """No end."""
        return

    def examples(self, split: str, items: np.ndarray, *, seed: int) -> Examples:
        """Generated."""
        return Examples(*self.data.items(split, items, seed=seed))

    @property
    def fingerprint(self) -> str:
        """Of the limits and the first items."""
        return generated_fingerprint(self.data, *self.examples("train", np.arange(8), seed=0))


class PathfinderSource(Source):
    """Pathfinder images row by row; class 1 when a curve joins the dots."""

    note = "Our own generator; published figures are of other images."
    vocabulary = None
    classes = ("apart", "joined")
    chance = Pathfinder.chance

    def __init__(self, name: str) -> None:
        self.name = name
        self.data = Pathfinder.named(name)
        self.shape = (self.data.size, self.data.size)
        self.length = self.data.size**2
        self.order = np.arange(self.length)

    def count(self, split: str) -> None:
        """No end."""
        return

    def examples(self, split: str, items: np.ndarray, *, seed: int) -> Examples:
        """Generated."""
        images, labels = self.data.items(split, items, seed=seed)
        return Examples(images.reshape(len(images), -1), np.full(len(images), self.length), labels)

    @property
    def fingerprint(self) -> str:
        """Of the numbers and the first items."""
        return generated_fingerprint(self.data, *self.examples("train", np.arange(8), seed=0))


def source(name: str, folder: str = "mnist") -> Source:
    """The data set of this name; `folder` is where the digits of smnist and pmnist are from.

    Raises ValueError for an unknown name, and for a folder where the data are generated.
    """
    if name not in NAMES:
        raise ValueError(f"data: expected one of {', '.join(map(repr, NAMES))}, got {name!r}")
    if name in ("smnist", "pmnist"):
        return DigitSource(name, folder)
    if folder != "mnist":
        raise ValueError(f"source: {name!r} is generated and reads no digits, got {folder!r}; leave it out")
    return ListOpsSource(name) if name in LISTOPS else PathfinderSource(name)
