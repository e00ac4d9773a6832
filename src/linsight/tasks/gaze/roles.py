"""Who is trained on, who is validated and who is tested: persons apart."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64

from linsight.config import Config
from linsight.data.gaze import PersonSplit
from linsight.tasks.base import Split

__all__ = ["PersonRoles"]


@dataclass(frozen=True)
class PersonRoles(Config):
    """How many persons have which part, and how many pictures there are of each.

    Persons of training come first, then those of validation, then those of the test; fold f moves every part
    on by f times the persons of the test, around the end. So `train=13, valid=1, test=1` with the protocol
    `lopo` is leave-one-person-out over 15 persons, whose 15 folds test each of them once.

    Args:
        protocol: What a result may be called. `cross-person`: nobody who is tested was trained on or
            validated; `lopo`: and it is one person; `within-person`: the first persons of training are
            validated and tested, on other pictures, which is an easier question.
        train, valid, test: Persons.
        pictures, valid_pictures, test_pictures: Of each of them.
        fold: From 0.

    Raises ValueError for numbers below 1, a fold that is none, and parts that are not what the protocol says.
    """

    kind: Literal["person_roles"] = "person_roles"
    protocol: Literal["lopo", "cross-person", "within-person"] = "cross-person"
    train: int = 1000
    valid: int = 10
    test: int = 30
    pictures: int = 40
    valid_pictures: int = 30
    test_pictures: int = 100
    fold: int = 0

    def __post_init__(self) -> None:
        """Hold the parts to the protocol."""
        for name in ("train", "valid", "test", "pictures", "valid_pictures", "test_pictures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        folds = 1 if self.protocol == "within-person" else -(-self._number // self.test)
        if not 0 <= self.fold < folds:
            raise ValueError(f"fold: expected 0 to {folds - 1}, got {self.fold}")
        if self.protocol == "within-person" and max(self.valid, self.test) > self.train:
            raise ValueError(
                f"valid, test: expected at most the {self.train} persons of training for 'within-person', "
                f"got {self.valid} and {self.test}"
            )
        trained, tested = self.persons("train"), self.persons("test")
        rows = np.arange(len(trained) + len(tested))
        both = np.concatenate([trained, tested])
        PersonSplit(both, rows[: len(trained)], rows[len(trained) :], self.protocol)

    def persons(self, split: Split) -> Int64[np.ndarray, "persons"]:
        """The numbers of the persons of a part."""
        if self.protocol == "within-person":
            return np.arange(getattr(self, split))
        first = {"train": 0, "valid": self.train, "test": self.train + self.valid}[split]
        numbers = first + np.arange(getattr(self, split)) + self.fold * self.test
        return numbers % self._number

    def rows(self, split: Split) -> tuple[Int64[np.ndarray, "rows"], Int64[np.ndarray, "rows"]]:
        """Person and number of every picture of a part, person by person."""
        counts = {"train": self.pictures, "valid": self.valid_pictures, "test": self.test_pictures}
        first = 0
        if self.protocol == "within-person":
            first = {"train": 0, "valid": self.pictures, "test": self.pictures + self.valid_pictures}[split]
        persons = self.persons(split)
        return np.repeat(persons, counts[split]), np.tile(first + np.arange(counts[split]), len(persons))

    @property
    def _number(self) -> int:
        return self.train + self.valid + self.test
