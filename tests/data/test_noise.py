"""Counter-based noise: an item's words depend on nothing but (seed, stream, epoch, item)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Philox

from linsight.data import noise

KEY = noise.key(7, "test/train")


@given(
    items=st.lists(st.integers(0, 2**63 - 1), max_size=8),
    count=st.integers(0, 13),
    epoch=st.integers(0, 2**40),
    data=st.data(),
)
def test_an_item_is_the_same_in_any_company(items, count, epoch, data):
    """Law: words(items)[i] = words([items[i]])[0], for any order, repetition and number of words."""
    drawn = noise.words(KEY, np.array(items, np.int64), count, epoch=epoch)
    assert drawn.shape == (len(items), count)
    shuffled = data.draw(st.permutations(range(len(items))))
    again = noise.words(KEY, np.array(items, np.int64)[shuffled], count, epoch=epoch)
    assert np.array_equal(again, drawn[shuffled])
    for item, row in zip(items, drawn, strict=True):
        assert np.array_equal(noise.words(KEY, np.array([item]), count, epoch=epoch)[0], row)


@given(count=st.integers(0, 13), more=st.integers(0, 9))
def test_fewer_words_are_the_first_words(count, more):
    drawn = noise.words(KEY, np.array([5, 9]), count + more)
    assert np.array_equal(noise.words(KEY, np.array([5, 9]), count), drawn[:, :count])


@pytest.mark.parametrize(("item", "epoch"), [(0, 0), (1, 0), (10**6, 0), (2**63 - 1, 3)])
def test_counter_layout(item, epoch):
    """Item i of epoch e starts at the counter e 2^128 + i 2^64, by NumPy's own constructor."""
    counter = np.array([0, item, epoch, 0], np.uint64)
    expected = Philox(key=KEY, counter=counter).random_raw(10)
    assert np.array_equal(noise.words(KEY, np.array([item]), 10, epoch=epoch)[0], expected)


def test_no_two_items_epochs_seeds_or_streams_share_a_word():
    """10,000 items of two streams, and others of other epochs and seeds: all words differ."""
    items = np.arange(10_000)
    draws = [
        noise.words(noise.key(seed, stream), items, 4, epoch=epoch)
        for seed, stream, epoch in [
            (0, "copy/train", 0),
            (0, "copy/test", 0),
            (1, "copy/train", 0),
            (0, "copy/train", 1),
        ]
    ]
    whole = np.concatenate(draws).ravel()
    assert len(np.unique(whole)) == len(whole)


def test_the_words_never_change():
    """Committed: a change here changes every published number that used the noise."""
    assert [
        hex(word) for word in noise.words(noise.key(0, "copy/train"), np.array([1000]), 2, epoch=3)[0]
    ] == [
        "0x40edf8785f7b5eac",
        "0x35fde6d2cf1ff59e",
    ]


@given(start=st.integers(0, 300), count=st.integers(0, 50))
def test_run_is_addressable(start, count):
    """Law: run(start, count) is a slice of the one long run."""
    long = Philox(key=KEY).random_raw(350)
    assert np.array_equal(noise.run(KEY, start, count), long[start : start + count])


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=rf"seed: expected an integer from 0 to 2\*\*64 - 1, got {seed}"):
        noise.key(seed, "x")


def test_largest_seed():
    assert noise.key(2**64 - 1, "x")[0] == 2**64 - 1


def test_negative_items_and_epochs():
    with pytest.raises(ValueError, match="items: expected integers of at least 0, got -1"):
        noise.words(KEY, np.array([3, -1]), 4)
    with pytest.raises(ValueError, match="epoch: expected an integer of at least 0, got -1"):
        noise.words(KEY, np.array([3]), 4, epoch=-1)
