"""Changes to a complete configuration before its fields are overridden one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from linsight import mixers

__all__ = ["kinds_in", "with_mixers"]


def with_mixers(config: Any, kinds: Sequence[str]) -> Any:
    """The configuration with its pattern of mixers replaced, each kind with its default options.

    Raises:
        ValueError: An unknown kind, or a configuration without mixers.
    """
    replaced = _replace_mixers(config, tuple(mixers.config(kind.strip()) for kind in kinds))
    if replaced is None:
        raise ValueError(f"--mixer: {type(config).__name__} has no mixers to replace")
    return replaced


def kinds_in(config: Any) -> set[str]:
    """The `kind` of every configuration inside this one."""
    return {part.kind for part in _walk(config) if isinstance(getattr(part, "kind", None), str)}


def _replace_mixers(config: Any, pattern: tuple) -> Any:
    """A copy with the first field called `mixers`, depth first, replaced; None where there is none."""
    for part in fields(config):
        value = getattr(config, part.name)
        if part.name == "mixers":
            return replace(config, mixers=pattern)
        inner = _replace_mixers(value, pattern) if is_dataclass(value) else None
        if inner is not None:
            return replace(config, **{part.name: inner})
    return None


def _walk(config: Any) -> Iterator[Any]:
    if isinstance(config, tuple):
        for part in config:
            yield from _walk(part)
    elif is_dataclass(config):
        yield config
        for part in fields(config):
            yield from _walk(getattr(config, part.name))
