"""Digits pasted on textures: images for detection and segmentation, without end, with exact truth."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8

from linsight.config import Config
from linsight.data import noise
from linsight.data.digits import mnist
from linsight.data.draws import Draws, draws_of
from linsight.data.scenes.paste import ANGLES, UNIT, Patch, placed
from linsight.data.scenes.scene import IGNORED_PIXEL, Scene
from linsight.data.splits import check_split
from linsight.data.textures import reflected, textures

__all__ = ["SIZES", "Scenes"]

SIZES = (96, 128, 192)
"""Sides of the image in pixels."""

_INK = 64  # the least intensity of ink: a quarter of 255, rounded up
_SCALES = (154, 512)  # 0.6 to 2.0 in 1/256
_SMALL = (154, 205)  # 0.6 to 0.8: the digits of a crowd
_DIFFICULT = 0.5
_CHUNK = 64  # words: enough for most scenes


class _Object(NamedTuple):
    """What is to be painted: patches, each of its own colour."""

    label: int
    crowd: bool
    patches: tuple[Patch, ...]
    colours: tuple[np.ndarray, ...]
    digits: tuple[int, ...]


@dataclass(frozen=True)
class Scenes(Config):
    """1 to `most` MNIST digits on a tinted crop of a texture, with boxes, masks and occlusion.

    Each digit has a scale of 0.6 to 2.0, a turn of -15 to 15 degrees, a colour brighter or darker than the
    background, and an alpha that is its intensity; later digits cover earlier ones. Ink is alpha of at least
    a quarter. A digit of which less than a tenth would be seen is not painted: no ink is without annotation.
    Digits may reach over the edge of the image; what is beyond it counts for nothing.

    Train scenes are made of MNIST's first 50,000 digits and of columns 0 to 159 of the textures, validation
    scenes of its last 10,000, test scenes of its test file, both with columns 160 to 255. An item is a pure
    function of (the fields, seed, split, item), in integers, the same on every machine.

    Args:
        size: Side of the image: 96, 128 or 192 pixels.
        most: At most so many single digits, 1 to 8.
        crowds: The share of scenes that begin with a crowd: 4 to 8 digits of one class, 0.6 to 0.8 in scale,
            that are one object with `crowd` set (COCO's iscrowd).
        border: Mark the pixels that touch an object painted above theirs, from left, right, above or below,
            as 255 in `semantic`.

    Cost: about 1.5 ms a scene of 96 x 96, 3.5 ms of 192 x 192.

    Raises ValueError for another size, number or share.
    """

    size: int = 96
    most: int = 8
    crowds: float = 0.0
    border: bool = False

    num_classes = 10

    def __post_init__(self) -> None:
        """Refuse what no scene can have."""
        if self.size not in SIZES:
            raise ValueError(f"size: expected one of {', '.join(map(str, SIZES))}, got {self.size}")
        if not 1 <= self.most <= 8:
            raise ValueError(f"most: expected 1 to 8 digits, got {self.most}")
        if not 0 <= self.crowds <= 1:
            raise ValueError(f"crowds: expected a share from 0 to 1, got {self.crowds}")

    def scenes(self, split: str, items: Integer[np.ndarray, "number"], *, seed: int = 0) -> list[Scene]:
        """These items, each alone a function of its number.

        Raises ValueError for another split than "train", "valid" and "test", or a negative item.
        """
        check_split(split)
        key = noise.key(seed, f"scenes/{split}")
        return [self._scene(split, draws) for draws in draws_of(key, items, _CHUNK)]

    def _scene(self, split: str, draws: Draws) -> Scene:
        image = self._background(split, draws)
        means = image.mean((1, 2)).astype(np.int64)
        crowd, many = draws.take(2)
        number = 1 + (many * self.most >> 16)
        objects = [self._crowd(split, means, draws)] if crowd < self.crowds * 65536 else []
        objects += [self._single(split, means, draws) for _ in range(number)]
        inks = np.stack([_ink(object.patches, self.size) for object in objects])
        objects, inks, instances = _seen(objects, inks)
        owner = np.zeros(inks.shape[1:], np.uint8)
        for number, instance in enumerate(instances, start=1):
            owner[instance] = number
        for object in objects:
            for patch, colour in zip(object.patches, object.colours, strict=True):
                _paint(image, patch, colour)
        labels = np.array([object.label for object in objects], np.int64)
        visible = np.count_nonzero(instances, (1, 2)) / np.count_nonzero(inks, (1, 2))
        semantic = np.concatenate([[0], labels + 1]).astype(np.uint8)[owner]
        if self.border:
            semantic[_touches_above(owner)] = IGNORED_PIXEL
        return Scene(
            image=image,
            labels=labels,
            boxes=_boxes(inks),
            visible=visible,
            difficult=visible < _DIFFICULT,
            crowd=np.array([object.crowd for object in objects], bool),
            semantic=semantic,
            instances=instances,
            ink=inks,
            digits=tuple(object.digits for object in objects),
        )

    def _background(self, split: str, draws: Draws) -> UInt8[np.ndarray, "3 size size"]:
        which, row, column, *tints = draws.take(6)
        found = textures(split)
        _, height, width = found.shape
        crop = reflected(
            found[which * 3 >> 16], row * 2 * height >> 16, column * 2 * width >> 16, self.size
        ).astype(np.int32)
        # Each channel keeps 0.3 to 1.3 of the grey.
        return np.stack(
            [np.minimum(crop * _between(77, 333, tint) >> 8, 255).astype(np.uint8) for tint in tints]
        )

    def _single(self, split: str, means: Int64[np.ndarray, "3"], draws: Draws) -> _Object:
        high, low, large, turn, row, column = draws.take(6)
        digits, labels, first = _digits(split)
        number = ((high << 16) + low) * len(digits) >> 32
        scale = _between(*_SCALES, large)
        # The middle of the digit is at least a quarter of its side from the edges.
        room = 7 * scale
        centre = (
            _between(room, self.size * UNIT - room, row),
            _between(room, self.size * UNIT - room, column),
        )
        patch = placed(
            digits[number], scale=scale, angle=turn * len(ANGLES) >> 16, centre=centre, size=self.size
        )
        colours = (_colour(means, draws),)
        return _Object(int(labels[number]), False, (patch,), colours, (first + number,))

    def _crowd(self, split: str, means: Int64[np.ndarray, "3"], draws: Draws) -> _Object:
        """Digits of one class around a place, some 10 pixels from one another."""
        label, many, row, column = draws.take(4)
        label = label * 10 >> 16
        digits, _, first = _digits(split)
        rows_of_label = _rows_of(split, label)
        reach = 24 * UNIT  # from the middle of the crowd, hence from the edges too
        room = reach + 6 * UNIT
        middle = [_between(room, self.size * UNIT - room, place) for place in (row, column)]
        colour = _colour(means, draws)
        patches, numbers = [], []
        for _ in range(4 + (many * 5 >> 16)):
            which, large, turn, row, column = draws.take(5)
            number = int(rows_of_label[which * len(rows_of_label) >> 16])
            centre = (
                middle[0] + _between(-reach, reach, row),
                middle[1] + _between(-reach, reach, column),
            )
            angle = turn * len(ANGLES) >> 16
            scale = _between(*_SMALL, large)
            patches.append(placed(digits[number], scale=scale, angle=angle, centre=centre, size=self.size))
            numbers.append(first + number)
        return _Object(label, True, tuple(patches), (colour,) * len(patches), tuple(numbers))


def _between(least: int, most: int, number: int) -> int:
    """An integer from `least` to `most`, both possible, of a number below 2^16."""
    return least + (number * (most - least + 1) >> 16)


@lru_cache(maxsize=3)
def _digits(split: str) -> tuple[np.ndarray, np.ndarray, int]:
    """The digits and labels of a split, and the row of its file where it begins."""
    digits, labels = mnist(split)
    return digits, labels, 50_000 if split == "valid" else 0


@lru_cache(maxsize=30)
def _rows_of(split: str, label: int) -> Int64[np.ndarray, "rows"]:
    return np.flatnonzero(mnist(split)[1] == label)


def _colour(means: Int64[np.ndarray, "3"], draws: Draws) -> Int64[np.ndarray, "3"]:
    """A colour that is 32 to 192 grey values above the background's or, where there is room, below it."""
    side, contrast, *channels = draws.take(5)
    above = side & 1 == 1 or int(means.max()) < 96
    strength = _between(64, 160, contrast)
    shifts = [strength + _between(-32, 32, channel) for channel in channels]
    wanted = means + (1 if above else -1) * np.array(shifts, np.int64)
    return np.minimum(np.maximum(wanted, 0), 255)


def _ink(patches: tuple[Patch, ...], size: int) -> Bool[np.ndarray, "size size"]:
    ink = np.zeros((size, size), bool)
    for patch in patches:
        height, width = patch.alpha.shape
        window = ink[patch.top : patch.top + height, patch.left : patch.left + width]
        window |= patch.alpha >= _INK
    return ink


def _seen(
    objects: list[_Object], inks: Bool[np.ndarray, "objects size size"]
) -> tuple[list[_Object], Bool[np.ndarray, "kept size size"], Bool[np.ndarray, "kept size size"]]:
    """Without the objects of which less than a tenth is seen: objects, their ink, and what of it is seen.

    From the last painted down, so that what is not painted covers nothing.
    """
    taken = np.zeros(inks.shape[1:], bool)
    kept, shown = [], []
    for number in reversed(range(len(objects))):
        ink = inks[number]
        instance = ink & ~taken
        seen = np.count_nonzero(instance)
        if seen == 0 or seen * 10 < np.count_nonzero(ink):
            continue
        taken |= ink
        kept.append(number)
        shown.append(instance)
    order = kept[::-1]
    return [objects[number] for number in order], inks[order], np.stack(shown[::-1])


def _paint(image: UInt8[np.ndarray, "3 size size"], patch: Patch, colour: Int64[np.ndarray, "3"]) -> None:
    height, width = patch.alpha.shape
    window = image[:, patch.top : patch.top + height, patch.left : patch.left + width]
    alpha = patch.alpha.astype(np.int32)
    below = window.astype(np.int32)
    # below + alpha (colour - below) / 255, to the nearest integer.
    window[:] = (255 * below + alpha * (colour.astype(np.int32)[:, None, None] - below) + 127) // 255


def _boxes(inks: Bool[np.ndarray, "objects size size"]) -> np.ndarray:
    size = inks.shape[-1]
    rows_with, columns_with = np.logical_or.reduce(inks, 2), np.logical_or.reduce(inks, 1)
    return np.stack(
        [
            columns_with.argmax(1),
            rows_with.argmax(1),
            size - columns_with[:, ::-1].argmax(1),
            size - rows_with[:, ::-1].argmax(1),
        ],
        axis=1,
    ).astype(np.float64)


def _touches_above(owner: Integer[np.ndarray, "size size"]) -> Bool[np.ndarray, "size size"]:
    """Where one of the four neighbours belongs to a higher object."""
    around = np.pad(owner, 1)
    highest = np.maximum.reduce([around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
    return highest > owner
