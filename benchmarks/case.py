"""What a benchmark is made of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Candidate", "Case", "Limit", "Table"]


@dataclass(frozen=True)
class Candidate:
    """One way to compute something.

    `error()` is the relative RMS error to the float64 definition of what this candidate computes; `flops`
    counts the operations that it executes in matrix products.
    """

    call: Callable[[], object]
    error: Callable[[], float]
    flops: float


@dataclass(frozen=True)
class Table:
    """Candidates timed together. `bars` holds the least speed-up over `baseline` that some must reach."""

    title: str
    baseline: str
    candidates: Mapping[str, Candidate]
    bars: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Limit:
    """A quantity that is not compared with another candidate's, and the most it may be."""

    title: str
    value: float
    unit: str
    most: float


@dataclass(frozen=True)
class Case:
    """A benchmark: its tables and limits, and the tests that must pass before they mean anything."""

    help: str
    tests: tuple[str, ...]
    tables: Callable[[], Iterator[Table]] = lambda: iter(())
    limits: Callable[[], Iterator[Limit]] = lambda: iter(())
