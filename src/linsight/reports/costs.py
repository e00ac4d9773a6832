"""What mixers cost, as tables and log-log figures."""

from collections.abc import Mapping, Sequence

from linsight.profiling import Costs, crossing, growth
from linsight.tasks.exhibits import Curves, Exhibit, Table

__all__ = ["cost_exhibits"]

FROM = 1024
"""Tokens from which growth is fitted: below, what a call costs whatever its length hides it."""


def cost_exhibits(
    found: Sequence[Costs], *, missing: Mapping[str, str], baseline: str = "softmax"
) -> tuple[Table, *tuple[Exhibit, ...]]:
    """A summary with growth and crossing, tables of time and memory, figures of both.

    Args:
        found: The costs of everything measured, the baseline's among them.
        missing: Name -> why it was not measured.
        baseline: The peer that the others are held against.
    """
    base = next(costs for costs in found if costs.name == baseline)
    summary = Table(
        "growth",
        "How cost grows with the length",
        (
            "",
            "time of a call ~ T^",
            "with gradients ~ T^",
            "memory with gradients ~ T^",
            f"a call beats {baseline} from",
            "with gradients from",
            "state (bytes)",
        ),
        tuple(
            (
                costs.name,
                _growth(costs.lengths, costs.forward_ms),
                _growth(costs.lengths, costs.training_ms),
                _growth(costs.lengths, costs.training_bytes),
                _crossing(costs.lengths, costs.forward_ms, base.forward_ms),
                _crossing(costs.lengths, costs.training_ms, base.training_ms),
                _last(costs.state_bytes),
            )
            for costs in found
        ),
        f"Exponents by least squares over lengths from {FROM:,} on, with their standard errors. Crossings "
        f"are lengths between two measured ones; 0: at every length measured. State: after the longest."
        + "".join(f" {name} was not measured: {why}." for name, why in missing.items()),
    )
    tables = [
        _table("forward", "A call (ms)", found, "forward_ms"),
        _table("training", "A call with its gradients (ms)", found, "training_ms"),
        _table("step", "A decoding step after so many tokens (ms)", found, "step_ms"),
        _table("memory", "Memory of a call with its gradients (MiB at once)", found, "training_bytes", 2**20),
        _table("state", "State after so many tokens (KiB)", found, "state_bytes", 2**10),
    ]
    figures = [
        _figure("forward_time", "Time of a call", found, "forward_ms", "ms"),
        _figure("training_time", "Time of a call with its gradients", found, "training_ms", "ms"),
        _figure("step_time", "Time of a decoding step", found, "step_ms", "ms"),
        _figure("training_memory", "Memory of a call with its gradients", found, "training_bytes", "bytes"),
    ]
    return (summary, *figures, *tables)


def _known(lengths: Sequence[int], values: Sequence[float | None], least: int = 0) -> tuple[list, list]:
    pairs = [(n, v) for n, v in zip(lengths, values, strict=True) if v is not None and n >= least]
    return [n for n, _ in pairs], [v for _, v in pairs]


def _growth(lengths: Sequence[int], values: Sequence[float | None]) -> str:
    x, y = _known(lengths, values, FROM)
    if len(x) < 3:
        return "\N{EN DASH}"
    slope, error = growth(x, y)
    return f"{slope:.2f} ± {error:.2f}"


def _crossing(
    lengths: Sequence[int], values: Sequence[float | None], others: Sequence[float | None]
) -> int | str:
    both = [
        (n, v, o) for n, v, o in zip(lengths, values, others, strict=True) if v is not None and o is not None
    ]
    if not both or all(v == o for _, v, o in both):
        return "\N{EN DASH}"
    found = crossing(*zip(*both, strict=True))
    return "never" if found is None else round(found)


def _last(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return known[-1] if known else None


def _table(name: str, title: str, found: Sequence[Costs], of: str, unit: float = 1) -> Table:
    lengths = found[0].lengths
    rows = []
    for costs in found:
        values = getattr(costs, of)
        if any(value is not None for value in values):
            cells = ["\N{EN DASH}" if value is None else f"{value / unit:.3g}" for value in values]
            rows.append((costs.name, *cells))
    return Table(name, title, ("", *(f"T={length:,}" for length in lengths)), tuple(rows))


def _figure(name: str, title: str, found: Sequence[Costs], of: str, unit: str) -> Curves:
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        costs.name: _known(costs.lengths, getattr(costs, of)) for costs in found
    }
    series = {key: pair for key, pair in series.items() if pair[0]}
    return Curves(name, title, series, "tokens", unit, log_x=True, log_y=True)
