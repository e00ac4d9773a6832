"""How often one call goes into another: a line with times, and only where its error is that of rounding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from linsight.profiling.clock import measure

__all__ = [
    "CLOSE",
    "Call",
    "Calls",
    "Case",
    "Speedup",
    "Unmeasured",
    "doubled",
    "largest_error",
    "measure_ratio",
    "measure_ratios",
]

CLOSE = 1e-5
"""Relative error to float64 above which nothing is measured; kernels have some 1e-7."""
Call = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Speedup:
    """One line: what we take, what the other takes, and how often the first goes into the second.

    Milliseconds are medians of processor time of one thread, both taking turns; None where there is nothing
    to measure, and `note` says why. `error` is ours, relative to the float64 definition. `goal` is what we
    want, `gate` what must hold.
    """

    op: str
    what: str
    other: str
    goal: float
    gate: float
    our_ms: float | None = None
    other_ms: float | None = None
    error: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How often ours goes into the other; a share of the peak where the other is a product."""
        return None if self.our_ms is None or self.other_ms is None else self.other_ms / self.our_ms

    @property
    def missed(self) -> bool:
        """Whether it was measured and stays below its gate."""
        return self.ratio is not None and self.ratio < self.gate


class Calls(NamedTuple):
    """Ours, what it is measured against, and ours by its definition in float64, with the same outputs."""

    ours: Call
    other: Call
    exact: Call


class Case(NamedTuple):
    """A line without numbers, and what makes its calls when its turn comes.

    `make` raises `Unmeasured`, or ImportError where the other is not installed. There are `least` rounds at
    least; fewer than five where a call takes seconds.
    """

    line: Speedup
    make: Callable[[], Calls]
    least: int = 5


class Unmeasured(Exception):
    """Why a line has no numbers, in a few words."""


def measure_ratios(
    cases: Sequence[Case], *, seconds: float = 3.0, progress: Callable[[str, int, int], object] | None = None
) -> Iterator[Speedup]:
    """The lines with their numbers, one after another.

    Args:
        cases: What to measure; the calls of one are gone before those of the next are made.
        seconds: Processor time for each line, but for the least number of its rounds.
        progress: Called as `("kernels", done, total)` after each line.
    """
    for done, case in enumerate(cases, 1):
        yield measure_ratio(case, seconds=seconds)
        if progress:
            progress("kernels", done, len(cases))


def measure_ratio(case: Case, *, seconds: float = 3.0) -> Speedup:
    """The line with its numbers, or with a note of why there are none: what is wrong has no speed."""
    torch.set_num_threads(1)
    try:
        calls = case.make()
    except (Unmeasured, ImportError) as error:
        return replace(case.line, note=str(error))
    error = largest_error(calls.ours(), calls.exact())
    if not error < CLOSE:
        return replace(case.line, note=f"its self-check is red: relative error {error:.0e}")
    times = measure({"ours": calls.ours, "other": calls.other}, seconds=seconds, least=case.least)
    return replace(case.line, our_ms=times["ours"].median, other_ms=times["other"].median, error=error)


def largest_error(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """The largest relative error of the tensors, each of all its numbers together; NaN where one is NaN."""
    pairs = [(doubled(a), doubled(b)) for a, b in zip(found, exact, strict=True)]
    return float(torch.stack([(a - b).norm() / b.norm() for a, b in pairs]).max())


def doubled(x: Tensor) -> Tensor:
    """In float64, or complex128."""
    return x.to(torch.complex128 if x.is_complex() else torch.float64)
