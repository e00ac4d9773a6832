"""Exhibits as a page shows them: what is drawn as a picture, the rest as it is."""

from collections.abc import Sequence
from pathlib import Path

from linsight.reports.figures import save
from linsight.reports.page import Picture
from linsight.tasks.exhibits import Exhibit, Grid, Pictures, Table, Text

__all__ = ["picture", "shown"]


def shown(exhibits: Sequence[Exhibit], figures: Path, *, suffix: str = "") -> list[Picture | Table | Text]:
    """Tables and texts, and pictures of the others, each drawn to a file of its name in `figures`."""
    return [
        exhibit
        if isinstance(exhibit, (Table, Text))
        else picture(exhibit, figures / f"{exhibit.name}{suffix}.png")
        for exhibit in exhibits
    ]


def picture(exhibit: Exhibit, path: Path, *, inches: float = 7.2) -> Picture:
    """The exhibit, drawn to a file; `inches` is the width of curves."""
    save(exhibit, path, inches=inches)
    return Picture(exhibit.title, exhibit.note, path.read_bytes(), isinstance(exhibit, (Grid, Pictures)))
