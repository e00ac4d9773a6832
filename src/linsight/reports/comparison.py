"""A comparison as a table and as figures: quality against what it costs."""

from collections.abc import Sequence
from math import isfinite

from linsight.tasks.exhibits import Curves, Exhibit, Table
from linsight.training.comparison import Result

__all__ = ["comparison_exhibits"]


def comparison_exhibits(
    found: Sequence[Result], *, headline: str, falls: bool, budget: str, beside: Sequence[str] = ()
) -> tuple[Table, *tuple[Exhibit, ...]]:
    """Members in a table, best first; the headline metric against state, time, memory and parameters.

    Args:
        found: What came of the members.
        headline: The metric of an evaluation that is compared.
        falls: Whether less of it is better.
        budget: In words, what all members have in common.
        beside: Other metrics of the evaluation that stand in the table, where they were measured.
    """
    trained = [result for result in found if result.metrics is not None]
    measured = [name for name in beside if any(name in (result.metrics or {}) for result in trained)]
    order = sorted(trained, key=lambda result: _quality(result, headline), reverse=not falls)
    # Of models that see all tokens at once there is no state to speak of.
    stateful = any(result.state_bytes for result in found)

    def sizes(result: Result) -> tuple[int, ...]:
        state = (result.state_bytes,) if stateful else ()
        return (result.parameters, *state, result.steps)

    rows = [
        (
            result.name,
            f"{_quality(result, headline):.4g}",
            *sizes(result),
            f"{result.seconds:.0f}",
            f"{result.step_bytes / 2**20:.1f}",
            *(f"{(result.metrics or {}).get(name, float('nan')):.4g}" for name in measured),
        )
        for result in order
    ]
    failed = [result for result in found if result.metrics is None]
    blank = ("", "", *("" for _ in measured))
    rows += [(result.name, "failed", *sizes(result), *blank) for result in failed]
    columns = (
        "",
        headline.replace("_", " "),
        "parameters",
        *(("state (bytes)",) if stateful else ()),
        "steps",
        "training (s)",
        "memory of a step (MiB)",
        *(name.replace("_", " ") for name in measured),
    )
    state = " State: of one sequence, all layers, after an example." if stateful else ""
    note = f"Test split. {budget}{state}" + "".join(
        f" {result.name} failed: {result.error}." for result in failed
    )
    against = (
        ("state", "state_bytes", "bytes of state"),
        ("seconds", "seconds", "seconds of training"),
        ("memory", "step_bytes", "bytes of a step of training"),
        ("parameters", "parameters", "parameters"),
    )
    figures = [
        _figure(f"quality_by_{name}", trained, headline, field, label)
        for name, field, label in against
        if any(getattr(result, field) > 0 for result in trained)
    ]
    return (
        Table("members", "Members, best first", columns, tuple(rows), note),
        *figures,
        *_histories(trained),
    )


def _quality(result: Result, headline: str) -> float:
    return (result.metrics or {}).get(headline, float("nan"))


def _figure(name: str, found: Sequence[Result], headline: str, field: str, label: str) -> Curves:
    """One series for each variant, a point for each of its sizes."""
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for variant in dict.fromkeys(result.variant for result in found):
        points = sorted(
            (float(getattr(result, field)), _quality(result, headline))
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
