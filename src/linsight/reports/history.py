"""The curves of a training, from the series of its `metrics.csv`."""

from collections.abc import Mapping, Sequence

from linsight.reports.numbers import name_and_unit, number
from linsight.tasks.exhibits import Curves

__all__ = ["training_curves"]

Points = tuple[Sequence[float], Sequence[float]]


def training_curves(series: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> list[Curves]:
    """One picture per quantity: `train/NAME` and `valid/NAME` share one, in the order of first appearance.

    The clock is not drawn, and neither is a count that stays zero.
    """
    quantities: dict[str, dict[str, Points]] = {}
    for name, (steps, values) in series.items():
        if name != "seconds" and any(values):
            split, _, quantity = name.rpartition("/")
            quantities.setdefault(quantity, {})[split or quantity] = (steps, values)
    return [_picture(quantity, parts) for quantity, parts in quantities.items()]


def _picture(quantity: str, parts: dict[str, Points]) -> Curves:
    name, unit = name_and_unit(quantity)
    parts, note = _without_fall(parts)
    return Curves(
        name="training-" + "".join(letter if letter.isalnum() else "-" for letter in quantity),
        title=name,
        series=parts,
        x_label="step",
        y_label=f"{name} ({unit})" if unit and unit != name else name,
        note=note,
    )


def _without_fall(parts: dict[str, Points]) -> tuple[dict[str, Points], str]:
    """Leave out the first twentieth of the steps where a fall by more than half would flatten the rest."""
    cut = max(steps[-1] for steps, _ in parts.values()) / 20
    late = {name: _from(points, cut) for name, points in parts.items()}
    first = max(values[0] for _, values in parts.values())
    largest = max((max(values, default=0.0) for _, values in late.values()), default=0.0)
    if min(len(steps) for steps, _ in late.values()) < 2 or not first > 2 * largest > 0:
        return parts, ""
    return late, f"The first {round(cut):,} steps, down from {number(first)}, are left out."


def _from(points: Points, first_step: float) -> Points:
    kept = [(step, value) for step, value in zip(*points, strict=True) if step >= first_step]
    return [step for step, _ in kept], [value for _, value in kept]
