"""The base of every configuration dataclass: plain data that refuses unknown keys."""

from typing import ClassVar

__all__ = ["Config"]


class Config:
    """Base of the frozen dataclasses that describe linsight's objects.

    A configuration is complete and plain: numbers, strings, tuples and other configurations, told apart by
    a `kind` tag. It is written to JSON and read back exactly; an unknown key is an error, since a misspelt
    option that is silently ignored is the costliest kind of mistake.
    """

    # A plain dict, read by pydantic where JSON is parsed: this layer needs no dependency for it.
    __pydantic_config__: ClassVar = {"extra": "forbid"}
