"""Counting n-grams: a distribution, the textbook's formula, and the published figures of Shakespeare."""

from collections import Counter

import numpy as np
import pytest

from linsight.data import shakespeare
from linsight.tasks.language.counting import ngram_log2


def defined(train, context, byte, order):
    """Witten and Bell's interpolation, by dictionaries, one probability at a time."""
    if order < 0:
        return 1 / 256
    context = context[len(context) - order :] if order else b""
    follow = Counter(train[i + order] for i in range(len(train) - order) if train[i : i + order] == context)
    below = defined(train, context[1:], byte, order - 1)
    if not follow:
        return below
    return (follow[byte] + len(follow) * below) / (follow.total() + len(follow))


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_every_byte_has_the_textbooks_probability(order):
    """Of bytes and contexts both seen and unseen, the first bytes with the context that there is."""
    train, test = b"abracadabra, abrakadabra!", b"abrazzacad, a"
    found = 2 ** ngram_log2(train, test, order)[order]
    expected = [defined(train, test[max(0, i - order) : i], test[i], min(order, i)) for i in range(len(test))]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("order", [0, 2])
def test_the_probabilities_of_all_bytes_sum_to_one(order):
    train, context = b"to be or not to be", b"to"
    each = [2 ** ngram_log2(train, context + bytes([byte]), order)[order, -1] for byte in range(256)]
    assert sum(each) == pytest.approx(1)


def test_a_text_shorter_than_its_contexts_has_shorter_ones():
    assert np.isfinite(ngram_log2(b"ab", b"b", 4)).all()
    assert ngram_log2(b"ab", b"b", 4)[4] == ngram_log2(b"ab", b"b", 0)[0]


@pytest.mark.slow
def test_shakespeare_costs_what_was_measured_elsewhere():
    """Bits per byte of the test split, counted by an independent program: orders 0 to 5."""
    log2 = ngram_log2(shakespeare("train"), shakespeare("test"), 5)
    assert -log2.mean(1) == pytest.approx([4.756, 3.735, 2.919, 2.526, 2.371, 2.371], abs=0.0015)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"a", b"a", 7), "order: expected 0 to 6, got 7"),
        ((b"a", b"a", -1), "order: expected 0 to 6, got -1"),
        ((b"", b"a", 1), "expected at least one byte each"),
        ((b"a", b"", 1), "expected at least one byte each"),
    ],
)
def test_what_cannot_be_counted_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ngram_log2(*arguments)
