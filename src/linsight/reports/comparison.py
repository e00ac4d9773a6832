"""A comparison as a table and as figures: quality against what it costs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import isfinite, isnan, nan
from typing import NamedTuple

from linsight.metrics import mean_interval
from linsight.tasks.exhibits import Curves, Exhibit, Table
from linsight.training.comparison import Result

__all__ = ["comparison_exhibits"]

History = dict[str, tuple[list[int], list[float]]]


class _Member(NamedTuple):
    """One of those compared, with every seed."""

    mean: Result
    """The means over the seeds that were trained, under the first one's name; or that nothing was."""
    trained: list[Result]

    def told(self, value: Callable[[Result], float]) -> str:
        """The mean of a number over the seeds and half its interval; the number itself where all have it.

        Nothing where they have none, as a head without a density has no coverage.
        """
        values = [value(result) for result in self.trained]
        interval = mean_interval(values)
        if isnan(interval.mean):
            return ""
        number = f"{interval.mean:,.0f}" if abs(interval.mean) >= 1000 else f"{interval.mean:.4g}"
        return number if min(values) == max(values) else f"{number} ± {interval.half_width:.2g}"


def comparison_exhibits(
    found: Sequence[Result], *, headline: str, falls: bool, budget: str, beside: Sequence[str] = ()
) -> tuple[Table, *tuple[Exhibit, ...]]:
    """Members in a table, best first; the headline metric against state, time, memory and parameters.

    Results of one variant at one width differ in their seed: they are one member, shown by its means, with
    95 % intervals (`mean_interval`) of what was measured.

    Args:
        found: What came of the members.
        headline: The metric of an evaluation that is compared.
        falls: Whether less of it is better.
        budget: In words, what all members have in common.
        beside: Other metrics of the evaluation that stand in the table, where they were measured.
    """
    members = list(_members(found))
    trained = [member for member in members if member.trained]
    measured = [name for name in beside if any(name in (one.mean.metrics or {}) for one in trained)]
    order = sorted(trained, key=lambda member: _metric(member.mean, headline), reverse=not falls)
    # Of models that see all tokens at once there is no state to speak of.
    stateful = any(result.state_bytes for result in found)
    several = max((len(member.trained) for member in members), default=0) > 1

    def sizes(member: _Member) -> tuple[int, ...]:
        result = member.mean
        state = (result.state_bytes,) if stateful else ()
        seeds = (len(member.trained),) if several else ()
        return (*seeds, result.parameters, *state, result.steps)

    def told(member: _Member, name: str) -> str:
        return member.told(lambda result: _metric(result, name))

    rows = [
        (
            member.mean.name,
            told(member, headline),
            *sizes(member),
            f"{member.mean.seconds:.0f}",
            f"{member.mean.step_bytes / 2**20:.1f}",
            *(told(member, name) for name in measured),
        )
        for member in order
    ]
    blank = ("", "", *("" for _ in measured))
    rows += [(member.mean.name, "failed", *sizes(member), *blank) for member in members if not member.trained]
    columns = (
        "",
        headline.replace("_", " "),
        *(("seeds",) if several else ()),
        "parameters",
        *(("state (bytes)",) if stateful else ()),
        "steps",
        "training (s)",
        "memory of a step (MiB)",
        *(name.replace("_", " ") for name in measured),
    )
    state = " State: of one sequence, all layers, after an example." if stateful else ""
    seeds = (
        " Means over seeds, which differ in initial weights, examples and their order; ± half the 95 % "
        "interval of the mean (Student's)."
        if several
        else ""
    )
    failed = "".join(f" {result.name} failed: {result.error}." for result in found if result.metrics is None)
    against = (
        ("state", "state_bytes", "bytes of state"),
        ("seconds", "seconds", "seconds of training"),
        ("memory", "step_bytes", "bytes of a step of training"),
        ("parameters", "parameters", "parameters"),
    )
    means = [member.mean for member in trained]
    figures = [
        _figure(f"quality_by_{name}", means, headline, field, label)
        for name, field, label in against
        if any(getattr(result, field) > 0 for result in means)
    ]
    note = f"Test split. {budget}{state}{seeds}{failed}"
    return (
        Table("members", "Members, best first", columns, tuple(rows), note),
        *figures,
        *_histories(means),
    )


def _members(found: Sequence[Result]) -> Iterator[_Member]:
    """What is the same but for its seed, in the order of the first ones."""
    for key in dict.fromkeys((result.variant, result.dim) for result in found):
        results = [result for result in found if (result.variant, result.dim) == key]
        trained = [result for result in results if result.metrics is not None]
        yield _Member(_mean(results[0], trained) if trained else results[0], trained)


def _mean(first: Result, trained: Sequence[Result]) -> Result:
    def mean(value: Callable[[Result], float]) -> float:
        return mean_interval([value(result) for result in trained]).mean

    names = dict.fromkeys(name for result in trained for name in result.metrics or {})
    return replace(
        trained[0],
        name=first.name,
        seconds=mean(lambda result: result.seconds),
        metrics={name: mean(lambda result, name=name: _metric(result, name)) for name in names},
        history=_mean_history([result.history or {} for result in trained]),
    )


def _mean_history(histories: Sequence[History]) -> History:
    """The means of series whose steps are the same in all."""
    means: History = {}
    for name, (steps, _) in histories[0].items():
        if all(name in one and list(one[name][0]) == list(steps) for one in histories):
            values = zip(*(one[name][1] for one in histories), strict=True)
            means[name] = (steps, [mean_interval(at_a_step).mean for at_a_step in values])
    return means


def _metric(result: Result, name: str) -> float:
    return (result.metrics or {}).get(name, nan)


def _figure(name: str, found: Sequence[Result], headline: str, field: str, label: str) -> Curves:
    """One series for each variant, a point for each of its sizes."""
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for variant in dict.fromkeys(result.variant for result in found):
        points = sorted(
            (float(getattr(result, field)), _metric(result, headline))
            for result in found
            if result.variant == variant and getattr(result, field) > 0
        )
        if points:
            series[variant] = ([x for x, _ in points], [y for _, y in points])
    words = headline.replace("_", " ")
    return Curves(name, f"{words.capitalize()} against {label}", series, label, words, log_x=True)


def _histories(found: Sequence[Result]) -> list[Curves]:
    """What validation showed on the way, a figure for each of its series."""
    names = dict.fromkeys(name for result in found for name in result.history or {})
    figures = []
    for name in names:
        series: dict[str, tuple[Sequence[float], Sequence[float]]] = {
            result.name: result.history[name]
            for result in found
            if result.history and name in result.history and all(map(isfinite, result.history[name][1]))
        }
        words = name.partition("/")[2].replace("_", " ")
        title = f"Validation: {words}"
        figures.append(Curves(name.replace("/", "_"), title, series, "step", words))
    return figures
