"""Columns of a list of JSON objects as arrays, with a refusal that names the first row that has none."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from linsight.data.annotations.files import quoted
from linsight.data.annotations.json_text import Document

__all__ = ["Rows"]

_MISSING = object()


class Rows:
    """The objects of one list of a document; each method makes one array of them, or refuses.

    Types are checked a column at a time by the set of types in it, which costs little beside parsing.
    """

    def __init__(self, document: Document, place: tuple[str | int, ...], rows: Any) -> None:
        self.document = document
        self.place = place
        if type(rows) is not list:
            raise document.refuse(place, f"expected a list, got {type(rows).__name__}")
        for number, row in enumerate(rows) if set(map(type, rows)) - {dict} else ():
            if type(row) is not dict:
                raise document.refuse((*place, number), f"expected an object, got {quoted(row)}")
        self.rows: list[dict[str, Any]] = rows

    def __len__(self) -> int:
        return len(self.rows)

    def refuse(self, number: int, message: str) -> ValueError:
        """A refusal of a row, with its place and, if it has one, its id."""
        row = self.rows[number]
        identity = f"id {quoted(row['id'])}: " if "id" in row else ""
        return self.document.refuse((*self.place, number), identity + message)

    def has(self, key: str) -> Bool[np.ndarray, "rows"]:
        """Which rows have the key, with another value than null."""
        return np.array([row.get(key) is not None for row in self.rows], bool)

    def values(self, key: str, default: Any = _MISSING) -> list[Any]:
        """The values of a key; ValueError for a row without it, unless there is a default."""
        if default is not _MISSING:
            return [default if (value := row.get(key)) is None else value for row in self.rows]
        try:
            return [row[key] for row in self.rows]
        except KeyError:
            first = next(number for number, row in enumerate(self.rows) if key not in row)
            raise self.refuse(first, f"has no {key!r}") from None

    def checked(self, key: str, types: set[type], expected: str, default: Any = _MISSING) -> list[Any]:
        """The values of a key, all of these types."""
        values = self.values(key, default)
        if set(map(type, values)) - types:
            self._refuse_first(key, values, lambda value: type(value) in types, expected)
        return values

    def integers(
        self, key: str, default: Any = _MISSING, *, least: int = -(2**63)
    ) -> Int64[np.ndarray, "rows"]:
        """Integers of 64 bits that are at least `least`."""
        expected = f"an integer of at least {least}" if least >= 0 else "an integer of 64 bits"
        values = self.checked(key, {int}, expected, default)
        if values and not (least <= min(values) and max(values) < 2**63):
            self._refuse_first(key, values, lambda value: least <= value < 2**63, expected)
        return np.array(values, np.int64)

    def numbers(self, key: str, default: Any = _MISSING) -> Float64[np.ndarray, "rows"]:
        """Finite numbers."""
        values = self.checked(key, {int, float}, "a number", default)
        try:
            column = np.array(values, np.float64)
        except OverflowError:
            column = np.array([np.inf if abs(value) > 1e300 else float(value) for value in values])
        if not np.isfinite(column).all():
            first = int((~np.isfinite(column)).argmax())
            raise self.refuse(first, f"{key}: expected a finite number, got {quoted(values[first])}")
        return column

    def flags(self, key: str) -> Bool[np.ndarray, "rows"]:
        """0 or 1, false or true; 0 where a row has none."""
        values = self.checked(key, {int, bool}, "0 or 1", 0)
        if set(values) - {0, 1}:
            self._refuse_first(key, values, lambda value: value in (0, 1), "0 or 1")
        return np.array(values, bool)

    def names(self, key: str, default: Any = _MISSING) -> list[str]:
        """Strings."""
        return self.checked(key, {str}, "a string", default)

    def identifiers(self, key: str) -> Shaped[np.ndarray, "rows"]:
        """Integers of 64 bits, or strings; not both."""
        values = self.values(key)
        if values and set(map(type, values)) == {str}:
            # NumPy's strings end at their zeros; two of them must not become one.
            self._refuse_zeros(key, values)
            return np.array(values)
        if str in set(map(type, values)):
            self._refuse_first(
                key, values, lambda value: type(value) is not str, "integers alone, or strings alone"
            )
        return self.integers(key)

    def vectors(self, key: str, length: int) -> Float64[np.ndarray, "rows length"]:
        """Lists of `length` finite numbers."""
        expected = f"a list of {length} numbers"
        values = self.checked(key, {list}, expected)
        if set(map(len, values)) - {length}:
            self._refuse_first(key, values, lambda value: len(value) == length, expected)
        return self.flat(key, values, expected).reshape(len(values), length)

    def flat(self, key: str, values: list[list[Any]], expected: str) -> Float64[np.ndarray, "numbers"]:
        """The numbers of all the lists, one after another."""
        flat = list(chain.from_iterable(values))
        if set(map(type, flat)) - {int, float}:
            self._refuse_first(key, values, lambda value: set(map(type, value)) <= {int, float}, expected)
        try:
            column = np.array(flat, np.float64)
        except OverflowError:
            column = np.array([np.inf if abs(value) > 1e300 else float(value) for value in flat])
        if not np.isfinite(column).all():
            self._refuse_first(
                key, values, lambda value: all(abs(number) <= 1e300 for number in value), "finite numbers"
            )
        return column

    def unique(self, key: str, column: Shaped[np.ndarray, "rows"]) -> None:
        """Raises ValueError for the first row whose identifier an earlier row has."""
        found, first, where = np.unique(column, return_index=True, return_inverse=True)
        if len(found) < len(column):
            number = int((first[where] != np.arange(len(column))).argmax())
            earlier = int(first[where][number])
            raise self.refuse(
                number, f"{key}: {quoted(column[number].item())} is that of {self.place[-1]}[{earlier}] too"
            )

    def known(
        self, key: str, column: Shaped[np.ndarray, "rows"], known: Shaped[np.ndarray, "known"], what: str
    ) -> None:
        """Raises ValueError for the first row whose identifier is none of the known ones, with a hint."""
        if len(column) == 0:
            return
        if len(known) and column.dtype.kind != known.dtype.kind:
            kinds = {"i": "integers", "U": "strings"}
            raise self.refuse(
                0,
                f"{key}: expected {kinds[known.dtype.kind]}, as the {what} have, "
                f"got {kinds[column.dtype.kind]}",
            )
        unknown = ~np.isin(column, known)
        if unknown.any():
            number = int(unknown.argmax())
            raise self.refuse(
                number,
                f"{key}: {quoted(column[number].item())} is none of the {len(known)} {what}"
                f"{_hint(column, known, unknown)}",
            )

    def _refuse_zeros(self, key: str, values: list[str]) -> None:
        if any("\0" in value for value in values):
            self._refuse_first(key, values, lambda value: "\0" not in value, "a string without NUL")

    def _refuse_first(self, key: str, values: list[Any], good: Callable[[Any], bool], expected: str) -> None:
        for number, value in enumerate(values):
            if not good(value):
                raise self.refuse(number, f"{key}: expected {expected}, got {quoted(value)}")


def _hint(
    column: Shaped[np.ndarray, "rows"],
    known: Shaped[np.ndarray, "known"],
    unknown: Bool[np.ndarray, "rows"],
) -> str:
    if column.dtype.kind != "i" or not len(known):
        return ""
    for shift, words in ((1, "one less"), (-1, "one more")):
        if np.isin(column[(column < 2**62) & (column > -(2**62))] + shift, known).all():
            return (
                f"; all would be known if they counted from another number: each is {words} than one of them"
            )
    return "; not one of the rows has a known one" if unknown.all() and len(column) > 1 else ""
