"""Writes numbers for people: as many digits as they carry, and the unit that their name carries."""

import math
import re
from typing import Any

__all__ = ["cell", "name_and_unit", "number", "plain"]

UNITS = {
    "nats_per_image": "nats per image",
    "bits_per_image": "bits per image",
    "bits_per_pixel": "bits per pixel",
    "bits_per_dim": "bits per dimension",
    "bits_per_byte": "bits per byte",
    "bytes_per_image": "bytes per image",
    "images_per_second": "images per second",
    "tokens_per_second": "tokens per second",
    "ms_per_token": "ms per token",
    "ms_per_step": "ms per step",
    "nats": "nats",
    "bits": "bits",
    "bytes": "bytes",
    "seconds": "s",
    "ms": "ms",
    "percent": "%",
    "degrees": "degrees",
    "pixels": "pixels",
}
"""The words in a metric's name that are its unit, longest first where one holds another."""


def cell(value: str | int | float | None) -> str:
    """What a table shows of a cell: text as it is, numbers as `number` writes them."""
    return value if isinstance(value, str) else number(value)


def number(value: float | int | None) -> str:
    """A number as a table shows it: thousands separated, four or five digits, no trailing zeros."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if 0 < size < 1e-3:
        return f"{value:.2e}"
    text = f"{value:.{1 if size >= 100 else 2 if size >= 1 else 4}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(value: Any) -> Any:
    """The value for JSON, which has no NaN and no infinity: they are written as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def name_and_unit(name: str) -> tuple[str, str]:
    """`nll_nats_per_image` as (`nll`, `nats per image`); a name without a known unit has the unit ''.

    The unit may stand inside: `label_nats_by_bayes` is (`label by bayes`, `nats`).

    Example:
        >>> name_and_unit("nll_nats_per_image"), name_and_unit("accuracy")
        (('nll', 'nats per image'), ('accuracy', ''))
    """
    for words, unit in UNITS.items():
        found = re.search(rf"(?:^|_){words}(?:_|$)", name)
        if found:
            rest = f"{name[: found.start()]}_{name[found.end() :]}".strip("_")
            return (rest or words).replace("_", " "), unit
    return name.replace("_", " "), ""
