"""Splits by person: who is tested was never seen, and no other split bears that name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsight.data.gaze import PersonSplit, cross_person, leave_one_person_out, within_person

PERSONS = np.repeat(np.arange(15), 4)
rows = st.lists(st.integers(0, 6), min_size=2, max_size=40).filter(lambda persons: len(set(persons)) > 1)


@given(persons=rows)
def test_leave_one_person_out_tests_all_of_one_person_and_trains_on_all_others(persons):
    persons = np.array(persons)
    tested = []
    for person in set(persons.tolist()):
        split = leave_one_person_out(persons, person)
        assert set(persons[split.test]) == {person}
        assert person not in persons[split.train]
        assert sorted([*split.train, *split.test]) == list(range(len(persons)))
        assert split.protocol == "lopo"
        tested += split.test.tolist()
    assert sorted(tested) == list(range(len(persons))), "every row is tested once over the folds"


@given(persons=rows, num_folds=st.integers(2, 5))
def test_cross_person_folds_share_no_person_and_test_each_once(persons, num_folds):
    persons = np.array(persons)
    num_folds = min(num_folds, len(np.unique(persons)))
    tested = []
    for fold in range(num_folds):
        split = cross_person(persons, fold, num_folds)
        assert not set(persons[split.train]) & set(persons[split.test])
        tested += split.test.tolist()
    assert sorted(tested) == list(range(len(persons)))


def test_within_person_tests_the_last_of_each():
    split = within_person(PERSONS, 0.25)
    assert split.test.tolist() == list(range(3, 60, 4))
    assert len(split.train) == 45
    assert split.protocol == "within-person"


def test_a_split_by_image_is_no_leave_one_person_out():
    """The mistake that makes gaze numbers too good: the same faces on both sides."""
    by_image = np.arange(60)
    for protocol in ("lopo", "cross-person"):
        with pytest.raises(
            ValueError,
            match=f"protocol: expected no person in both train and test for '{protocol}', got 15, the first "
            "0; a split by image is 'within-person'",
        ):
            PersonSplit(PERSONS, by_image[::2], by_image[1::2], protocol)  # pyright: ignore[reportArgumentType]
    assert PersonSplit(PERSONS, by_image[::2], by_image[1::2], "within-person").protocol == "within-person"


def test_splits_that_are_not_what_they_are_called_are_refused():
    two = np.flatnonzero(PERSONS < 2)
    rest = np.flatnonzero(PERSONS >= 2)
    with pytest.raises(ValueError, match="protocol: expected one tested person for 'lopo', got 2"):
        PersonSplit(PERSONS, rest, two, "lopo")
    with pytest.raises(
        ValueError, match="expected 'cross-person' or 'lopo' where persons are tested that were not"
    ):
        PersonSplit(PERSONS, rest, two, "within-person")
    with pytest.raises(ValueError, match="test: expected rows that are not in train, got 1 that are"):
        PersonSplit(PERSONS, rest, np.append(two, rest[0]), "cross-person")
    with pytest.raises(ValueError, match="train: expected at least one row, got none"):
        leave_one_person_out(np.zeros(3, int), 0)
    with pytest.raises(ValueError, match="test: expected at least one row, got none"):
        leave_one_person_out(PERSONS, 15)
    with pytest.raises(ValueError, match="num_folds: expected 2 to 15, the number of persons, got 16"):
        cross_person(PERSONS, 0, 16)
    with pytest.raises(ValueError, match="fold: expected 0 to 2, got 3"):
        cross_person(PERSONS, 3, 3)
    with pytest.raises(ValueError, match=r"share: expected a number between 0 and 1, got 1\.0"):
        within_person(PERSONS, 1.0)
    with pytest.raises(ValueError, match="persons: expected at least two rows of each, got 1 of 9"):
        within_person(np.array([9, 3, 3]), 0.5)
