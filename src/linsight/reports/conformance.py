"""The page of the conformance kit: laws by subjects, every breach with its evidence, every law in words."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from linsight.conformance import LAWS, Report, Verdict
from linsight.reports.environment import environment
from linsight.reports.page import template
from linsight.training.files import write_atomically

__all__ = ["render", "write"]


SIGNS = {
    "kept": "\N{CHECK MARK}",
    "broken": "\N{BALLOT X}",
    "unpromised": "(\N{BALLOT X})",
    "inapplicable": "\N{MIDDLE DOT}",
    "measured": "\N{ALMOST EQUAL TO}",
}
"""Of the outcomes; the page says every one in words as well."""


def write(
    path: Path, reports: Sequence[Report], *, replay: Callable[[Report, Verdict], str], command: str
) -> None:
    """Write the page, with the environment it was made in.

    Args:
        path: The HTML file.
        reports: Of the subjects, with the same laws in the same order.
        replay: The command that reaches a verdict of a report again.
        command: The command that makes the page.

    Raises:
        OSError: The file cannot be written.
    """
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    page = render(reports, replay=replay, command=command, environment=environment(), date=now)
    write_atomically(path, page.encode())


def render(
    reports: Sequence[Report],
    *,
    replay: Callable[[Report, Verdict], str],
    command: str,
    environment: Mapping[str, str],
    date: str,
) -> str:
    """The page as HTML, readable on light and dark screens and on paper, without scripts."""
    laws = [LAWS[verdict.law] for verdict in reports[0].verdicts]
    outcomes = Counter(verdict.outcome for report in reports for verdict in report.verdicts)
    subject = reports[0].subject if len(reports) == 1 else f"{len(reports)} subjects"
    return template("conformance.html").render(
        title=f"Conformance: {subject}",
        subtitle=f"{len(laws)} {'law' if len(laws) == 1 else 'laws'} of the contract, {date}",
        signs=SIGNS,
        outcomes={outcome: outcomes[outcome] for outcome in SIGNS if outcomes[outcome]},
        subjects=[_subject(report, replay) for report in reports],
        rows=list(zip(laws, zip(*(report.verdicts for report in reports), strict=True), strict=True)),
        laws={law.name: law for law in laws},
        command=command,
        environment=environment,
    )


def _subject(report: Report, replay: Callable[[Report, Verdict], str]) -> dict[str, Any]:
    """A report as the page tells it; breaches come with their commands, broken promises first."""
    breaches = [(verdict, replay(report, verdict)) for verdict in (*report.broken, *report.of("unpromised"))]
    outcomes = Counter(verdict.outcome for verdict in report.verdicts)
    return {
        "name": report.subject,
        "verdicts": report.verdicts,
        "counts": ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in SIGNS if outcomes[outcome]),
        "seconds": sum(verdict.seconds for verdict in report.verdicts),
        "breaches": breaches,
    }
