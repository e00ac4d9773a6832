"""Pathfinder: two independent ways to follow the curves find every label, and brightness does not."""

import hashlib
from collections import deque
from functools import cache

import numpy as np
import pytest

from linsight.data import pathfinder as module
from linsight.data.pathfinder import PATHFINDERS, Drawing, Pathfinder

CHECKSUMS = {
    "pathfinder-32-easy": "f81527a27c7f0b82dbcd70e32dfb9dd38c27c5c568968d5386904d6c38f60b07",
    "pathfinder-32-hard": "fc3a9136427a4f6b607f5fa1b8a596562eb9131fb762c414e91e03739092d074",
    "pathfinder-64-easy": "4afbd232b992ff261a5c69a2b6dd8edff37052e0ec75673a9b0696242e23115f",
    "pathfinder-64-hard": "d8ef74b8dff60d874e36aa2babc5230fcee42ccacc762e18d7744fb0b07c5b42",
    "pathfinder-128-easy": "cb1614ff1f5933f326f07c30e1fe60ede5e0179bfb81960dac946c0f3357394e",
    "pathfinder-128-hard": "648aba8b4b1eb2774f1226d84681d68ccef12733b1b82ab745596c199c3c814e",
}
NUMBER = {32: 500, 64: 40, 128: 20}


@cache
def _drawings(name: str) -> list[Drawing]:
    data = Pathfinder.named(name)
    return data.drawings("valid", np.arange(NUMBER[data.size]))


def _reached(lit: np.ndarray, start: tuple[int, int], jump: int) -> np.ndarray:
    """Every lit pixel that is reached from `start` by steps of at most `jump` rows and columns."""
    seen = np.zeros_like(lit)
    seen[start] = True
    waiting = deque([start])
    while waiting:
        row, column = waiting.popleft()
        top, left = max(row - jump, 0), max(column - jump, 0)
        near = np.s_[top : row + jump + 1, left : column + jump + 1]
        new = np.argwhere(lit[near] & ~seen[near]) + np.array([top, left])
        seen[near] |= lit[near]
        waiting.extend(map(tuple, new.tolist()))
    return seen


@pytest.mark.parametrize("name", PATHFINDERS)
def test_filling_the_curves_with_their_gaps_closed_finds_every_label(name: str) -> None:
    for drawing in _drawings(name):
        closed = np.zeros(drawing.image.shape, bool)
        for path in drawing.curves:
            closed[tuple(np.array(path).T)] = True
        reached = _reached(closed, drawing.dots[0], jump=1)
        assert reached[drawing.dots[1]] == bool(drawing.label)


@pytest.mark.parametrize("name", PATHFINDERS)
def test_the_image_alone_tells_every_label(name: str) -> None:
    """By jumps over lit pixels that are as long as a gap and a step; the dots are the brightest pixels."""
    for drawing in _drawings(name):
        bright = np.argwhere(drawing.image == 255)
        start = tuple(bright[0].tolist())
        reached = _reached(drawing.image > 0, start, jump=3 if name.endswith("hard") else 2)
        assert all(reached[tuple(pixel)] for pixel in bright.tolist()) == bool(drawing.label)


@pytest.mark.parametrize("name", PATHFINDERS)
def test_every_image_has_two_dots_on_ends_and_broken_curves(name: str) -> None:
    for drawing in _drawings(name):
        ends = {drawing.curves[0][0], drawing.curves[0][-1], drawing.curves[1][0], drawing.curves[1][-1]}
        assert set(drawing.dots) <= ends
        assert (drawing.image == 255).sum() == 18  # two squares of nine pixels
        for path in drawing.curves:
            shown = drawing.image[tuple(np.array(path).T)]
            assert 0.4 < (shown > 0).mean() < 0.95
            steps = np.abs(np.diff(np.array(path), axis=0)).max(1)
            assert (steps == 1).all()
            assert len(set(path)) == len(path)


@pytest.mark.parametrize("name", ["pathfinder-32-easy", "pathfinder-32-hard"])
def test_brightness_tells_nothing(name: str) -> None:
    """A linear model on mean intensity and number of lit pixels; 6,000 others gave 51.0 and 49.4 %."""
    images, labels = Pathfinder.named(name).items("train", np.arange(1500))
    features = np.stack([images.mean((1, 2)), (images > 0).sum((1, 2)), np.ones(len(images))], axis=1)
    weights = np.linalg.lstsq(features[:300], 2.0 * labels[:300] - 1, rcond=None)[0]
    called = features[300:] @ weights > 0
    assert (called == labels[300:]).mean() == pytest.approx(0.5, abs=0.03)
    assert labels.mean() == pytest.approx(0.5, abs=0.03)
    ink = features[:, 0]
    apart = ink[labels == 1].mean() - ink[labels == 0].mean()
    assert abs(apart) < 3 * ink.std() * (4 / len(ink)) ** 0.5


def test_the_distance_of_the_dots_tells_little() -> None:
    """The best threshold in either direction; with any pair of ends for class 0 it was right at 72 %."""
    drawings = _drawings("pathfinder-32-easy")
    distances = [np.hypot(*np.subtract(*drawing.dots)) for drawing in drawings]
    labels = np.array([drawing.label for drawing in drawings])[np.argsort(distances)]
    gain = np.concatenate([[0], np.cumsum(2 * labels - 1)])
    best = 0.5 + np.abs(gain - gain[-1] / 2).max() / len(labels)
    assert best < 0.6


def test_an_item_is_the_same_alone_and_in_any_batch() -> None:
    data = Pathfinder.named("pathfinder-32-hard")
    items = np.array([5, 1000, 3])
    images, labels = data.items("train", items, seed=4)
    for image, label, item in zip(images, labels, items, strict=True):
        alone = data.items("train", np.array([item]), seed=4)
        assert (alone[0][0] == image).all()
        assert alone[1].tolist() == [label]


def test_splits_and_seeds_share_nothing() -> None:
    data = Pathfinder.named("pathfinder-32-easy")
    seen = [
        {image.tobytes() for image in data.items(split, np.arange(200), seed=seed)[0]}
        for split, seed in (("train", 0), ("valid", 0), ("test", 0), ("train", 1))
    ]
    assert len(set().union(*seen)) == 800


@pytest.mark.parametrize("name", CHECKSUMS)
def test_the_first_hundred_items_are_the_published_ones(name: str) -> None:
    images, labels = Pathfinder.named(name).items("train", np.arange(100))
    found = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    assert found == CHECKSUMS[name]


def test_the_size_is_in_the_name() -> None:
    for name in PATHFINDERS:
        images, _ = Pathfinder.named(name).items("train", np.arange(1))
        assert images.dtype == np.uint8
        assert images.shape == (1, int(name.split("-")[1]), int(name.split("-")[1]))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"name: expected one of 'pathfinder-32-easy', .*, got 'pathfinder'"):
        Pathfinder.named("pathfinder")
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got 'dev'"):
        Pathfinder.named("pathfinder-32-easy").items("dev", np.arange(1))


def test_curves_that_have_no_room_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAWINGS", 20)
    with pytest.raises(
        ValueError, match="no place in 32 x 32 pixels was found for two curves of 200 and 1 of 5"
    ):
        Pathfinder(32, True, 200, 1, 5).items("train", np.arange(1))
