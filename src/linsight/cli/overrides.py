"""Changes to a complete configuration before its fields are overridden one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

from linsight.cli.mixer_words import mixer_config

__all__ = ["kinds_in", "with_mixers"]


def with_mixers(config: Any, kinds: Sequence[str]) -> Any:
    """The configuration with the mixers of its stack replaced, each kind with the options named.

    Args:
        config: The configuration.
        kinds: Kinds of mixers, each with its options (`linear heads=2`), which take turns over the layers; or
            one name of `PATTERNS`.

    Raises:
        ValueError: An unknown kind or option, or a configuration without mixers.
    """
    # After --help, which needs no model.
    from linsight.models.sequence import PATTERNS, stacks_in, with_stacks

    names = [kind.strip() for kind in kinds]
    if len(names) == 1 and names[0] in PATTERNS:
        change = PATTERNS[names[0]]
    else:
        change = partial(replace, mixers=tuple(mixer_config(name) for name in names))
    if not any(stacks_in(config)):
        raise ValueError(f"--mixer: {type(config).__name__} has no mixers to replace")
    return with_stacks(config, change)


def kinds_in(config: Any) -> set[str]:
    """The `kind` of every configuration inside this one."""
    return {part.kind for part in _walk(config) if isinstance(getattr(part, "kind", None), str)}


def _walk(config: Any) -> Iterator[Any]:
    if isinstance(config, tuple):
        for part in config:
            yield from _walk(part)
    elif is_dataclass(config):
        yield config
        for part in fields(config):
            yield from _walk(getattr(config, part.name))
