"""Batches of people: functions of their arguments alone, with labels of the law and maps that move all."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from linsight.data import People
from linsight.data.geometry import Augmentation
from linsight.data.keypoint_noise import keypoint_noise
from linsight.data.people import PAIRS
from linsight.data.people_crops import PeopleBatch, PeopleCrops

SIZE = (48, 36)
TURNS = Augmentation(flip=0, degrees=25)


def _people(stripes: bool = True) -> People:
    return People(SIZE, samples=1, stripes=stripes)


def _source(kind: str = "hetero", **options: object) -> PeopleCrops:
    return PeopleCrops(**({"people": _people(), "law": keypoint_noise(kind), "count": 40} | options))


def _equal(one: PeopleBatch, other: PeopleBatch) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_a_batch_is_the_items_with_labels_of_the_law() -> None:
    indices = np.array([7, 3, 30])
    batch = _source().batch(indices)
    items = _people().items("train", indices)
    assert np.array_equal(batch.image, items.image)
    assert np.array_equal(batch.truth, items.keypoints.astype(np.float32))
    assert np.array_equal(batch.visibility, items.visibility)
    assert np.array_equal(batch.box, items.box)
    assert not torch.equal(batch.labels, batch.truth)
    clean = _source("none").batch(indices)
    assert torch.equal(clean.labels, clean.truth)


def test_a_batch_does_not_depend_on_what_was_asked_for_before() -> None:
    """Items drawn alone, twice, or by an earlier batch are the same; each law of labels has its own draw."""
    indices = np.array([5, 9, 5, 1])
    source = _source()
    first = source.batch(indices, augmentation=TURNS, seed=3, epoch=2)
    source.batch(np.arange(40))
    assert _equal(source.batch(indices, augmentation=TURNS, seed=3, epoch=2), first)
    alone = _source().batch(indices[1:2], augmentation=TURNS, seed=3, epoch=2)
    assert all(torch.equal(one[0], other[1]) for one, other in zip(alone, first, strict=True))
    assert torch.equal(first.labels[0], first.labels[2])


def test_threads_get_the_same_batches() -> None:
    source, parts = _source(), [np.arange(start, start + 20) % 40 for start in range(0, 40, 4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(source.batch, parts))
    assert all(_equal(one, _source().batch(part)) for one, part in zip(found[:3], parts, strict=False))


def test_labels_stay_and_augmentations_change_from_epoch_to_epoch() -> None:
    source, indices = _source(), np.arange(6)
    assert _equal(source.batch(indices, epoch=0), source.batch(indices, seed=1, epoch=5))
    one, other = (source.batch(indices, augmentation=TURNS, epoch=epoch) for epoch in (0, 1))
    assert (one.truth - other.truth).abs().amax((1, 2)).min() > 0.1
    assert _equal(
        source.batch(indices, augmentation=TURNS, seed=2), source.batch(indices, augmentation=TURNS, seed=2)
    )
    assert not torch.equal(source.batch(indices, augmentation=TURNS, seed=2).truth, one.truth)


def test_an_augmentation_moves_picture_truth_labels_and_box_together() -> None:
    source, indices = _source(), np.arange(12)
    plain, moved = source.batch(indices), source.batch(indices, augmentation=TURNS, seed=4, epoch=1)
    warp = TURNS.draw(indices, SIZE, seed=4, epoch=1)
    assert torch.equal(moved.image, warp.image(plain.image))
    for one, other in ((moved.truth, plain.truth), (moved.labels, plain.labels)):
        assert (one - warp.keypoints(other.double())).abs().max() < 1e-4
    assert (moved.box - warp.boxes(plain.box.double()[:, None])[:, 0]).abs().max() < 1e-4
    beyond = ~warp.inside(moved.truth)
    assert beyond.any()
    assert (moved.visibility[beyond] == 0).all()
    assert torch.equal(moved.visibility[~beyond], plain.visibility[~beyond])


def test_people_without_stripes_may_be_mirrored() -> None:
    flip = Augmentation(1, 0, 1, 1, 0)
    source, indices = _source("swap", people=_people(stripes=False)), np.arange(8)
    plain, mirrored = source.batch(indices), source.batch(indices, augmentation=flip)
    order = list(range(17))
    for left, right in PAIRS:
        order[left], order[right] = right, left
    assert torch.equal(mirrored.image, plain.image.flip(-1))
    assert torch.equal(mirrored.visibility, plain.visibility[:, order])
    for one, other in ((mirrored.truth, plain.truth), (mirrored.labels, plain.labels)):
        assert (one[..., 0] - (SIZE[1] - 1 - other[:, order, 0])).abs().max() < 1e-4
        assert (one[..., 1] - other[:, order, 1]).abs().max() < 1e-4


def test_errors_of_labels_have_the_scale_of_the_law_in_shares_of_the_crop() -> None:
    """0.01 of width and height where a joint is seen, 0.05 elsewhere."""
    batch = _source().batch(np.arange(40))
    errors = (batch.labels - batch.truth).numpy() / np.array([36, 48])
    seen = batch.visibility.numpy() == 2
    assert np.sqrt((errors[seen] ** 2).mean(0)) == pytest.approx([0.01, 0.01], rel=0.15)
    assert np.sqrt((errors[~seen] ** 2).mean(0)) == pytest.approx([0.05, 0.05], rel=0.2)


def test_the_log_density_is_that_of_the_law() -> None:
    source = _source("gauss")
    batch = source.batch(np.arange(5))
    residual = (batch.labels - batch.truth).double() / torch.tensor([36.0, 48.0])
    assert torch.allclose(source.log_density(batch), keypoint_noise("gauss").log_prob(residual), atol=1e-6)
    with pytest.raises(ValueError, match="noise law 'none' has no density"):
        _source("none").log_density(batch)


def test_splits_and_data_seeds_have_items_and_errors_of_their_own() -> None:
    indices = np.arange(3)
    batches = [_source(**options).batch(indices) for options in ({}, {"split": "valid"}, {"data_seed": 1})]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(batches[one].image, batches[other].image)
        errors = [batches[which].labels - batches[which].truth for which in (one, other)]
        assert not torch.allclose(*errors, atol=1e-3)


def test_the_fingerprint_is_of_all_that_makes_a_batch() -> None:
    prints = {
        _source(**options).fingerprint
        for options in (
            {},
            {"count": 39},
            {"split": "valid"},
            {"data_seed": 1},
            {"kind": "gauss"},
            {"law": keypoint_noise("hetero", clear=0.02)},
            {"people": People(SIZE, samples=2)},
        )
    }
    assert len(prints) == 7
    assert _source().fingerprint == _source().fingerprint


def test_refusals() -> None:
    with pytest.raises(ValueError, match="count: expected at least 1 item, got 0"):
        _source(count=0)
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got 'dev'"):
        _source(split="dev")
    for index in (-1, 40):
        with pytest.raises(ValueError, match=f"indices: expected 0 to 39, got {index}"):
            _source().batch(np.array([0, index]))
    with pytest.raises(
        ValueError, match=r"augmentation: expected flip=0, since a mirror .*, got 0\.5; leave"
    ):
        _source().batch(np.arange(2), augmentation=Augmentation())
