"""The base of every configuration dataclass: plain data that refuses unknown keys."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

__all__ = ["Config", "of_kind"]


class Config:
    """Base of the frozen dataclasses that describe linsight's objects.

    A configuration is complete and plain: numbers, strings, tuples and other configurations, told apart by
    a `kind` tag. It is written to JSON and read back exactly; an unknown key is an error, since a misspelt
    option that is silently ignored is the costliest kind of mistake.
    """

    # A plain dict, read by pydantic where JSON is parsed: this layer needs no dependency for it.
    __pydantic_config__: ClassVar = {"extra": "forbid"}


def of_kind(what: str, kinds: Mapping[str, type[Any]], kind: str, options: Mapping[str, Any]) -> Any:
    """The configuration of this kind of `what`, with `options` as its fields.

    Raises:
        ValueError: An unknown kind, or an option that this kind does not have.
    """
    if kind not in kinds:
        raise ValueError(f"{what} {kind!r} is not known; choose one of {', '.join(kinds)}")
    known = [option.name for option in fields(kinds[kind]) if option.name != "kind"]
    for option in options:
        if option not in known:
            raise ValueError(f"{what} {kind!r} has no option {option!r}; it has {', '.join(known)}")
    return kinds[kind](**options)
