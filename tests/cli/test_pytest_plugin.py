"""`pytest --linsight-conformance`: a law is a test, through pytest itself in a folder of somebody else."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from linsight.conformance import LAWS

# PYTEST_ variables are of the pytest that runs this file.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
# What the outer pytest has imported the inner one cannot rewrite, and what faults is the outer one's to tell.
INNER = ["-p", "no:cacheprovider", "-p", "no:faulthandler", "-W", "ignore::pytest.PytestAssertRewriteWarning"]


def run(*arguments: str, code: int) -> str:
    """What pytest prints in the current folder, called in this process."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        for name in os.environ.keys() - ENVIRONMENT.keys():
            patch.delenv(name)
        found = pytest.main([*INNER, "--import-mode=importlib", *arguments])
    assert found == code, printed.getvalue()
    return printed.getvalue()


def start(*command: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, as a user has it."""
    command = (sys.executable, *command)
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=ENVIRONMENT)


def options(*factories: str) -> list[str]:
    return [f"--linsight-conformance=mine.py:{factory}" for factory in factories]


def test_every_outcome_has_its_report_and_no_test_file_is_needed(modules: Path) -> None:
    laws = "prefix or split or cost-growth"
    printed = run(*options("mean", "hasty", "tolerated"), "-k", laws, "-rA", code=1)
    assert re.search(r"= 1 failed, 4 passed, 3 skipped, \d+ deselected, 1 xfailed in", printed)
    summary = printed.partition("short test summary info")[2]
    assert "PASSED mine.py:mean::prefix\n" in summary
    assert "PASSED mine.py:hasty::cost-growth\n" in summary
    assert "FAILED mine.py:hasty::prefix - prefix is broken\n" in summary
    assert "SKIPPED [1] mine.py:mean: it has no state\n" in summary
    assert re.search(r"XFAIL mine.py:tolerated::prefix - .*\(lengths are <fixed>\)\n", summary)
    assert "measured: time grows as T^" in printed


def test_a_failure_is_evidence_without_a_traceback(modules: Path) -> None:
    printed = run(*options("hasty"), "--linsight-quick", "-k", "prefix", code=1)
    (failure,) = re.findall(r"_+ prefix of mine.py:hasty _+\n(.*?)\n=", printed, re.DOTALL)
    assert failure.startswith("prefix is broken\n  found     ")
    words = " ".join(failure.split())
    for expected in ("worst at [", LAWS["prefix"].statement, LAWS["prefix"].breach):
        assert expected in words
    assert failure.endswith("linsight check mine.py:hasty --law prefix --seed 0 --quick")
    assert "Error" not in printed
    assert "plugin.py" not in printed


def test_every_law_is_collected_beside_the_project_s_tests(modules: Path) -> None:
    (modules / "test_own.py").write_text("def test_own(): pass\n")
    kind = "--linsight-conformance=linear feature_map=relu"
    every = run(kind, *options("mean", "mean"), "--collect-only", "-q", code=0).splitlines()
    subjects = ("linear feature_map=relu", "mine.py:mean")
    laws = [f"{subject}::{law}" for subject in subjects for law in LAWS]
    assert every[: len(laws) + 1] == ["test_own.py::test_own", *laws]
    quick = run(*options("mean"), "--linsight-quick", "-m", "linsight_conformance", "--co", "-q", code=0)
    expected = [f"mine.py:mean::{law.name}" for law in LAWS.values() if law.quick]
    assert quick.splitlines()[: len(expected) + 1] == [*expected, ""]


def test_seeds_are_tried_up_to_the_first_breach(modules: Path) -> None:
    causality = [*options("rare"), "-k", "causality"]
    assert "1 passed" in run(*causality, "--linsight-seeds=4", code=0)
    assert "--law causality --seed 4\n" in run(*causality, "--linsight-seeds=9", code=1)


def test_promises_count_under_runxfail(modules: Path) -> None:
    printed = run(*options("tolerated"), "-k", "prefix", "--runxfail", code=1)
    assert "prefix is broken" in printed


def test_workers_of_xdist_share_the_laws(modules: Path) -> None:
    """The real command, and processes that it starts."""
    line = ["-m", "pytest", "-p", "no:cacheprovider", *options("mean", "tolerated"), "-k", "prefix or split"]
    done = start(*line, "-n", "2", "-v")
    printed = done.stdout
    assert done.returncode == 0, printed + done.stderr
    assert "1 passed, 2 skipped, 1 xfailed" in printed
    assert "PASSED mine.py:mean::prefix" in printed


def test_a_mistake_is_one_line(modules: Path) -> None:
    printed = run(*options("median"), "--linsight-conformance=lineer", code=2)
    assert "ERROR collecting mine.py:median" in printed
    assert "mine.py: no function 'median'; it defines " in printed
    assert "\nunknown subject 'lineer'; did you mean 'linear'?\n" in printed
    assert "Error:" not in printed


def test_a_factory_that_fails_is_shown_where(modules: Path) -> None:
    printed = run(*options("fails"), code=2)
    line = (modules / "mine.py").read_text().splitlines().index(
        '    raise RuntimeError("no weights here")'
    ) + 1
    assert f"\nmine.py:{line}: in fails\n" in printed
    assert "RuntimeError: no weights here" in printed


def test_no_seed_at_all_is_refused(modules: Path) -> None:
    done = start("-m", "pytest", "--linsight-seeds=0")
    assert done.returncode == 4
    assert "argument --linsight-seeds: expected at least 1, got 0" in done.stderr


@pytest.mark.parametrize("code", ["import linsight.cli.pytest_plugin", "import pytest; pytest.main(['-q'])"])
def test_a_start_of_pytest_loads_nothing_slow(code: str, modules: Path) -> None:
    slow = ("torch", "tyro", "linsight.conformance")
    show = f"import sys; print([name for name in {slow} if name in sys.modules])"
    done = start("-c", f"{code}; {show}")
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr
