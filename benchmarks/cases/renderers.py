"""How long a picture takes that a training draws anew: an eye, a body."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.case import Limit
from linsight.data import People
from linsight.data.gaze import Eyes

__all__ = ["pictures"]

BATCH = 64


def pictures(repeats: int = 7) -> Iterator[Limit]:
    """At the sizes of the presets, on one core: half of 500 eyes and 150 bodies a second, the bars of two."""
    eyes, people = Eyes(), People(stripes=False)
    zeros = np.zeros(BATCH, np.int64)

    def draw_eyes(first: int) -> object:
        return eyes.samples(zeros + first, np.arange(first, first + BATCH))

    def draw_people(first: int) -> object:
        return people.items("train", np.arange(first, first + BATCH))

    size = f"{eyes.size[0]} x {eyes.size[1]}"
    yield _limit(f"an eye of {size} pixels", draw_eyes, repeats, most=1000 / 250)
    size = f"{people.size[0]} x {people.size[1]}"
    yield _limit(f"a body of {size} pixels", draw_people, repeats, most=1000 / 75)


def _limit(title: str, draw: Callable[[int], object], repeats: int, *, most: float) -> Limit:
    seconds = [_seconds(partial(draw, BATCH * number)) for number in range(1 + repeats)][1:]
    return Limit(f"{title}, median of {repeats} batches", 1e3 * float(np.median(seconds)) / BATCH, "ms", most)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin
