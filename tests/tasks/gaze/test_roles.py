"""Who is trained on and who is tested: persons apart, folds that test everybody once, honest names."""

import numpy as np
import pytest

from linsight.tasks.gaze import PersonRoles

SMALL = {"pictures": 3, "valid_pictures": 2, "test_pictures": 4}


@pytest.mark.parametrize("fold", [0, 1, 4])
def test_nobody_has_two_parts(fold):
    roles = PersonRoles(train=7, valid=2, test=2, fold=fold, **SMALL)
    parts = [set(roles.persons(split).tolist()) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [7, 2, 2]
    assert len(set.union(*parts)) == 11
    assert set.union(*parts) == set(range(11))


def test_the_folds_of_leave_one_person_out_test_each_person_once():
    folds = [PersonRoles(protocol="lopo", train=13, valid=1, test=1, fold=fold) for fold in range(15)]
    assert sorted(int(one.persons("test")[0]) for one in folds) == list(range(15))


def test_the_folds_of_larger_parts_test_everybody():
    folds = [PersonRoles(train=5, valid=2, test=3, fold=fold, **SMALL) for fold in range(4)]
    assert {int(one) for roles in folds for one in roles.persons("test")} == set(range(10))


def test_rows_are_all_pictures_of_each_person():
    persons, items = PersonRoles(train=2, valid=1, test=2, **SMALL).rows("test")
    assert persons.tolist() == [3] * 4 + [4] * 4
    assert items.tolist() == [0, 1, 2, 3] * 2


def test_within_persons_no_picture_has_two_parts():
    roles = PersonRoles(protocol="within-person", train=3, valid=1, test=2, **SMALL)
    seen = [
        set(zip(*map(np.ndarray.tolist, roles.rows(split)), strict=True))
        for split in ("train", "valid", "test")
    ]
    assert {person for part in seen for person, _ in part} == {0, 1, 2}
    assert sum(map(len, seen)) == len(set.union(*seen)) == 9 + 2 + 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 0}, "train: expected at least 1, got 0"),
        ({"test_pictures": 0}, "test_pictures: expected at least 1, got 0"),
        ({"train": 2, "valid": 1, "test": 1, "fold": 4}, "fold: expected 0 to 3, got 4"),
        ({"protocol": "within-person", "fold": 1}, "fold: expected 0 to 0, got 1"),
        ({"protocol": "lopo", "test": 2}, "protocol: expected one tested person for 'lopo', got 2"),
        (
            {"protocol": "within-person", "train": 3, "test": 4, "valid": 1},
            "valid, test: expected at most the 3 persons of training for 'within-person', got 1 and 4",
        ),
    ],
)
def test_parts_that_are_not_what_they_are_called_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PersonRoles(**options)
