"""Amounts as people write them: 1e6, 1_000_000, 1M, 1.3B."""

import re
from decimal import Decimal

__all__ = ["amount", "count", "in_bytes"]

SUFFIXES = {"": 0, "k": 3, "m": 6, "b": 9, "g": 9, "t": 12}
PATTERN = re.compile(r"(\d[\d_]*(?:\.\d+)?(?:e[+-]?\d{1,2})?)([kmbgt]?)", re.IGNORECASE)
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def count(flag: str, text: str) -> int:
    """A whole number of at least 1, in any of the ways of `amount`.

    Raises:
        ValueError: Something else, in a line that names the flag.
    """
    value = _read(text)
    if value is None or value < 1 or value != int(value):
        raise ValueError(
            f"{flag}: expected a whole number such as 64, 1_000_000, 1e6, 1M or 1.3B, got {text!r}"
        )
    return int(value)


def amount(flag: str, text: str) -> float:
    """A number above 0, with a decimal suffix (K, M, B or G, T), an exponent, underscores, or none of them.

    Raises:
        ValueError: Something else, in a line that names the flag.
    """
    value = _read(text)
    if not value:
        raise ValueError(f"{flag}: expected a number above 0 such as 25e9, 25G or 0.5e9, got {text!r}")
    return float(value)


def in_bytes(size: float) -> str:
    """The size with three digits and the decimal unit that fits: 1.23 GB."""
    power = 0
    while power < len(UNITS) - 1 and float(f"{size:.3g}") >= 1000:
        size, power = size / 1000, power + 1
    digits = max(0, 3 - len(str(int(float(f"{size:.3g}"))))) if power else 0
    return f"{size:.{digits}f} {UNITS[power]}"


def _read(text: str) -> Decimal | None:
    """Exact: 1.3B is a whole number, which the float 1.3 would not make it."""
    match = PATTERN.fullmatch(text.strip())
    return Decimal(match[1].replace("_", "")).scaleb(SUFFIXES[match[2].lower()]) if match else None
