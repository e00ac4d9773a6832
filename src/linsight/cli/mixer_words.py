"""Mixers and other kinds as words of the command line: a kind, and after it options, with spaces between."""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, get_args, get_type_hints

from linsight import mixers

__all__ = ["mixer_config", "mixer_options", "typed_options"]


def mixer_config(words: str) -> Any:
    """The configuration that `KIND OPTION=VALUE ...` names.

    Raises:
        ValueError: An unknown kind or option, a value of another type, something that is no option.
    """
    kind, *options = words.split() or [""]
    return mixers.config(kind, **mixer_options(kind, options))


def mixer_options(kind: str, words: Sequence[str]) -> dict[str, Any]:
    """The options that `OPTION=VALUE` words give a known kind, each as the type of the option.

    Raises:
        ValueError: As `mixer_config`.
    """
    if not words:
        return {}
    options = typed_options(f"mixer {kind!r}", get_type_hints(type(mixers.config(kind))), words)
    mixers.config(kind, **options)  # refuses what is no option of the kind, such as dim
    return options


def typed_options(what: str, hints: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The options that `OPTION=VALUE` words give, each as its type; one without a type stays text.

    Raises:
        ValueError: Something that is no option of `what`, or a value of another type.
    """
    options: dict[str, Any] = {}
    for text in words:
        name, equals, value = text.partition("=")
        if not equals or name == "kind":
            raise ValueError(f"{what}: expected OPTION=VALUE after the kind, got {text!r}")
        options[name] = _value(text, hints[name]) if name in hints else value
    return options


def _value(text: str, hint: Any) -> Any:
    """The value in OPTION=VALUE, read as the type of the option."""
    from pydantic import TypeAdapter, ValidationError

    name, _, value = text.partition("=")
    if value == "None" and NoneType in get_args(hint):
        return None
    try:
        return TypeAdapter(hint).validate_strings(value)
    except ValidationError as error:
        wanted = error.errors()[0]["msg"].removeprefix("Input should be ").partition(", unable")[0]
        raise ValueError(f"{name}: expected {wanted}, got {value!r}") from None
