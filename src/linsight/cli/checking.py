"""Tries the laws on subject after subject, and tells each verdict as it is found."""

import json
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import torch

from linsight import conformance
from linsight.cli import verdicts
from linsight.cli.progress import watching
from linsight.cli.subjects import replay, subject_named
from linsight.conformance import Report, Subject, Verdict
from linsight.profiling import available_cores

__all__ = ["Request", "check"]

MANY = 8
"""Subjects a process must have for its start, 2 s, to be worth it."""


@dataclass(frozen=True)
class Request:
    """What to try, and the words of the command line that asked for it."""

    laws: Sequence[str]
    seeds: range
    quick: bool
    command: Sequence[str]
    jobs: int | None = None
    """Processes that share the subjects; None for as many as there are cores, where the subjects are many."""

    def replay(self, report: Report, verdict: Verdict) -> str:
        """The command that reaches a verdict again."""
        return replay(report.subject, verdict, quick=self.quick)


def check(subjects: Sequence[Subject], request: Request, *, as_json: bool, page: Path | None) -> bool:
    """Check the subjects and print the verdicts; returns whether a promised law is broken.

    Args:
        subjects: What to check.
        request: Which laws, and how hard.
        as_json: Print one JSON object at the end, and on standard error how far it is.
        page: The HTML file to write as well; its path is printed last.

    Raises:
        OSError: The page cannot be written.
    """
    # Tensors are small here: a second thread doubles the CPU time (2.7 to 5.6 s for `check linear --quick`).
    torch.set_num_threads(1)
    reports = list(_reports(subjects, request, tell=not as_json))
    if page is not None:
        from linsight.reports import conformance as pages

        pages.write(page, reports, replay=request.replay, command=shlex.join(request.command))
    if as_json:
        found = verdicts.record(reports, request.replay, seeds=request.seeds, quick=request.quick)
        print(json.dumps({**found, "html": page and str(page)}, indent=2, allow_nan=False))
    else:
        _conclude(reports, page)
    return any(report.broken for report in reports)


def _reports(subjects: Sequence[Subject], request: Request, *, tell: bool) -> Iterator[Report]:
    """The reports in the order of the subjects, each told when its turn has come."""
    workers = min(request.jobs or available_cores(), len(subjects) if request.jobs else len(subjects) // MANY)
    if workers < 2:
        yield from ((_told if tell else _examined)(subject, request) for subject in subjects)
        return
    names = [subject.name for subject in subjects]
    # Fresh processes: a copy of this one would have its threads' locks without its threads.
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        watching(lasting=not tell) as progress,
    ):
        found = pool.map(_apart, names, repeat(request.laws), repeat(request.seeds), repeat(request.quick))
        for done, report in enumerate(found, 1):
            if tell:
                print(report.subject)
                for verdict in report.verdicts:
                    print(verdicts.line(verdict))
                _sum_up(report, request)
            progress("subjects", done, len(names))
            yield report


def _apart(name: str, laws: Sequence[str], seeds: range, quick: bool) -> Report:
    """What a process of its own does: the subject is found by its name, since modules do not travel."""
    torch.set_num_threads(1)
    return conformance.check(subject_named(name), laws, seeds=seeds, quick=quick)


def _examined(subject: Subject, request: Request, *, tell: bool = False) -> Report:
    """The verdicts on a subject; each is printed as it is found, or only counted."""
    done = 0
    with watching(lasting=not tell) as progress:

        def found(verdict: Verdict) -> None:
            nonlocal done
            done += 1
            if tell:
                print(verdicts.line(verdict), flush=True)
            progress(subject.name, done, len(request.laws))

        return conformance.check(
            subject, request.laws, seeds=request.seeds, quick=request.quick, progress=found
        )


def _told(subject: Subject, request: Request) -> Report:
    """The same with everything printed: the name, the verdicts, the counts, the breaches."""
    print(subject.name)
    report = _examined(subject, request, tell=True)
    _sum_up(report, request)
    return report


def _sum_up(report: Report, request: Request) -> None:
    print(verdicts.summary(report.subject, [report]), end="\n\n")
    for verdict in report.broken:
        print(verdicts.breach(verdict, request.replay(report, verdict)), end="\n\n")


def _conclude(reports: Sequence[Report], page: Path | None) -> None:
    if len(reports) > 1:
        print(verdicts.matrix(reports), end="\n\n")
        print(verdicts.summary(f"{len(reports)} subjects", reports))
    if page is not None:
        print(page)
