"""A law: what must hold of a mixer, why, on which inputs and to which tolerance; and the verdict on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Breach", "Evidence", "Law", "Need", "Outcome", "Verdict", "law"]

Outcome = Literal["kept", "broken", "unpromised", "inapplicable", "measured"]
"""`unpromised`: broken, and the module's author never promised it; `measured`: a figure, not judged."""

Need = Callable[[Any, Any], str | None]
"""Why a law says nothing about an adapter of a subject, or None if it applies."""


@dataclass(frozen=True)
class Evidence:
    """The worst place of a comparison: enough to see the breach, and with the seed to replay it."""

    what: str
    """What was compared."""
    index: tuple[int, ...] = ()
    """Where in the tensor the values differ most."""
    got: float | None = None
    want: float | None = None
    error: float | None = None
    """In the measure that `tolerance` bounds, relative RMS where nothing else is said."""
    tolerance: float | None = None

    def __str__(self) -> str:
        text = self.what
        if self.error is not None:
            text += f": error {self.error:.3g}, allowed {self.tolerance:.3g}"
        if self.got is not None:
            text += f"; worst at {list(self.index)}: {self.got:.6g} instead of {self.want:.6g}"
        return text


class Breach(AssertionError):
    """A law does not hold; `evidence` says where."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(str(evidence))
        self.evidence = evidence


@dataclass(frozen=True)
class Verdict:
    """What one law found of one module.

    `detail` is one line: the evidence of a breach, the reason of an `inapplicable` law, a measured figure, or
    the largest error that a kept law saw. `seed` replays it.
    """

    law: str
    outcome: Outcome
    detail: str
    seed: int
    seconds: float = 0.0
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Law:
    """One law of the contract, told in words and tested by a function.

    `test(subject, trial)` builds modules from the subject, draws inputs from the trial, compares through it,
    and raises `Breach`. What it returns, if anything, is a figure to report in place of a judgement.
    """

    name: str
    statement: str
    """What holds, in a sentence."""
    reason: str
    """Why it must: the paper or the reasoning."""
    breach: str
    """What a breach costs a user."""
    inputs: str
    """What is drawn."""
    tolerance: str
    """How close, and where the number comes from."""
    test: Callable[[Any, Any], str | None]
    needs: tuple[Need, ...] = ()
    quick: bool = True
    """Whether `linsight check --quick` runs it."""

    def inapplicable(self, adapter: Any, subject: Any) -> str | None:
        """Why the law says nothing about this module, or None."""
        return next((why for need in self.needs if (why := need(adapter, subject)) is not None), None)


def law(
    *,
    statement: str,
    reason: str,
    breach: str,
    inputs: str,
    tolerance: str,
    needs: tuple[Need, ...] = (),
    quick: bool = True,
) -> Callable[[Callable[[Any, Any], str | None]], Law]:
    """Make a `Law` of a test function; the function's name, in words, is the law's."""

    def make(test: Callable[[Any, Any], str | None]) -> Law:
        name = test.__name__.replace("_", "-")
        return Law(name, statement, reason, breach, inputs, tolerance, test, needs, quick)

    return make
