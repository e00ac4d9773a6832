"""A training batch is a function of (seed, epoch, indices); its bits and coins have the law they should."""

import numpy as np
import pytest
import torch
from scipy import stats

from linsight.data import binarize, images

INDICES = np.array([3, 49, 0, 17, 8])
EACH = ("x", "y", "label_first")
"""What there is of every example; the seed belongs to the batch."""


def _equal(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in EACH)


@pytest.mark.parametrize("binarise", ["dynamic", "fixed", "threshold"])
def test_an_example_is_the_same_in_any_batch_and_order(task, binarise: str) -> None:
    built = task(binarise=binarise)
    whole = built.batch(INDICES, seed=4, epoch=2)
    assert _equal(built.batch(INDICES, seed=4, epoch=2), whole)
    assert _equal(task(binarise=binarise).batch(INDICES, seed=4, epoch=2), whole)
    order = np.array([4, 0, 3])
    part = built.batch(INDICES[order], seed=4, epoch=2)
    assert _equal(part, {name: whole[name][torch.from_numpy(order)] for name in EACH})


def test_no_global_random_state_is_read_or_moved(task) -> None:
    built = task()
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = built.batch(INDICES, seed=4, epoch=2)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()
    torch.manual_seed(9)
    np.random.seed(9)
    assert _equal(built.batch(INDICES, seed=4, epoch=2), first)


def test_epochs_and_seeds_draw_anew(task) -> None:
    built = task()
    every = np.arange(built.num_examples)
    first = built.batch(every, seed=4, epoch=2)
    for options in ({"seed": 5, "epoch": 2}, {"seed": 4, "epoch": 3}):
        other = built.batch(every, **options)
        assert (other["x"] != first["x"]).any(dim=(1, 2)).all()
        assert not torch.equal(other["label_first"], first["label_first"])
        assert torch.equal(other["y"], first["y"])


def test_the_shapes_and_types_of_a_batch(task) -> None:
    batch = task().batch(INDICES, seed=0, epoch=0)
    assert {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in batch.items()} == {
        "x": ((5, 8, 8), torch.uint8),
        "y": ((5,), torch.int64),
        "label_first": ((5,), torch.bool),
        "seed": ((), torch.int64),
    }


def test_the_seed_of_what_a_model_draws_is_another_in_every_batch(task) -> None:
    built = task()
    seeds = {
        int(built.batch(INDICES[first:], seed=seed, epoch=epoch)["seed"])
        for first in (0, 1) for seed in (1, 2) for epoch in (0, 1)
    }  # fmt: skip
    assert len(seeds) == 8
    assert built.batch(INDICES, seed=1, epoch=0)["seed"] == built.batch(INDICES, seed=1, epoch=0)["seed"]


def test_the_labels_are_those_of_the_examples(task, folder) -> None:
    _, labels = images(folder, "train")
    assert task().batch(INDICES, seed=0, epoch=0)["y"].tolist() == labels[INDICES].tolist()


def test_the_coin_is_fair_and_falls_anew_in_every_epoch(task) -> None:
    """Of 50 x 80 coins half are heads, by a two-sided binomial test; so are those of two epochs together."""
    built = task()
    every = np.arange(built.num_examples)
    coins = torch.stack([built.batch(every, seed=1, epoch=epoch)["label_first"] for epoch in range(80)])
    assert stats.binomtest(int(coins.sum()), coins.numel()).pvalue > 1e-4
    agreements = coins[1:] == coins[:-1]
    assert stats.binomtest(int(agreements.sum()), agreements.numel()).pvalue > 1e-4


@pytest.mark.parametrize(("label", "first"), [("first", True), ("last", False), ("none", False)])
def test_without_a_choice_no_coin_falls(task, label: str, first: bool) -> None:
    assert (task(label=label).batch(INDICES, seed=1, epoch=0)["label_first"] == first).all()


def test_dynamic_bits_are_on_as_often_as_their_grey_value_says(task, folder) -> None:
    """In 200 epochs a pixel is binomial(200, grey / 255): chi-square over all; 0 and 255 are certain."""
    built, number = task(binarise="dynamic"), 200
    grey = torch.from_numpy(images(folder, "train")[0].copy()).double() / 255
    every = np.arange(built.num_examples)
    ones = sum(built.batch(every, seed=7, epoch=epoch)["x"].double() for epoch in range(number))
    assert (ones[grey == 0] == 0).all()
    assert (ones[grey == 1] == number).all()
    between = (grey > 0.05) & (grey < 0.95)
    p = grey[between]
    squares = ((ones[between] - number * p).square() / (number * p * (1 - p))).sum().item()
    assert stats.chi2.sf(squares, len(p)) > 1e-4
    assert stats.chi2.cdf(squares, len(p)) > 1e-4


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("epoch", [0, 5])
def test_fixed_bits_and_thresholds_know_neither_seed_nor_epoch(task, folder, seed: int, epoch: int) -> None:
    pixels, _ = images(folder, "train")
    fixed = task(binarise="fixed").batch(INDICES, seed=seed, epoch=epoch)["x"].numpy()
    assert (fixed == binarize.fixed("train", folder)[INDICES]).all()
    cut = task(binarise="threshold").batch(INDICES, seed=seed, epoch=epoch)["x"].numpy()
    assert (cut == (pixels[INDICES] > 127)).all()


def test_a_batch_may_be_written_to_without_harm(task) -> None:
    for binarise in ("dynamic", "fixed", "threshold"):
        built = task(binarise=binarise)
        first = built.batch(INDICES, seed=0, epoch=0)
        kept = first["x"].clone()
        first["x"].zero_()
        assert torch.equal(built.batch(INDICES, seed=0, epoch=0)["x"], kept)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_is_the_fixed_draw_however_training_images_are_drawn(task, folder, split: str) -> None:
    """Two looks give identical bits: test noise is fixed. Under the threshold it is the threshold's cut."""
    pixels, labels = images(folder, split)
    for binarise in ("dynamic", "fixed"):
        built = task(binarise=binarise)
        for _ in range(2):
            x, y = built.split(split)
            assert (x.numpy() == binarize.fixed(split, folder)).all()
            assert y.tolist() == labels.tolist()
    assert (task(binarise="threshold").split(split)[0].numpy() == (pixels > 127)).all()


def test_the_fingerprint_tells_data_and_binarisation_apart(task, folder, tmp_path) -> None:
    prints = {binarise: task(binarise=binarise).fingerprint for binarise in ("dynamic", "fixed", "threshold")}
    assert len(set(prints.values())) == 3
    assert task(binarise="fixed", label="last").fingerprint == prints["fixed"]
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    labels = tmp_path / "train-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[8] ^= 1
    labels.write_bytes(content)
    assert task(binarise="fixed", data=str(tmp_path)).fingerprint != prints["fixed"]
