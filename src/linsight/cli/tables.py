"""A table of exhibits on the terminal."""

from linsight.reports.numbers import cell
from linsight.tasks.exhibits import Table

__all__ = ["columns"]


def columns(table: Table) -> str:
    """The table with its columns aligned, and its note below."""
    rows = [list(table.columns), *([cell(value) for value in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(line.rstrip() for line in lines), table.note])
