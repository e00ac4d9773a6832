"""Run benchmarks: tests first, then peaks, then every table of every case."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import torch

from benchmarks.machine import machine
from benchmarks.registry import CASES
from benchmarks.report import falls_short, lines
from linsight.profiling import PRODUCT, measure, peaks

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the cases named and print Markdown.

    Returns:
        0 if every bar is reached, 1 if one is missed or a test fails (then nothing is measured: a fast wrong
        answer has no speed), 2 for a misspelt case.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (default: all)")
    parser.add_argument("--seconds", type=float, default=10.0, help="processor time for a table (default 10)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/HARDWARE-DATE.md too")
    arguments = parser.parse_args(argv)
    names = arguments.cases or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"case {unknown[0]!r} is not known; choose from {', '.join(CASES)}")
    tests = sorted({test for name in names for test in CASES[name].tests})
    if not _pass(tests):
        print(f"nothing measured: these tests fail: python -m pytest {' '.join(tests)}", file=sys.stderr)
        return 1
    text: list[str] = []

    def write(line: str) -> None:
        print(line, flush=True)
        text.append(line)

    reached = _run(names, arguments.seconds, write)
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{machine().slug}-{date.today().isoformat()}.md"
        path.write_text("\n".join(text))
        print(f"written: {path.relative_to(ROOT)}")
    return 0 if reached else 1


def _run(names: Sequence[str], seconds: float, write: Callable[[str], None]) -> bool:
    torch.set_num_threads(1)
    write(f"`python -m benchmarks {' '.join(names)}`, {date.today().isoformat()}\n")
    write(f"{machine()}\n")
    write("Milliseconds are processor time of one call on one thread; candidates take turns in one process.")
    write("GFLOP/s count the matrix products executed; errors are relative RMS to the float64 definition of")
    write("the same function, the largest among outputs, or among the gradients of q, k, v.\n")
    best = peaks()
    write(f"Peaks: {', '.join(f'{name} {peak.rate:.3g} {peak.unit}' for name, peak in best.items())}\n")
    reached = True
    for name in names:
        write(f"## {name}: {CASES[name].help}\n")
        for table in CASES[name].tables():
            errors = {key: candidate.error() for key, candidate in table.candidates.items()}
            calls = {key: candidate.call for key, candidate in table.candidates.items()}
            timings = measure(calls, seconds=seconds)
            for line in lines(table, timings, errors, best[PRODUCT].rate):
                write(line)
            reached &= not falls_short(table, timings)
        for limit in CASES[name].limits():
            kept = limit.value <= limit.most
            size, most = f"{limit.value:.3g} {limit.unit}", f"at most {limit.most:.3g}"
            write(f"{limit.title}: {size}, {most}: {'reached' if kept else 'missed'}\n")
            reached &= kept
    write(f"Load average at the end: {machine().load:.1f}\n")
    return reached


def _pass(tests: Sequence[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", *tests]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
