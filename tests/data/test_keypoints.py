"""Pairs of keypoints, by name."""

import pytest

from linsight.data.keypoints import flip_pairs


def test_pairs_are_of_names_that_differ_in_the_side_alone() -> None:
    names = ["tail", "right_ear", "left_paw", "left_ear", "right_paw", "leftover"]
    assert flip_pairs(names) == ((2, 4), (3, 1))
    assert flip_pairs([]) == ()
    assert flip_pairs(["nose"]) == ()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="names: expected 'right_ear' beside 'left_ear', got none"):
        flip_pairs(["left_ear", "left_eye", "right_eye"])
    with pytest.raises(ValueError, match="names: expected 'left_ear' beside 'right_ear', got none"):
        flip_pairs(["right_ear"])
    with pytest.raises(ValueError, match="names: expected each name once, got 'nose' twice"):
        flip_pairs(["nose", "eye", "nose"])
