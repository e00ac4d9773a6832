"""The page of the scorecard: what the laws found of published libraries, in Markdown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from linsight.cli.subjects import replay
from linsight.conformance import Law, Report, Verdict
from linsight.conformance.law import Outcome

__all__ = ["Checked", "Library", "page"]

CELLS = {"kept": "✓", "broken": "**✗**", "unpromised": "(✗)", "measured": "·", "inapplicable": ""}

HEAD = """# Published libraries under the laws

The command that reproduces this page:

```
make scorecard
```

Each library is installed as published, unchanged, and put under the laws of `linsight.conformance` through an
adapter of a few lines, on a CPU. A breach says what a call computed, not what a library is worth. Every
breach has a command that repeats it.

In the table, ✓ is a law that is kept, **✗** one that is broken, (✗) one that is broken and that the library
never promised, · a figure that is reported and not judged. Where nothing stands, the law says nothing about
the module, or was not asked, because the library runs in part alone here.
"""


@dataclass(frozen=True)
class Checked:
    """What was found of one subject; `factory` is `file.py:function`, as the command that repeats it says."""

    factory: str
    report: Report


@dataclass(frozen=True)
class Library:
    """One published package.

    `causes` says for some laws where in its source a breach comes from; `note` what of the package was
    checked; `failure` is the line of the exception if it could not be imported, and then nothing was.
    """

    package: str
    version: str
    checked: Sequence[Checked] = ()
    causes: Mapping[str, str] = field(default_factory=dict)
    failure: str | None = None
    note: str = ""


def page(libraries: Sequence[Library], laws: Mapping[str, Law], facts: Mapping[str, str]) -> str:
    """The page in Markdown.

    Args:
        libraries: In the order of the page.
        laws: All laws by name, in the order of the page.
        facts: Name -> value of what the numbers depend on: date, machine, versions.
    """
    subjects = [checked.report for library in libraries for checked in library.checked]
    parts = [
        HEAD,
        _table(("", ""), facts.items()),
        "## Summary\n",
        _summary(libraries, laws),
        *(_library(library, laws, subjects) for library in libraries),
        "## The laws\n\nWhat each says, and what a breach costs.\n",
        _table(
            ("law", "says", "a breach"),
            ((law.name, _prose(law.statement), _prose(law.breach)) for law in laws.values()),
        ),
    ]
    return "\n".join(parts)


def _summary(libraries: Sequence[Library], laws: Mapping[str, Law]) -> str:
    reports = [checked.report for library in libraries for checked in library.checked]
    names = "".join(f"{number}. {report.subject}\n" for number, report in enumerate(reports, 1))
    missing = "".join(
        f"* {library.package}: not checked, {_code(library.failure)}\n"
        for library in libraries
        if library.failure
    )
    outcomes = [{verdict.law: verdict.outcome for verdict in report.verdicts} for report in reports]
    rows = (
        (name, *(CELLS[found[name]] if name in found else "" for found in outcomes))
        for name in laws
        if any(found.get(name, "inapplicable") != "inapplicable" for found in outcomes)
    )
    header = ("law", *(str(number) for number in range(1, len(reports) + 1)))
    return f"{names}\n{missing}\n{_table(header, rows)}"


def _library(library: Library, laws: Mapping[str, Law], subjects: Sequence[Report]) -> str:
    lines = [f"## {library.package} {library.version}".rstrip() + "\n"]
    if library.note:
        lines.append(f"{library.note}\n")
    if library.failure:
        lines.append(f"Not checked: {_code(library.failure)}\n")
    for checked in library.checked:
        report = checked.report
        counts = [f"{len(report.of(outcome))} {words}" for outcome, words in COUNTED if report.of(outcome)]
        lines.append(f"### {subjects.index(report) + 1}. {report.subject}\n\nLaws: {', '.join(counts)}.\n")
        lines += [
            _finding(verdict, laws[verdict.law], library.causes.get(verdict.law), checked.factory)
            for outcome in ("broken", "unpromised", "measured")
            for verdict in report.of(outcome)
        ]
    return "\n".join(lines)


COUNTED: tuple[tuple[Outcome, str], ...] = (
    ("kept", "kept"),
    ("broken", "broken"),
    ("unpromised", "broken and not promised"),
    ("measured", "measured"),
    ("inapplicable", "say nothing"),
)


def _finding(verdict: Verdict, law: Law, cause: str | None, factory: str) -> str:
    if verdict.outcome == "measured":
        return f"* **{law.name}**: {_prose(verdict.detail)}.\n"
    words = "broken" if verdict.outcome == "broken" else "broken, not promised"
    lines = [f"* **{law.name}** ({words}). {_prose(law.statement)}", f"  Found: {_code(verdict.detail)}"]
    if cause is not None:
        lines.append(f"  Why: {cause}")
    if verdict.outcome == "broken":
        lines.append(f"  What it costs: {_prose(law.breach)}")
    command = replay(f"tools/scorecard/{factory}", verdict, quick=False)
    return "\\\n".join([*lines, f"  Again: `{command}`"]) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _prose(text: str) -> str:
    """Text in which no character is taken for Markdown or mathematics."""
    return re.sub(r"([|*<$])", r"\\\1", text)


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"
