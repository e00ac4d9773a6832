"""Command lines to dataclasses by tyro, with every mistake as one line."""

import contextlib
import difflib
import io
import re
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

__all__ = ["choose", "parse"]

T = TypeVar("T")

FRAME = " \t│╭╮╰╯─|+-"
MARKERS = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff, tyro.conf.SuppressFixed)


def parse(
    options: type[T],
    arguments: Sequence[str],
    *,
    prog: str,
    description: str,
    default: T | None = None,
    fixed: Collection[str] = (),
) -> T:
    """Read the arguments of a verb into a dataclass; `--help` prints and raises `SystemExit(0)`.

    Args:
        options: The dataclass; its docstrings under the fields are the help.
        arguments: What stands after the verb.
        prog: The verb as typed, for `--help`.
        description: The text above the options.
        default: The values to start from; unions inside it keep their member.
        fixed: The tags of those members: a field that can only be one of them is no option.

    Raises:
        ValueError: An unknown, missing or wrong argument, in one line with tyro's suggestion.
    """
    kwargs: dict[str, Any] = {} if default is None else {"default": default}
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parsed = tyro.cli(
                options,
                args=list(arguments),
                prog=prog,
                description=description,
                config=MARKERS,
                registry=_registry(fixed),
                **kwargs,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(f"{_sentence(errors.getvalue())}; {prog} --help lists all options") from None
    return cast(T, parsed)


def choose(what: str, name: str, known: Collection[str]) -> str:
    """The name, if it is known.

    Raises:
        ValueError: It is not; with the nearest one, or all.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise ValueError(f"unknown {what} {name!r}; {guess}")
    return name


def _registry(fixed: Collection[str]) -> ConstructorRegistry:
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def hide_tags(
        info: PrimitiveTypeInfo,
    ) -> PrimitiveConstructorSpec | UnsupportedTypeAnnotationError | None:
        # A type that cannot be read from text, with a default, is fixed, and so not shown.
        if (
            get_origin(info.type) is Literal
            and len(get_args(info.type)) == 1
            and get_args(info.type)[0] in fixed
        ):
            return UnsupportedTypeAnnotationError(())
        return None

    return registry


def _sentence(box: str) -> str:
    """The framed message of tyro as one line: what is wrong, then the options it suggests.

    The frame is drawn with lines, or with hyphens where the terminal's encoding has none; the title stands in
    the frame or above a rule.
    """
    lines = [line.strip(" \t│|") for line in box.splitlines()]
    parts = [
        list(part) for is_rule, part in groupby(lines[1:], lambda line: not line.strip(FRAME)) if not is_rule
    ]
    message = " ".join(parts[0]).rstrip(".")
    message = re.sub(r"^Error parsing (\S+?):? ", r"\1: ", message)
    message = re.sub(r"^Missing from .+?: (\S+) .*", r"missing \1", message)
    message = message[:1].lower() + message[1:]
    flags = [re.search(r"--[\w.-]+", line) for part in parts[1:] for line in part if line.startswith("-")]
    suggested = [flag.group() for flag in flags if flag]
    if suggested and message.startswith("unrecognized"):
        message += f" (did you mean {' or '.join(dict.fromkeys(suggested))}?)"
    return message
