"""`pytest --linsight-conformance SUBJECT`: every law of the contract as a test of the subject."""

import argparse
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

# pytest loads this file at every start, in every project: torch and the kit wait until the option is given.

MARKER = "linsight_conformance"


class Broken(Exception):
    """A law does not hold; the text is all there is to say."""


class Conformance(pytest.Collector):
    """A subject, by its word on the command line; its tests are the laws."""

    def collect(self) -> Iterator["LawTest"]:
        """A test for every law that the effort includes."""
        from linsight.cli.main import raised_by_linsight
        from linsight.cli.subjects import laws_named, subject_named

        try:
            subject = subject_named(self.name)
        except Exception as error:
            if raised_by_linsight(error):
                raise self.CollectError(str(error)) from None
            raise  # out of the subject's own file: with its traceback
        for law in laws_named([], quick=self.config.option.linsight_quick):
            test = LawTest.from_parent(self, name=law, subject=subject)
            test.add_marker(MARKER)
            yield test


class LawTest(pytest.Item):
    """One law on one subject: `file.py:factory::split`."""

    def __init__(self, *, subject: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.subject = subject

    def runtest(self) -> None:
        """Pass if the law is kept or measures, skip if it says nothing, fail or xfail if it is broken."""
        from linsight.cli.subjects import replay
        from linsight.cli.verdicts import breach
        from linsight.conformance import LAWS, examine

        option = self.config.option
        seeds, quick = range(option.linsight_seeds), option.linsight_quick
        verdict = examine(self.subject, LAWS[self.name], seeds=seeds, quick=quick)
        if verdict.outcome == "inapplicable":
            pytest.skip(verdict.detail)
        if verdict.outcome == "unpromised":
            pytest.xfail(verdict.detail)  # which comes back here under --runxfail
        if verdict.outcome in ("broken", "unpromised"):
            raise Broken(breach(verdict, replay(self.subject.name, verdict, quick=quick)))
        self.add_report_section("call", "verdict", f"{verdict.outcome}: {verdict.detail}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is broken, without the frames of the kit."""
        return str(excinfo.value) if isinstance(excinfo.value, Broken) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        """The file, no line of it, and the headline of a failure."""
        return self.path, None, f"{self.name} of {self.subject.name}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("linsight", "laws of token mixers")
    group.addoption(
        "--linsight-conformance",
        action="append",
        default=[],
        metavar="SUBJECT",
        help="test FILE.py:FACTORY, or a kind of mixer, for every law of linsight.conformance; repeatable",
    )
    group.addoption("--linsight-quick", action="store_true", help="leave out the laws that take long")
    group.addoption(
        "--linsight-seeds", type=_count, default=1, metavar="N", help="try every law with N seeds (default 1)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the tests selectable: `-m linsight_conformance` runs no others."""
    config.addinivalue_line("markers", f"{MARKER}: a law of linsight.conformance")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Put the subjects beside the folders of tests."""
    report = yield
    if isinstance(collector, pytest.Session):
        for word in dict.fromkeys(collector.config.option.linsight_conformance):
            file = Path(word.rpartition(":")[0])  # tracebacks begin there
            path = {"path": file.absolute()} if file.is_file() else {}
            report.result.append(Conformance.from_parent(collector, name=word, nodeid=word, **path))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skipped law be of its subject, and not of the line above that skips it."""
    report = yield
    if isinstance(item, LawTest) and isinstance(report.longrepr, tuple):
        report.longrepr = (item.subject.name, None, report.longrepr[2])  # type: ignore[assignment]
    return report


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return int(text)
