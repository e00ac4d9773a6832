"""JSON from anybody: parsed without NaN, and the line of any value of it."""

import json
from collections.abc import Iterator
from json.decoder import JSONDecoder
from pathlib import Path
from typing import Any

from linsight.data.annotations.files import contents, refusal

__all__ = ["Document", "keys", "load"]

_SPACE = " \t\n\r"


class Document:
    """A parsed file; `refuse` names the line and column of a value in it."""

    def __init__(self, path: Path, text: str, value: Any) -> None:
        self.path = path
        self.value = value
        self._text = text

    def refuse(self, place: tuple[str | int, ...], message: str) -> ValueError:
        """A ValueError that says where `place`, as in ("annotations", 3), is."""
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        try:
            position = _locate(self._text, place)
        except (ValueError, IndexError, RecursionError):
            position = None
        where = "" if position is None else f"line {_line(self._text, position)}, "
        return refusal(self.path, f"{where}{name or 'the whole'}", message)


def load(path: Path) -> Document:
    """The JSON of a file in UTF-8.

    Raises FileNotFoundError without the file; ValueError, with line and column, where it is no JSON, holds
    NaN or Infinity (which are none), or is nested deeper than Python can follow.
    """
    text = _text(contents(path), path)
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise refusal(path, place, f"malformed JSON ({error.msg})") from None
    except RecursionError:
        raise refusal(path, "", "expected JSON, got lists and objects nested too deep") from None
    except ValueError as error:  # a constant, or an integer of thousands of digits
        raise refusal(path, "", f"malformed JSON ({error})") from None
    return Document(path, text, value)


def keys(path: Path) -> Iterator[str] | None:
    """The keys of the object that a file holds, as they are asked for; None for a file that begins as a list.

    Values are parsed one at a time and dropped, and what comes after the last key asked for is not looked at;
    mistakes before it raise what `load` raises.
    """
    raw = contents(path)
    if raw.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE.encode())[:1] == b"[":
        return None
    return _keys(path, _text(raw, path))


def _keys(path: Path, text: str) -> Iterator[str]:
    try:
        for key, _ in _members(text, _space(text, 0)):
            yield str(key)
    except (ValueError, IndexError, RecursionError):
        load(path)  # says what is wrong, or that it is a number


def _text(raw: bytes, path: Path) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise refusal(path, f"line {line}", f"byte {error.start} is no UTF-8") from None
    if not text.strip():
        raise refusal(path, "", "expected JSON, got an empty file")
    return text


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _line(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position)
    return f"{text.count(chr(10), 0, position) + 1}, column {position - start}"


def _locate(text: str, place: tuple[str | int, ...]) -> int:
    """Where the value at `place` begins; ValueError where there is none."""
    position = _space(text, 0)
    for part in place:
        found = -1
        for key, start in _members(text, position):
            if key == part:
                found = start  # of a key that is there twice, the last counts
                if isinstance(part, int):
                    break
        if found < 0:
            raise ValueError("no such place")
        position = found
    return position


def _members(text: str, position: int) -> Iterator[tuple[str | int, int]]:
    """Each key of an object or number of a list, and where its value begins; ValueError for anything else."""
    skip = JSONDecoder().raw_decode
    opening = text[position]
    if opening not in "[{":
        raise ValueError("no such place")
    position = _space(text, position + 1)
    count = 0
    while text[position] not in "]}":
        key: str | int = count
        if opening == "{":
            key, position = skip(text, position)
            position = _space(text, _space(text, position) + 1)
        yield key, position
        _, position = skip(text, position)
        position = _space(text, position)
        if text[position] == ",":
            position = _space(text, position + 1)
        count += 1


def _space(text: str, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position
