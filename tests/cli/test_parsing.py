"""tyro's answers as one line each, and tags that are no options."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from tyro.conf import Positional, arg

from linsight.cli.parsing import parse


@dataclass(frozen=True)
class Inner:
    """A member of a union."""

    heads: int = 4
    mode: Literal["auto"] | bool = "auto"
    kind: Literal["inner"] = "inner"


@dataclass(frozen=True)
class Options:
    """Some of everything."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder."""
    number: Annotated[int, arg(aliases=["-n"])] = 64
    """How many."""
    split: Literal["test", "valid"] = "test"
    json: bool = False
    inner: Inner = Inner()


def read(*arguments: str) -> Options:
    return parse(Options, arguments, prog="linsight try", description="Try.", fixed={"inner"})


def test_values_arrive() -> None:
    found = read(
        "here", "-n", "3", "--split", "valid", "--json", "--inner.heads", "2", "--inner.mode", "True"
    )
    assert found == Options(Path("here"), 3, "valid", True, Inner(2, True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing RUN; linsight try --help lists all options"),
        (["x", "--numbr", "3"], "unrecognized options: --numbr, 3 (did you mean --number"),
        (["x", "-n", "3.5"], "-n/--number: invalid literal for int() with base 10: '3.5'; linsight try"),
        (["x", "-n"], "missing value for argument '-n/--number'. Expected 1 values; linsight try --help"),
        (
            ["x", "--split", "tset"],
            "invalid choice 'tset' for argument '--split'. Expected one of ('test', 'valid')",
        ),
        (["x", "--inner.kind", "inner"], "unrecognized options: --inner.kind, inner"),
    ],
)
def test_a_mistake_is_one_line_with_the_way_out(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        read(*arguments)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("linsight try --help lists all options")


def test_a_frame_of_hyphens_is_read_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output is not UTF-8, tyro draws other frames."""
    for encoding in ("ascii", "utf-8"):
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        with pytest.raises(ValueError, match=r"^unrecognized options: --numbr, 3 \(did you mean --number"):
            read("x", "--numbr", "3")


def test_a_long_message_keeps_its_words_when_it_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(ValueError, match=r"invalid choice 'tset' for argument '--split'\. Expected one of"):
        read("x", "--split", "tset")


def test_help_goes_to_standard_output_and_shows_no_tag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        read("--help")
    assert stop.value.code in (0, None)
    printed = capsys.readouterr().out
    assert "--inner.heads" in printed
    assert "--inner.mode" in printed
    assert "--inner.kind" not in printed
