"""Scenes: every box, mask and share is the one that the painted pixels have."""

import hashlib
from functools import cache

import numpy as np
import pytest

from linsight.data import mnist
from linsight.data.digits import labelled_file
from linsight.data.identity import generated_fingerprint
from linsight.data.scenes import SIZES, Scene, Scenes, count_areas, generator
from linsight.data.scenes.paste import Patch
from linsight.data.splits import SPLITS
from linsight.data.textures import COLUMNS

CHECKSUMS = {
    "train": "0a7e128bdaf3886137f8eccc990d30934c8f487084dd7c25eedc2dd4e4df79e3",
    "valid": "c6427e985d0b77530c61715937748d7ce64fbb7a231fb326fa412029065ec7b1",
    "test": "ec56a3d60117647ad9f598be13f98c249110224e4ade1412e27153e5d7f5f27b",
}


@cache
def _scenes(size: int = 96, split: str = "train", crowds: float = 0.4, border: bool = False) -> list[Scene]:
    return Scenes(size, crowds=crowds, border=border).scenes(split, np.arange(60 if size == 96 else 15))


def _all() -> list[Scene]:
    return [scene for size in SIZES for scene in _scenes(size)]


def test_every_box_is_tight_around_all_ink() -> None:
    """Taking a row or a column of pixels from any side loses ink; none is outside."""
    for scene in _all():
        for box, ink in zip(scene.boxes.astype(int), scene.ink, strict=True):
            x1, y1, x2, y2 = box
            inside = ink[y1:y2, x1:x2]
            assert inside.sum() == ink.sum() > 0
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()


def test_instances_are_disjoint_and_their_union_is_the_labelled_area() -> None:
    for scene in _all():
        assert scene.instances.sum(0).max() <= 1
        assert (scene.instances.any(0) == (scene.semantic > 0)).all()
        for label, instance in zip(scene.labels, scene.instances, strict=True):
            assert (scene.semantic[instance] == label + 1).all()


def test_a_pixel_belongs_to_the_last_object_painted_there() -> None:
    for scene in _all():
        expected = np.zeros_like(scene.semantic)
        for label, ink in zip(scene.labels, scene.ink, strict=True):
            expected[ink] = label + 1
        assert (scene.semantic == expected).all()


def test_visible_is_the_share_of_ink_that_no_later_object_covers() -> None:
    seen = []
    for scene in _all():
        for number, ink in enumerate(scene.ink):
            shown = ink & ~scene.ink[number + 1 :].any(0)
            assert scene.visible[number] == shown.sum() / ink.sum()
            assert scene.areas[number] == shown.sum()
        assert (scene.difficult == (scene.visible < 0.5)).all()
        seen.extend(scene.visible)
    assert min(seen) >= 0.1
    assert min(seen) < 0.5
    assert max(seen) == 1


def test_what_is_nearly_covered_is_dropped_and_covers_nothing() -> None:
    """The second is seen at 1 of 20 pixels, just there where it would hide a part of the first."""
    objects = [generator._Object(label, False, (), (), ()) for label in range(3)]
    inks = np.zeros((3, 24, 24), bool)
    inks[0, 1, 19] = inks[0, 2, :8] = True
    inks[1, 1, :20] = True
    inks[2, 1, :19] = True
    kept, ink, instances = generator._seen(objects, inks)
    assert [each.label for each in kept] == [0, 2]
    assert (instances == inks[[0, 2]]).all()
    assert (ink == inks[[0, 2]]).all()
    inks[2, 1, 18] = False  # 2 of 20: a tenth is enough
    kept, _, instances = generator._seen(objects, inks)
    assert [each.label for each in kept] == [0, 1, 2]
    assert instances.sum((1, 2)).tolist() == [8, 2, 18]


def test_paint_is_at_the_ink_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the ink there is alpha below a quarter; beyond two pixels of the digit, background."""
    painted = _scenes()
    monkeypatch.setattr(generator, "_paint", lambda *arguments: None)
    backgrounds = Scenes(crowds=0.4).scenes("train", np.arange(60))
    for scene, background in zip(painted, backgrounds, strict=True):
        changed = np.abs(scene.image.astype(int) - background.image).max(0)
        ink = scene.ink.any(0)
        near = ink.copy()
        for _ in range(4):
            grown = np.pad(near, 1)
            near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | near
        assert changed[~near].max() <= 40
        assert (changed[~near] > 0).mean() < 0.02
        assert (changed[ink] > 8).mean() > 0.8


def test_painting_is_the_mean_weighted_by_alpha() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (3, 9, 9)).astype(np.uint8)
    alpha = random.integers(0, 256, (4, 5)).astype(np.uint8)
    colour = np.array([3, 250, 128])
    before = image.copy()
    generator._paint(image, Patch(2, 3, alpha), colour)
    weight = np.zeros((9, 9))
    weight[2:6, 3:8] = alpha / 255
    expected = before + weight * (colour[:, None, None] - before.astype(float))
    assert np.abs(image - expected).max() <= 0.5


def test_digits_come_from_the_rows_of_their_split() -> None:
    allowed = {"train": ("train", 0, 50_000), "valid": ("train", 50_000, 60_000), "test": ("test", 0, 10_000)}
    for split, (file, first, last) in allowed.items():
        labels = labelled_file("mnist", file)[1]
        used = set()
        for scene in _scenes(split=split):
            for label, numbers in zip(scene.labels, scene.digits, strict=True):
                assert all(first <= number < last for number in numbers)
                assert all(labels[number] == label for number in numbers)
                used |= set(numbers)
        assert max(used) - min(used) > 0.9 * (last - first)


def test_backgrounds_come_from_the_columns_of_their_split(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = np.zeros((3, 256, 256), np.uint8)
    marked[:, :, 160:] = 200
    monkeypatch.setattr(generator, "textures", lambda split: marked[:, :, slice(*COLUMNS[split])])
    monkeypatch.setattr(generator, "_paint", lambda *arguments: None)
    assert all(scene.image.max() == 0 for scene in Scenes().scenes("train", np.arange(20)))
    for split in ("valid", "test"):
        assert all(scene.image.min() > 0 for scene in Scenes().scenes(split, np.arange(20)))


def test_a_crowd_is_one_object_of_four_to_eight_digits_of_a_class() -> None:
    crowds = [
        len(numbers)
        for scene in _scenes()
        for crowd, numbers in zip(scene.crowd, scene.digits, strict=True)
        if crowd
    ]
    assert set(crowds) == {4, 5, 6, 7, 8}
    assert 0.2 < len(crowds) / 60 < 0.6
    for scene in _scenes():
        assert not scene.crowd[1:].any()
        assert all(len(numbers) == 1 for numbers in scene.digits[1:])
    assert not any(scene.crowd.any() for scene in _scenes(crowds=0.0))
    assert sum(scene.crowd.any() for scene in _scenes(crowds=1.0)) > 55


def test_a_border_is_one_pixel_around_every_object_from_below() -> None:
    for plain, marked in zip(_scenes(), _scenes(border=True), strict=True):
        assert (plain.image == marked.image).all()
        ring = marked.semantic == 255
        assert (marked.semantic[~ring] == plain.semantic[~ring]).all()
        size = len(ring)
        owner = np.full((size + 2, size + 2), -1)
        inner = owner[1:-1, 1:-1]
        for number, instance in enumerate(plain.instances):
            inner[instance] = number
        for row in range(1, size + 1):
            for column in range(1, size + 1):
                around = (
                    owner[row - 1, column],
                    owner[row + 1, column],
                    owner[row, column - 1],
                    owner[row, column + 1],
                )
                assert ring[row - 1, column - 1] == (max(around) > owner[row, column])
        if plain is _scenes()[3]:
            break


def test_an_item_is_the_same_alone_and_in_any_batch() -> None:
    source = Scenes(crowds=0.5)
    together = source.scenes("valid", np.array([5, 1000, 3]), seed=4)
    for item, scene in zip((5, 1000, 3), together, strict=True):
        (alone,) = source.scenes("valid", np.array([item]), seed=4)
        assert _sha256([alone]) == _sha256([scene])


def test_splits_and_seeds_share_no_scene() -> None:
    seen = [
        {scene.image.tobytes() for scene in Scenes().scenes(split, np.arange(40), seed=seed)}
        for split, seed in (("train", 0), ("valid", 0), ("test", 0), ("train", 1))
    ]
    assert len(set().union(*seen)) == 160
    # Nor a layout: another picture of the same draws would be no other scene.
    numbers = {tuple(len(scene.labels) for scene in _scenes(split=split)) for split in SPLITS}
    assert len(numbers) == 3


@pytest.mark.parametrize("split", SPLITS)
def test_the_first_twenty_scenes_are_the_published_ones(split: str) -> None:
    assert _sha256(Scenes(crowds=0.25).scenes(split, np.arange(20))) == CHECKSUMS[split]


def _sha256(scenes: list[Scene]) -> str:
    digest = hashlib.sha256()
    for scene in scenes:
        for values, kind in (
            (scene.image, "u1"),
            (scene.labels, "<i8"),
            (scene.boxes, "<f8"),
            (scene.visible, "<f8"),
            (scene.crowd, "u1"),
            (scene.semantic, "u1"),
            (scene.instances, "u1"),
            (scene.ink, "u1"),
        ):
            digest.update(np.ascontiguousarray(values.astype(kind)).tobytes())
        digest.update(repr(scene.digits).encode())
    return digest.hexdigest()


def test_the_number_of_digits_is_what_was_asked_for() -> None:
    numbers = [len(scene.labels) for scene in Scenes(192).scenes("train", np.arange(80))]
    assert set(numbers) == set(range(1, 9))
    assert {len(scene.labels) for scene in Scenes(most=2).scenes("test", np.arange(30))} == {1, 2}


def test_shapes_and_types_are_the_documented_ones() -> None:
    for size in SIZES:
        scene = _scenes(size)[0]
        number = len(scene.labels)
        assert (scene.image.shape, scene.image.dtype) == ((3, size, size), np.uint8)
        assert (scene.boxes.shape, scene.boxes.dtype) == ((number, 4), np.float64)
        assert scene.instances.shape == scene.ink.shape == (number, size, size)
        assert scene.semantic.dtype == np.uint8


def test_areas_are_counted_by_cocos_classes() -> None:
    scene = _scenes()[0]
    counted = count_areas(_all())
    areas = np.concatenate([scene.areas[~scene.crowd] for scene in _all()])
    assert counted["small"] == (areas <= 1024).sum() > 0
    fill = np.zeros((2, 96, 96), bool)
    fill[0, :32, :32] = fill[1] = True  # 1,024 and 9,216: each on a border
    both = scene._replace(instances=fill, crowd=np.zeros(2, bool))
    assert count_areas([both]) == {"small": 1, "medium": 2, "large": 1}
    assert count_areas([]) == {"small": 0, "medium": 0, "large": 0}


def test_a_run_can_name_the_data_it_had() -> None:
    first = _scenes()[0].image
    assert generated_fingerprint(Scenes(), first) != generated_fingerprint(Scenes(border=True), first)


def test_settings_without_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="size: expected one of 96, 128, 192, got 100"):
        Scenes(100)
    with pytest.raises(ValueError, match="most: expected 1 to 8 digits, got 9"):
        Scenes(most=9)
    with pytest.raises(ValueError, match=r"crowds: expected a share from 0 to 1, got nan"):
        Scenes(crowds=float("nan"))
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got 'dev'"):
        Scenes().scenes("dev", np.arange(1))
    with pytest.raises(ValueError, match="items: expected integers of at least 0, got -1"):
        Scenes().scenes("train", np.array([-1]))


def test_mnist_is_not_written_to() -> None:
    Scenes().scenes("train", np.arange(3))
    assert not mnist("train")[0].flags.writeable
