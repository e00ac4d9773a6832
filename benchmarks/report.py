"""The tables of a benchmark as Markdown."""

from collections.abc import Iterator, Mapping

from benchmarks.case import Table
from linsight.profiling import Timing

__all__ = ["falls_short", "lines"]

HEADER = (
    "| | median ms | least ms | n | times faster | bar | GFLOP/s | of the product's peak | error |",
    "|---|---|---|---|---|---|---|---|---|",
)


def lines(
    table: Table, timings: Mapping[str, Timing], errors: Mapping[str, float], peak: float
) -> Iterator[str]:
    """A table of one row for each candidate; `peak` is the float32 product's GFLOP/s."""
    yield f"**{table.title}**"
    yield ""
    yield from HEADER
    for name, timing in timings.items():
        ratio = _ratio(table, timings, name)
        rate = table.candidates[name].flops / timing.median / 1e6
        bar = table.bars.get(name)
        verdict = (
            "" if bar is None else f"{bar:g}x {'missed' if _misses(table, timings, name) else 'reached'}"
        )
        yield (
            f"| {name} | {timing.median:.2f} | {timing.minimum:.2f} | {timing.repeats} | "
            f"{ratio:.2f} | {verdict} | {rate:.1f} | {rate / peak:.0%} | {errors[name]:.1e} |"
        )
    yield ""


def falls_short(table: Table, timings: Mapping[str, Timing]) -> bool:
    """Whether a candidate misses its bar."""
    return any(_misses(table, timings, name) for name in table.bars)


def _misses(table: Table, timings: Mapping[str, Timing], name: str) -> bool:
    return _ratio(table, timings, name) < table.bars[name]


def _ratio(table: Table, timings: Mapping[str, Timing], name: str) -> float:
    return timings[table.baseline].median / timings[name].median
