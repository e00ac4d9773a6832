"""Verdicts of the conformance kit in words for a terminal, and as plain data for JSON."""

import math
import platform
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import torch

import linsight
from linsight.conformance import LAWS, Report, Verdict

__all__ = ["breach", "laws_data", "laws_text", "line", "matrix", "record", "summary"]

MARKS = {"kept": "+", "broken": "X", "unpromised": "u", "inapplicable": ".", "measured": "m"}
NAMES = max(map(len, LAWS))
OUTCOMES = max(map(len, MARKS))
WIDTH = 100
"""Of paragraphs."""
LINE = 160
"""Of a detail that is kept on one line."""
COLUMNS = 18
"""Subjects side by side: 78 characters, so that a plain terminal shows them."""


def line(verdict: Verdict) -> str:
    """A verdict as one line: law, outcome, seconds, detail."""
    head = f"  {verdict.law:<{NAMES}}  {verdict.outcome:<{OUTCOMES}}  {verdict.seconds:5.2f} s"
    return f"{head}  {textwrap.shorten(_short(verdict), LINE, placeholder=' ...')}"


def summary(name: str, reports: Sequence[Report]) -> str:
    """How often each outcome came in all, and how long it took, as one line."""
    found = [verdict for report in reports for verdict in report.verdicts]
    number = Counter(verdict.outcome for verdict in found)
    parts = [
        f"{number['kept']} {'law' if number['kept'] == 1 else 'laws'} kept",
        f"{number['broken']} broken",
    ]
    parts += [f"{number['unpromised']} unpromised"] if number["unpromised"] else []
    says = "says" if number["inapplicable"] == 1 else "say"
    parts += [f"{number['inapplicable']} {says} nothing"] if number["inapplicable"] else []
    parts += [f"{number['measured']} measured"] if number["measured"] else []
    return f"{name}: {', '.join(parts)}; {sum(verdict.seconds for verdict in found):.1f} s"


def breach(verdict: Verdict, command: str) -> str:
    """A broken law as a paragraph: the evidence, what should hold, what it costs, how to see it again."""
    law = LAWS[verdict.law]
    told = {"found": verdict.detail, "the law": law.statement, "the cost": law.breach}
    lines = [f"{law.name} is broken"]
    for name, text in told.items():
        lines.append(textwrap.fill(text, WIDTH, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12))
    return "\n".join([*lines, f"  {'replay':<10}{command}"])


def matrix(reports: Sequence[Report]) -> str:
    """Laws by subjects, a mark for every verdict; subjects are numbered, and named below."""
    lines: list[str] = []
    for first in range(0, len(reports), COLUMNS):
        block = reports[first : first + COLUMNS]
        lines.append(_row("", [str(number) for number in range(first + 1, first + len(block) + 1)]))
        for verdicts in zip(*(report.verdicts for report in block), strict=True):
            lines.append(_row(verdicts[0].law, [MARKS[verdict.outcome] for verdict in verdicts]))
        lines.append("")
    found = {verdict.outcome for report in reports for verdict in report.verdicts}
    legend = ", ".join(f"{mark} {outcome}" for outcome, mark in MARKS.items() if outcome in found)
    named = [f"{number:>4}  {report.subject}" for number, report in enumerate(reports, 1)]
    return "\n".join([*lines, f"  {legend}", "", *named])


def record(
    reports: Iterable[Report], replay: Callable[[Report, Verdict], str], *, seeds: Sequence[int], quick: bool
) -> dict[str, Any]:
    """Reports as plain data, as `linsight check --json` prints them; NaN and infinities are text."""
    return {
        "linsight": linsight.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
        "seeds": list(seeds),
        "quick": quick,
        "subjects": [
            {
                "name": report.subject,
                "outcomes": dict.fromkeys(MARKS, 0) | Counter(verdict.outcome for verdict in report.verdicts),
                "seconds": sum(verdict.seconds for verdict in report.verdicts),
                "verdicts": [
                    _finite(asdict(verdict)) | {"replay": replay(report, verdict)}
                    for verdict in report.verdicts
                ],
            }
            for report in reports
        ],
    }


def laws_text() -> str:
    """Every law with its statement and what a breach costs."""
    told = []
    for law in LAWS.values():
        texts = (law.statement, f"A breach: {law.breach}")
        lines = [textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ") for text in texts]
        told.append("\n".join([law.name, *lines]))
    return "\n\n".join(told)


def laws_data() -> list[dict[str, Any]]:
    """Every law as plain data."""
    words = ("name", "statement", "reason", "breach", "inputs", "tolerance", "quick")
    return [{word: getattr(law, word) for word in words} for law in LAWS.values()]


def _short(verdict: Verdict) -> str:
    evidence = verdict.evidence
    if verdict.outcome == "kept" and evidence is not None and evidence.error is not None:
        return f"error {evidence.error:.1e}, allowed {evidence.tolerance:.0e}"
    return verdict.detail


def _row(name: str, cells: Iterable[str]) -> str:
    return f"  {name:<{NAMES}}" + "".join(f"{cell:>3}" for cell in cells)


def _finite(value: Any) -> Any:
    """The value with every NaN and infinity in it as text: JSON has no others."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
