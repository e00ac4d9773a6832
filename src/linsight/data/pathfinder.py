"""Pathfinder: two dots and dashed curves; do the dots lie on the same curve, or on two."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8

from linsight.data import noise
from linsight.data.draws import Draws, draws_of
from linsight.data.splits import check_split

__all__ = ["PATHFINDERS", "Drawing", "Pathfinder"]

_UNIT = 1 << 12  # positions are integers of 1/4096 pixel: the same on every machine
_HEADINGS = [
    (round(_UNIT * np.cos(np.pi * i / 32)), round(_UNIT * np.sin(np.pi * i / 32))) for i in range(64)
]
_CURVE, _DOT = 160, 255  # grey values
_MARGIN = 2  # pixels from the border
_TRIES = 200  # for one curve, before the drawing begins anew
_DRAWINGS = 5000  # begun, before it is said that there is no room
_CHUNK = 512  # words

_SIZES = {
    32: {"easy": (18, 2, 8), "hard": (22, 4, 6)},
    64: {"easy": (36, 6, 12), "hard": (48, 14, 10)},
    128: {"easy": (72, 16, 18), "hard": (96, 32, 14)},
}
PATHFINDERS = {
    f"pathfinder-{size}-{difficulty}": (size, difficulty == "hard", *numbers)
    for size, difficulties in _SIZES.items()
    for difficulty, numbers in difficulties.items()
}
"""The presets by name, `pathfinder-32-easy` to `pathfinder-128-hard`: the fields of `Pathfinder`."""

Path = list[tuple[int, int]]
Dots = tuple[tuple[int, int], tuple[int, int]]


class Drawing(NamedTuple):
    """One item: the image, its label (1 when the dots are joined), and what it was made of.

    `curves`: the two main curves without their gaps; `dots`: (row, column) of the two dots' centres.
    """

    image: UInt8[np.ndarray, "size size"]
    label: int
    curves: tuple[Path, Path]
    dots: Dots


@dataclass(frozen=True)
class Pathfinder:
    """Images with two dots and dashed curves: class 1 when one curve joins the dots, class 0 when none does.

    After Linsley, Kim, Veerabadran, Windolf and Serre 2018 (arXiv 1805.08315) and Long Range Arena (Tay et
    al. 2020, arXiv 2011.04006); our own generator, hence our own numbers. Every image has two main curves of
    `length` steps of a pixel, and `distractors` shorter ones. Class 1 has its dots on both ends of one main
    curve, class 0 on an end of each. Nothing else differs, so ink and number of pixels tell nothing; and only
    curves are taken of whose ends a pair of either class is equally far apart, up to 5 %.

    A curve's heading never leaves its first one by more than 56 (easy) or 84 (hard) degrees, so that it does
    not meet itself. Every 9 (easy) or 5 (hard) pixels it draws one of three or seven turns, of up to 5.6 or
    17 degrees a pixel. Dashes are 4 pixels and gaps 1 (easy), or 3 and 2 (hard). Pixels of a main curve are
    more than 3 (easy) or 4 (hard) from any other curve: jumps over gaps, from one lit pixel to the next, find
    the answer.

    | size | length easy, hard | distractors easy, hard | their length |
    |---|---|---|---|
    | 32 | 18, 22 | 2, 4 | 8, 6 |
    | 64 | 36, 48 | 6, 14 | 12, 10 |
    | 128 | 72, 96 | 16, 32 | 18, 14 |

    Cost: about 1 ms an image of 32 x 32, 3 ms of 128 x 128.
    """

    size: int
    hard: bool
    length: int
    distractors: int
    distractor_length: int

    num_classes = 2
    chance = 0.5

    @classmethod
    def named(cls, name: str) -> "Pathfinder":
        """The preset of this name, as in `pathfinder-32-easy`: the size and how hard it is."""
        if name not in PATHFINDERS:
            raise ValueError(f"name: expected one of {', '.join(map(repr, PATHFINDERS))}, got {name!r}")
        return cls(*PATHFINDERS[name])

    def items(
        self, split: str, items: Integer[np.ndarray, "number"], *, seed: int = 0
    ) -> tuple[UInt8[np.ndarray, "number size size"], Int64[np.ndarray, "number"]]:
        """Images and labels of these items, each a pure function of (seed, split, item).

        Raises ValueError for another split than "train", "valid" and "test", or a negative item.
        """
        drawings = self.drawings(split, items, seed=seed)
        images = np.zeros((len(drawings), self.size, self.size), np.uint8)
        for image, drawing in zip(images, drawings, strict=True):
            image[:] = drawing.image
        return images, np.array([drawing.label for drawing in drawings], np.int64)

    def drawings(self, split: str, items: Integer[np.ndarray, "number"], *, seed: int = 0) -> list[Drawing]:
        """The same items with what they were made of."""
        check_split(split)
        key = noise.key(seed, f"pathfinder/{split}")
        return [self._draw(draws) for draws in draws_of(key, items, _CHUNK)]

    def _draw(self, draws: Draws) -> Drawing:
        for _ in range(_DRAWINGS):
            placed = self._place(draws)
            if placed is not None:
                break
        else:
            raise ValueError(
                f"length, distractors: no place in {self.size} x {self.size} pixels was found for two curves "
                f"of {self.length} and {self.distractors} of {self.distractor_length}; ask for less"
            )
        paths, (joined, apart) = placed
        label, *phases = draws.take(1 + len(paths))
        label &= 1
        image = np.zeros((self.size, self.size), np.uint8)
        dash, gap = (3, 2) if self.hard else (4, 1)
        for path, phase in zip(paths, phases, strict=True):
            for place, (row, column) in enumerate(path, start=phase % (dash + gap)):
                if place % (dash + gap) < dash:
                    image[row, column] = _CURVE
        dots = joined if label else apart
        for row, column in dots:
            image[row - 1 : row + 2, column - 1 : column + 2] = _DOT
        return Drawing(image, label, (paths[0], paths[1]), dots)

    def _place(self, draws: Draws) -> tuple[list[Path], tuple[Dots, Dots]] | None:
        """All curves, the main ones first, and the dots of both classes; None if something has no place."""
        taken: Bool[np.ndarray, "size size"] = np.ones((self.size, self.size), bool)
        taken[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = False
        paths, dots = [], None
        for steps in (self.length, self.length, *(self.distractor_length,) * self.distractors):
            path = self._walk(draws, steps, taken)
            if path is None:
                return None
            # From a dot, which is a pixel wider than its curve, the next curve is still beyond a jump.
            room = 2 if len(paths) >= 2 else 4 if self.hard else 3
            for row, column in path:
                taken[max(row - room, 0) : row + room + 1, max(column - room, 0) : column + room + 1] = True
            paths.append(path)
            if len(paths) == 2:
                dots = _dots(paths[0], paths[1], draws.take(1)[0])
                if dots is None:
                    return None
        return None if dots is None else (paths, dots)

    def _walk(self, draws: Draws, steps: int, taken: Bool[np.ndarray, "size size"]) -> Path | None:
        """The pixels of a curve of so many steps, each once; None if everywhere something is in its way."""
        every, fastest, widest = (5, 3, 15) if self.hard else (9, 1, 10)
        inner = (self.size - 2 * _MARGIN) * _UNIT
        for _ in range(_TRIES):
            row, column, heading, *turns = draws.take(3 + steps // every + 1)
            y, x = (_MARGIN * _UNIT + (number * inner >> 16) for number in (row, column))
            turns = [(turn * (2 * fastest + 1) >> 16) - fastest for turn in turns]
            away = 0
            path: Path = []
            for step in range(steps):
                pixel = (y // _UNIT, x // _UNIT)
                if taken[pixel]:
                    break
                if not path or path[-1] != pixel:
                    path.append(pixel)
                away = max(-widest, min(widest, away + turns[step // every]))
                across, down = _HEADINGS[(heading + away) % 64]
                y, x = y + down, x + across
            else:
                return path
        return None


def _dots(one: Path, other: Path, number: int) -> tuple[Dots, Dots] | None:
    """Dots on one curve and dots on two, equally far from each other up to 5 %; None if there are none.

    Curves and ends are taken at random among those that are: which curve was placed first tells nothing.
    """
    found = []
    for start, end, others in (
        (one[0], one[-1], other),
        (one[-1], one[0], other),
        (other[0], other[-1], one),
        (other[-1], other[0], one),
    ):
        joined = _squared_distance(start, end)
        for far in (others[0], others[-1]):
            if 10 * abs(_squared_distance(start, far) - joined) <= joined:
                found.append(((start, end), (start, far)))
    return found[number * len(found) >> 16] if found else None


def _squared_distance(one: tuple[int, int], other: tuple[int, int]) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2
