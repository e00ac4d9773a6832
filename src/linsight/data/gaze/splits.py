"""Splits of gaze data by person: who is tested was never seen."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64, Integer

__all__ = ["PersonSplit", "Protocol", "cross_person", "leave_one_person_out", "within_person"]

Protocol = Literal["lopo", "cross-person", "within-person"]


@dataclass(frozen=True, eq=False)
class PersonSplit:
    """Rows to train on and rows to test on, under the protocol whose name the result will bear.

    Args:
        persons: The person of every row.
        train, test: Rows; none in both.
        protocol: "lopo": one person is tested, whom nobody trained on; "cross-person": several such persons;
            "within-person": other pictures of persons that were trained on, which is an easier question.

    Raises ValueError for rows in both, empty sides, and splits that are not what the protocol says: a split
    by image is no "lopo".
    """

    persons: Integer[np.ndarray, "rows"]
    train: Int64[np.ndarray, "train"]
    test: Int64[np.ndarray, "test"]
    protocol: Protocol

    def __post_init__(self) -> None:
        """Hold the split to its protocol."""
        for name, rows in (("train", self.train), ("test", self.test)):
            if len(rows) == 0:
                raise ValueError(f"{name}: expected at least one row, got none")
        if both := np.intersect1d(self.train, self.test).size:
            raise ValueError(f"test: expected rows that are not in train, got {both} that are")
        trained, tested = np.unique(self.persons[self.train]), np.unique(self.persons[self.test])
        seen = np.intersect1d(trained, tested)
        if self.protocol == "within-person":
            if len(seen) < len(tested):
                raise ValueError(
                    "protocol: expected 'cross-person' or 'lopo' where persons are tested that were not "
                    "trained on, got 'within-person'"
                )
            return
        if len(seen):
            raise ValueError(
                f"protocol: expected no person in both train and test for {self.protocol!r}, got "
                f"{len(seen)}, the first {seen[0]}; a split by image is 'within-person'"
            )
        if self.protocol == "lopo" and len(tested) != 1:
            raise ValueError(f"protocol: expected one tested person for 'lopo', got {len(tested)}")


def leave_one_person_out(persons: Integer[np.ndarray, "rows"], person: int) -> PersonSplit:
    """All rows of one person are tested, all others trained on.

    Raises ValueError for a person without rows, or with all of them.
    """
    return PersonSplit(persons, np.flatnonzero(persons != person), np.flatnonzero(persons == person), "lopo")


def cross_person(persons: Integer[np.ndarray, "rows"], fold: int, num_folds: int) -> PersonSplit:
    """The persons whose place among the sorted persons is `fold` modulo `num_folds` are tested.

    Raises ValueError for a fold outside the folds, and more folds than persons.
    """
    known, place = np.unique(persons, return_inverse=True)
    if not 2 <= num_folds <= len(known):
        raise ValueError(f"num_folds: expected 2 to {len(known)}, the number of persons, got {num_folds}")
    if not 0 <= fold < num_folds:
        raise ValueError(f"fold: expected 0 to {num_folds - 1}, got {fold}")
    tested = place % num_folds == fold
    return PersonSplit(persons, np.flatnonzero(~tested), np.flatnonzero(tested), "cross-person")


def within_person(persons: Integer[np.ndarray, "rows"], share: float = 0.2) -> PersonSplit:
    """Of each person the last `share` of the rows, rounded up, is tested: neighbours in time stay together.

    Raises ValueError for a share that is not between 0 and 1, and a person with one row.
    """
    if not 0 < share < 1:
        raise ValueError(f"share: expected a number between 0 and 1, got {share}")
    tested = np.zeros(len(persons), bool)
    for person in np.unique(persons):
        rows = np.flatnonzero(persons == person)
        last = int(np.ceil(share * len(rows)))
        if last == len(rows):
            raise ValueError(f"persons: expected at least two rows of each, got {len(rows)} of {person}")
        tested[rows[len(rows) - last :]] = True
    return PersonSplit(persons, np.flatnonzero(~tested), np.flatnonzero(tested), "within-person")
