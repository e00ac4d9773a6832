"""ListOps: an independent machine that reads the tokens finds every label, and nothing else tells it."""

import dataclasses
import hashlib

import numpy as np
import pytest

from linsight.data.listops import LISTOPS, VOCABULARY, ListOps, spell

SHORT = ListOps(min_length=4, max_length=30, max_depth=3, max_args=4)
CHECKSUMS = {
    "listops-128": "6cfe4f5491e70645f525c8d958961bf6a77b7ced7db631c383ccdc2b27447eb9",
    "listops-2k": "0437e7b867401d13614c2140efe579094cd50848a18425ff05ee5102f203b35c",
}


def _solve(text: str) -> tuple[int, int, int]:
    """Value, greatest depth and most arguments, by a stack machine on the written expression."""
    stack, depth, width = [[]], 0, 0
    for word in text.split():
        if word.startswith("["):
            stack.append([word])
            depth = max(depth, len(stack) - 1)
        elif word == "]":
            name, *arguments = stack.pop()
            width = max(width, len(arguments))
            assert len(arguments) >= 2
            stack[-1].append(
                {
                    "[MIN": min(arguments),
                    "[MAX": max(arguments),
                    "[MED": int(np.floor(np.median(arguments))),
                    "[SM": sum(arguments) % 10,
                }[name]
            )
        else:
            stack[-1].append(int(word))
    ((value,),) = stack
    return value, depth, width


@pytest.mark.parametrize(
    ("text", "value"),
    [("[MED 1 2 ]", 1), ("[MED 9 1 4 ]", 4), ("[SM 9 9 [MAX 1 3 ] ]", 1), ("[MIN 4 [SM 5 6 ] ]", 1)],
)
def test_the_solver_knows_the_operators(text: str, value: int) -> None:
    assert _solve(text)[0] == value


@pytest.mark.parametrize(("data", "number"), [(SHORT, 2000), *((name, 100) for name in LISTOPS)], ids=str)
def test_a_stack_machine_finds_every_label_within_the_limits(data, number: int) -> None:
    data = ListOps.named(data) if isinstance(data, str) else data
    tokens, lengths, labels = data.items("valid", np.arange(number))
    deepest = widest = 0
    for row, length, label in zip(tokens, lengths, labels, strict=True):
        assert (row[:length] > 0).all()
        assert (row[length:] == 0).all()
        value, depth, width = _solve(spell(row))
        assert value == label
        deepest, widest = max(deepest, depth), max(widest, width)
    assert (deepest, widest) == (data.max_depth, data.max_args)
    assert data.min_length <= lengths.min() <= lengths.max() <= data.max_length
    assert tokens.shape[1] == lengths.max()


def test_the_vocabulary_is_padding_ten_digits_four_operators_and_the_bracket() -> None:
    assert len(VOCABULARY) == 16
    tokens, _, _ = SHORT.items("train", np.arange(500))
    assert np.unique(tokens).tolist() == list(range(16))


def test_labels_are_balanced_to_a_point_and_lengths_tell_nothing() -> None:
    _, lengths, labels = SHORT.items("train", np.arange(8000))
    assert np.bincount(labels, minlength=10) / 8000 == pytest.approx(0.1, abs=0.01)
    means = [lengths[labels == label].mean() for label in range(10)]
    assert np.abs(np.array(means) - lengths.mean()).max() < 4 * lengths.std() / 800**0.5


def test_without_balance_the_ends_are_the_most_frequent() -> None:
    _, _, labels = dataclasses.replace(ListOps.named("listops-128"), balanced=False).items(
        "train", np.arange(1500)
    )
    shares = np.bincount(labels, minlength=10) / 1500
    assert min(shares[0], shares[9]) > 0.14
    assert max(shares[1:9]) < 0.12


def test_lengths_have_the_law_that_the_recursion_says() -> None:
    law = SHORT.length_distribution()
    assert law[:4].sum() == 0  # the shortest expression is an operator, two digits and a bracket
    _, lengths, _ = SHORT.items("train", np.arange(4000))
    found = np.bincount(lengths, minlength=31) / 4000
    expected = law / SHORT.share_in_range
    assert np.abs(found - expected).max() < 5 * (expected.max() / 4000) ** 0.5
    every = ListOps(4, 6 + 2 * 8, max_depth=2, max_args=4)  # up to 1 + 4 operators and 16 digits
    assert ListOps(4, 26, max_depth=2, max_args=4).length_distribution().sum() == pytest.approx(1)
    assert every.length_distribution().sum() < 1


def test_an_item_is_the_same_alone_and_in_any_batch() -> None:
    items = np.array([5, 1000, 3, 77])
    tokens, lengths, labels = SHORT.items("train", items, seed=4)
    for row, length, label, item in zip(tokens, lengths, labels, items, strict=True):
        alone = SHORT.items("train", np.array([item]), seed=4)
        assert alone.tokens[0].tolist() == row[:length].tolist()
        assert alone.labels.tolist() == [label]


def test_splits_and_seeds_share_nothing() -> None:
    data = ListOps.named("listops-128")
    seen = [
        {spell(row) for row in data.items(split, np.arange(500), seed=seed).tokens}
        for split, seed in (("train", 0), ("valid", 0), ("test", 0), ("train", 1))
    ]
    assert [len(part) for part in seen] == [500] * 4
    assert len(set().union(*seen)) == 2000


@pytest.mark.parametrize("name", LISTOPS)
def test_the_first_hundred_items_are_the_published_ones(name: str) -> None:
    tokens, _, labels = ListOps.named(name).items("train", np.arange(100))
    text = "\n".join(f"{spell(row)} {label}" for row, label in zip(tokens, labels, strict=True))
    assert hashlib.sha256(text.encode()).hexdigest() == CHECKSUMS[name]


def test_no_items_are_an_empty_batch() -> None:
    assert SHORT.items("train", np.arange(0)).tokens.shape == (0, 0)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((1, 3, 5, 10), "min_length, max_length: expressions of depth 5 .* 1 to 3 tokens with probability 0"),
        (
            (27, 40, 2, 4),
            "depth 2 with 4 arguments have 27 to 40 tokens with probability 0, expected at least",
        ),
        ((2000, 2000, 10, 10), "2000 to 2000 tokens with probability 0.000"),
        ((20, 10, 5, 10), "max_length: expected at least min_length 20, got 10"),
        ((4, 10, 0, 10), "max_depth: expected at least 1, got 0"),
        ((4, 10, 1, 1), "max_args: expected at least 2, got 1"),
        ((0, 10, 1, 2), "min_length: expected at least 1, got 0"),
    ],
    ids=str,
)
def test_ranges_that_are_not_reached_are_refused(limits: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ListOps(*limits)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="name: expected one of 'listops-128', 'listops-2k', got 'listops'"):
        ListOps.named("listops")
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got 'dev'"):
        SHORT.items("dev", np.arange(1))
