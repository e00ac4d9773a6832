"""Associative recall: an independent reader answers every question; an item is a function of its number."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsight.data.recall import IGNORED, RecallData, recall


@st.composite
def configs(draw):
    pairs = draw(st.integers(1, 6))
    rebind = draw(st.integers(0, pairs // 2))
    queries = draw(st.integers(1, 9))
    return RecallData(
        length=2 * pairs + 2 * queries + draw(st.integers(0, 9)),
        num_pairs=pairs,
        num_queries=queries,
        num_keys=pairs + draw(st.integers(0, 5)),
        num_values=draw(st.integers(1, 5)),
        num_fillers=draw(st.integers(1, 3)),
        alpha=draw(st.sampled_from([0.01, 0.1, 1.0, 2.0])),
        rebind=rebind,
    )


def replay(config, tokens):
    """Read a sequence left to right with a dictionary: what each asked key is bound to."""
    keys = range(config.num_fillers, config.num_fillers + config.num_keys)
    bound, answers = {}, {}
    for place, token in enumerate(tokens[:-1]):
        if token not in keys:
            continue
        if place >= 2 * config.num_pairs:
            answers[place] = bound[token]
        else:
            bound[token] = tokens[place + 1]
    return answers


@given(config=configs(), item=st.integers(0, 2**40))
def test_a_dictionary_answers_every_question_from_the_prefix(config, item):
    drawn = recall(config, np.array([item]), split="train")
    tokens, targets = drawn.tokens[0].tolist(), drawn.targets[0]
    answers = replay(config, tokens)
    assert len(answers) == config.queries
    assert {place: targets[place] for place in np.flatnonzero(targets != IGNORED)} == answers
    assert all(tokens[place + 1] == answer for place, answer in answers.items())


@given(config=configs(), item=st.integers(0, 2**40))
def test_every_place_holds_a_token_of_its_range(config, item):
    """Fillers, keys and values share no token, and a filler stands at no pair."""
    drawn = recall(config, np.array([item]), split="test")
    first_value = config.num_fillers + config.num_keys
    is_key = (drawn.tokens[0] >= config.num_fillers) & (drawn.tokens[0] < first_value)
    is_value = drawn.tokens[0] >= first_value
    assert drawn.tokens.max() < config.vocabulary
    taken = np.zeros(config.length, bool)
    taken[: 2 * config.num_pairs] = True
    taken[np.flatnonzero(drawn.targets[0] != IGNORED)] = True
    taken[np.flatnonzero(drawn.targets[0] != IGNORED) + 1] = True
    assert ((is_key | is_value) == taken).all()
    assert is_key.sum() == is_value.sum() == config.num_pairs + config.queries


@given(config=configs(), item=st.integers(0, 2**40))
def test_the_gap_leads_back_to_the_answer(config, item):
    drawn = recall(config, np.array([item]), split="valid")
    for place in np.flatnonzero(drawn.gaps[0]):
        source = place - drawn.gaps[0, place]
        assert source < 2 * config.num_pairs
        assert drawn.tokens[0, source - 1] == drawn.tokens[0, place]
        assert drawn.tokens[0, source] == drawn.targets[0, place]
    assert ((drawn.gaps > 0) == (drawn.targets != IGNORED)).all()


def test_a_key_bound_twice_is_asked_for_its_later_value():
    """Among the questions are keys whose two values differ, so that the first would be wrong."""
    config = RecallData(length=40, num_pairs=8, rebind=4, num_keys=8, num_values=50)
    drawn = recall(config, np.arange(50), split="train")
    stale = 0
    for tokens, targets in zip(drawn.tokens.tolist(), drawn.targets, strict=True):
        first = {}
        for place in range(0, 16, 2):
            first.setdefault(tokens[place], tokens[place + 1])
        assert len(first) == 4
        asked = np.flatnonzero(targets != IGNORED)
        stale += sum(first[tokens[place]] != targets[place] for place in asked)
    assert stale > 150


def test_every_key_is_asked_once_before_any_is_asked_again():
    config = RecallData(length=64, num_pairs=5, num_queries=5, num_keys=9)
    drawn = recall(config, np.arange(20), split="train")
    for tokens, targets in zip(drawn.tokens, drawn.targets, strict=True):
        assert set(tokens[targets != IGNORED]) == set(tokens[:10:2])


def test_an_item_does_not_depend_on_its_batch():
    config = RecallData(length=128, num_pairs=16, num_keys=128, num_values=128)
    together = recall(config, np.arange(990, 1010), split="train", seed=3)
    alone = recall(config, np.array([1000]), split="train", seed=3)
    assert (together.tokens[10] == alone.tokens[0]).all()
    assert (together.targets[10] == alone.targets[0]).all()


def test_splits_and_seeds_share_no_sequence():
    config = RecallData(length=32, num_pairs=8)
    drawn = [
        recall(config, np.arange(10_000), split=split, seed=seed).tokens
        for split, seed in (("train", 0), ("valid", 0), ("test", 0), ("train", 1))
    ]
    assert len({row.tobytes() for tokens in drawn for row in tokens}) == 40_000


def test_alpha_decides_how_far_back_the_answers_are():
    """Weights s^(alpha - 1): the first place is asked in proportion, for one query of one pair."""
    for alpha in (0.1, 1.0):
        config = RecallData(length=22, num_pairs=1, alpha=alpha)
        gaps = recall(config, np.arange(20_000), split="train").gaps.max(axis=1)
        weights = np.arange(1, 11) ** (alpha - 1)
        expected = weights / weights.sum()
        found = np.bincount((gaps + 1) // 2, minlength=11)[1:] / len(gaps)
        assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / len(gaps)))


def test_values_are_uniform_so_that_chance_is_what_it_says():
    config = RecallData(length=32, num_pairs=8, num_values=4)
    drawn = recall(config, np.arange(4000), split="train")
    counts = np.bincount(drawn.targets[drawn.targets != IGNORED])[-4:]
    assert counts / counts.sum() == pytest.approx(config.chance, abs=4 * np.sqrt(0.19 / counts.sum()))


def test_the_first_hundred_items_are_the_same_for_ever():
    """The digest was computed once; a change of the generator's order of draws would change every run."""
    drawn = recall(
        RecallData(length=128, num_pairs=16, num_keys=128, num_values=128), np.arange(100), split="train"
    )
    digest = hashlib.sha256(drawn.tokens.astype("<i8").tobytes()).hexdigest()
    assert digest.startswith("26c7fe8244967e56")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_pairs": 0}, "num_pairs: expected at least 1, got 0"),
        ({"num_values": 0}, "num_values: expected at least 1, got 0"),
        ({"num_queries": 0}, "num_queries: expected at least 1, got 0"),
        ({"rebind": 5}, "rebind: expected 0 to 4, half of num_pairs, got 5"),
        ({"num_keys": 3}, "num_keys: 8 pairs bind a key of their own, got 3 keys"),
        ({"length": 31}, "length: 8 pairs and 8 queries take 32 tokens, got 31"),
        ({"alpha": 0.0}, "alpha: expected a finite number above 0, got 0.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RecallData(**options)
