"""Runs laws on a subject: every verdict with its evidence and the seed that replays it."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import Breach, Evidence, Law, Outcome, Verdict
from linsight.conformance.subject import Subject
from linsight.conformance.table import LAWS
from linsight.conformance.trial import Trial

__all__ = ["Report", "check", "examine"]


@dataclass(frozen=True)
class Report:
    """The verdicts of all laws on one subject, in the order of the table."""

    subject: str
    verdicts: tuple[Verdict, ...]

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The laws that are broken though they were promised."""
        return self.of("broken")

    def of(self, outcome: Outcome) -> tuple[Verdict, ...]:
        """The verdicts with one outcome."""
        return tuple(verdict for verdict in self.verdicts if verdict.outcome == outcome)


def check(
    subject: Subject,
    laws: Iterable[str] | None = None,
    *,
    seeds: Iterable[int] = (0,),
    quick: bool = False,
    progress: Callable[[Verdict], None] | None = None,
) -> Report:
    """Put a subject under laws.

    Args:
        subject: What to check.
        laws: Names from `LAWS`; None for all that the effort includes.
        seeds: Each law is tried with all of them, up to the first breach.
        quick: Leave out the laws that take long, and shorten the inputs of the others.
        progress: Called with every verdict as it is found.

    Raises:
        ValueError: A law that does not exist.
        RuntimeError: The subject's recipe fails.
    """
    verdicts = []
    for law in _chosen(laws, quick):
        verdict = examine(subject, law, seeds=seeds, quick=quick)
        verdicts.append(verdict)
        if progress is not None:
            progress(verdict)
    return Report(subject.name, tuple(verdicts))


def examine(subject: Subject, law: Law, *, seeds: Iterable[int] = (0,), quick: bool = False) -> Verdict:
    """The verdict of one law on one subject.

    An exception that is no `Breach` breaks the law too: the module did not do what the law asks of it.

    Raises:
        RuntimeError: The subject's recipe fails.
    """
    start = time.perf_counter()
    verdict = Verdict(law.name, "inapplicable", "no seed was given", 0, 0.0)
    for seed in seeds:
        verdict = _judge(subject, law, Trial(seed, quick=quick))
        if verdict.outcome != "kept":
            break
    return replace(verdict, seconds=time.perf_counter() - start)


def _judge(subject: Subject, law: Law, trial: Trial) -> Verdict:
    unpromised: Mapping[str, str] = {}
    try:
        # Modules may draw: what they draw must not depend on the law before, nor disturb the caller's draws.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial.seed)
            adapter = _built(subject)
            unpromised = adapter.unpromised
            why = law.inapplicable(adapter, subject)
            if why is not None:
                return Verdict(law.name, "inapplicable", why, trial.seed)
            figure = law.test(subject, trial)
    except NotBuilt:
        raise
    except Exception as error:
        evidence = error.evidence if isinstance(error, Breach) else None
        detail = str(evidence) if evidence else f"{type(error).__name__}: {' '.join(str(error).split())}"
        if law.name in unpromised:
            return Verdict(
                law.name, "unpromised", f"{detail} ({unpromised[law.name]})", trial.seed, evidence=evidence
            )
        return Verdict(law.name, "broken", detail, trial.seed, evidence=evidence)
    if figure is not None:
        return Verdict(law.name, "measured", figure, trial.seed)
    return Verdict(law.name, "kept", _margin(trial.worst), trial.seed, evidence=trial.worst)


class NotBuilt(RuntimeError):
    """A recipe that fails leaves nothing to judge."""


def _built(subject: Subject) -> Adapter:
    try:
        return subject.build()
    except Exception as error:
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise NotBuilt(f"{subject.name}: cannot be built: {message}") from error


def _margin(worst: Evidence | None) -> str:
    """How far a kept law was from broken."""
    if worst is None:
        return "exactly"
    return f"error at most {worst.error:.2g}, allowed {worst.tolerance:.2g} ({worst.what})"


def _chosen(names: Iterable[str] | None, quick: bool) -> list[Law]:
    if names is None:
        return [law for law in LAWS.values() if law.quick or not quick]
    chosen = []
    for name in names:
        if name not in LAWS:
            raise ValueError(f"law {name!r} is not known; choose of {', '.join(LAWS)}")
        chosen.append(LAWS[name])
    return chosen
