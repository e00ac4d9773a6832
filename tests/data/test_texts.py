"""Shakespeare: the facts and split checksums of spec/data.md 2.3, and no work leaks into another split."""

import hashlib
import re
from itertools import combinations

import pytest

from linsight.data import shakespeare, shakespeare_works

FACTS = {
    "train": (4_522_157, 84, "d6273aed6fa85c36b2cd9dc565197b807aa25c870c7909e11768eaaa289021a8"),
    "valid": (278_864, 67, "5918c4cb9b1464be811895ddd4e4efbbdc9024586bbcc0580e166e2597c250ef"),
    "test": (256_216, 69, "3ed517680be6bded28131fe10f0659136585a66bce3e027324eb082a274b5d23"),
}


@pytest.mark.parametrize("split", FACTS)
def test_split(split):
    text = shakespeare(split)
    assert (len(text), len(set(text)), hashlib.sha256(text).hexdigest()) == FACTS[split]


def test_works():
    works = shakespeare_works()
    whole = b"".join(works.values())
    assert len(works) == 42
    assert list(works) == sorted(works)
    assert len(whole) == 5_057_198
    digest = hashlib.sha256(whole).hexdigest()
    assert digest == "da68ca4e8201d41a12c1d5e82d967bda85105f1dabe823d5735138bccabdd387"
    assert len(set(whole)) == 84
    assert whole.isascii()
    assert b"\0" not in whole
    assert b"\r" not in whole
    assert [name for name, text in works.items() if text.endswith(b"\n")] == ["winters_tale"]


def test_the_known_gap_is_kept():
    """Cymbeline lacks acts III and IV in the source, and stays as it is."""
    text = shakespeare_works()["cymbeline"]
    assert len(text) == 98_303
    assert b"ACT II" in text.upper()
    assert not re.search(rb"ACT (III|THIRD|IV|FOURTH)\b", text.upper())


def test_every_work_is_in_one_split():
    splits = {split: shakespeare(split) for split in FACTS}
    for name, text in shakespeare_works().items():
        assert [split for split, joined in splits.items() if text in joined] == [_split_of(name)]


@pytest.mark.parametrize(("ignored", "quoted"), [(r"\s+", 11), (r"[^a-z]+", 16)])
def test_no_two_works_share_more_than_four_long_lines(ignored, quoted):
    """Leak check on lower-case lines of 30 characters or more, with and without punctuation.

    The one exception, a poem that quotes the play, lies within train.
    """
    lines = {name: set(_long_lines(text, ignored)) for name, text in shakespeare_works().items()}
    shared = {pair: len(lines[pair[0]] & lines[pair[1]]) for pair in combinations(lines, 2)}
    exception = ("loves_labours_lost", "passionate_pilgrim")
    assert shared.pop(exception) == quoted
    assert _split_of(exception[0]) == _split_of(exception[1]) == "train"
    assert max(shared.values()) <= 4


def test_a_wrong_split_lists_the_names():
    with pytest.raises(ValueError, match=r"split: expected one of 'train', 'valid', 'test', got 'dev'"):
        shakespeare("dev")


def _split_of(name: str) -> str:
    held_out = {"henry_v": "valid", "measure_for_measure": "valid", "macbeth": "test", "winters_tale": "test"}
    return held_out.get(name, "train")


def _long_lines(text: bytes, ignored: str) -> list[str]:
    lines = (re.sub(ignored, " ", line).strip() for line in text.decode("ascii").lower().split("\n"))
    return [line for line in lines if len(line) >= 30]
