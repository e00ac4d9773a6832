"""Configurations to JSON and back, exactly: types survive, and whatever is not understood is refused."""

import functools
import json
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from linsight.config import Config

__all__ = ["first_difference", "from_json", "to_json"]

C = TypeVar("C", bound=Config)


def to_json(config: Config) -> str:
    """The configuration as indented JSON, ending in a line break.

    Raises:
        ValueError: A value would not come back as it is (a list where a tuple belongs, a NaN, an object that
            is no member of the union); the message names the key.
    """
    cls = type(config)
    text = _adapter(cls).dump_json(config, indent=2, warnings=False).decode() + "\n"
    difference = first_difference(config, from_json(cls, text, where=cls.__name__))
    if difference is not None:
        path, given, read = difference
        raise ValueError(f"{cls.__name__}: {path}: {given!r} comes back from JSON as {read!r}; use that")
    return text


def from_json(cls: type[C], text: str, *, where: str = "JSON") -> C:
    """Read a configuration of type `cls`; `where` (a path) begins every message.

    Raises:
        ValueError: Not JSON (line and column), another version, an unknown or missing key, a wrong type or
            value (with the path of the key, as `training.schedule.warmup`); always one line.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where}: not valid JSON at line {error.lineno}, column {error.colno} ({error.msg})"
        ) from None
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected an object with keys, got {_short(data)}")
    _check_version(cls, data, where)
    try:
        # Strict, from text: "3" and true are no integers, while a JSON array is a tuple and 1 is a float.
        config = _adapter(cls).validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(f"{where}: {_sentence(error, data, cls)}") from None
    untagged = _untagged(config, data)
    if untagged is not None:
        raise ValueError(f"{where}: {untagged}: missing key 'kind'")
    return config


def first_difference(left: Any, right: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first field in which two configurations differ: its path and both values; None when equal."""
    inner = []
    if type(left) is type(right) and is_dataclass(left):
        names = [f.name for f in fields(left)]
        inner = [(f"{path}.{n}" if path else n, getattr(left, n), getattr(right, n)) for n in names]
    elif isinstance(left, tuple) and isinstance(right, tuple) and len(left) == len(right):
        inner = [(f"{path}[{i}]", left[i], right[i]) for i in range(len(left))]
    if inner:
        return next((found for key, a, b in inner if (found := first_difference(a, b, key))), None)
    if is_dataclass(left) and is_dataclass(right) and type(left) is not type(right):
        return f"{path}.kind", getattr(left, "kind", left), getattr(right, "kind", right)
    # 1 and 1.0 are one number, True is none.
    same = left == right and isinstance(left, bool) == isinstance(right, bool)
    return None if same else (path, left, right)


@functools.cache
def _adapter(cls: type) -> TypeAdapter:
    return TypeAdapter(cls)


def _check_version(cls: type, data: dict, where: str) -> None:
    known = getattr(cls, "VERSION", None)
    found = data.get("version")
    if known is None or (found == known and type(found) is int):
        return
    if type(found) is int and found > known:
        raise ValueError(
            f"{where}: version {found} is of a newer linsight, this one reads {known}: upgrade linsight"
        )
    raise ValueError(f"{where}: version: expected {known}, got {_short(found)}")


def _untagged(config: Any, data: Any, path: str = "") -> str | None:
    """The path of an object read without its `kind`: a union would have guessed which member was meant."""
    if isinstance(config, tuple):
        inner = [(f"{path}[{i}]", own, data[i]) for i, own in enumerate(config)]
    elif is_dataclass(config):
        if hasattr(config, "kind") and "kind" not in data:
            return path
        names = [f.name for f in fields(config) if f.name in data]
        inner = [(f"{path}.{n}" if path else n, getattr(config, n), data[n]) for n in names]
    else:
        return None
    return next((found for key, own, read in inner if (found := _untagged(own, read, key)) is not None), None)


def _sentence(error: ValidationError, data: Any, cls: type) -> str:
    """One sentence for the most telling of the problems pydantic found."""
    problems = error.errors(include_url=False)
    # A union reports the refusals of every member; members of another `kind` are not what was meant.
    tags = [p for p in problems if p["type"] == "literal_error" and p["loc"][-1] == "kind"]
    foreign = {p["loc"][:-1] for p in tags}
    meant = [p for p in problems if not any(p["loc"][: len(loc)] == loc for loc in foreign)]
    if not meant:
        kinds = dict.fromkeys(p.get("ctx", {}).get("expected", "") for p in tags)
        path, found = _key_path(tags[0]["loc"], data), _short(tags[0]["input"])
        return f"{path}: expected {' or '.join(kinds)}, got {found}"
    # A misspelt key is missing and unknown; the second says more.
    problem = min(meant, key=lambda p: p["type"] != "unexpected_keyword_argument")
    kind = problem["type"]
    path = _key_path(problem["loc"], data, missing=kind == "missing")
    if kind == "unexpected_keyword_argument":
        known = _known_keys(cls, problem["loc"])
        near = get_close_matches(str(problem["loc"][-1]), known, n=1)
        return (
            f"{path}: unknown key; {f'did you mean {near[0]!r}?' if near else 'known: ' + ', '.join(known)}"
        )
    if kind == "missing":
        return f"{path}: missing"
    if kind == "value_error":
        return ": ".join(part for part in (path, str(problem.get("ctx", {}).get("error"))) if part)
    message = problem["msg"].removeprefix("Input should be ")
    return f"{path}: expected {message}, got {_short(problem['input'])}"


def _key_path(location: tuple, data: Any, *, missing: bool = False) -> str:
    """The path of a key in the JSON, without the names of union members that pydantic puts in between."""
    path = ""
    for i, part in enumerate(location):
        if isinstance(part, int):
            path, data = f"{path}[{part}]", data[part] if part < len(data) else None
        elif isinstance(data, dict) and (part in data or (missing and i == len(location) - 1)):
            path, data = (f"{path}.{part}" if path else part), data.get(part)
    return path


def _known_keys(cls: Any, location: tuple) -> list[str]:
    """The keys of the object in which the last key of `location` was found."""
    for part in location[:-1]:
        members = [cls, *get_args(cls)]
        owner = next((m for m in members if is_dataclass(m) and part in get_type_hints(m)), None)
        if isinstance(part, int):
            cls = get_args(cls)[0]
        elif owner is not None:
            cls = get_type_hints(owner)[part]
        else:
            cls = next((m for m in members if getattr(m, "__name__", "") == part), cls)
    owner = next((m for m in [cls, *get_args(cls)] if is_dataclass(m)), None)
    return [f.name for f in fields(owner)] if owner is not None else []


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
