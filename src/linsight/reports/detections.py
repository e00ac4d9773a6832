"""Writes the page of average precision."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from linsight.metrics import average_precision as ap
from linsight.reports.environment import environment
from linsight.reports.page import render
from linsight.reports.shown import shown
from linsight.tasks.detections import detection_exhibits, number_table
from linsight.tasks.exhibits import Text
from linsight.training.files import write_atomically

__all__ = ["write"]


def write(
    path: Path, results: Sequence[ap.AveragePrecisionResult], sentences: Sequence[str], *, command: str
) -> None:
    """Write the page of several protocols; what is shown beyond the numbers is the first one's.

    Raises:
        OSError: It cannot be written.
    """
    first = results[0]
    reasons = [Text("reasons", "Why they differ", "\n".join(sentences))] if sentences else []
    with tempfile.TemporaryDirectory() as folder:
        parts = shown([number_table(results), *reasons, *detection_exhibits(first)], Path(folder))
    page = render(
        title=f"Detections: {first.protocol.name}",
        subtitle=f"{len(first.table.images):,} images, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        metrics={name: value for name, value in first.summary().items() if value == value},
        curves=[],
        exhibits=parts,
        configuration={name: _said(value) for name, value in vars(first.protocol).items()},
        environment=environment(),
        command=command,
    )
    write_atomically(path, page.encode())


def _said(value: Any) -> str:
    """A choice of a protocol in words."""
    if isinstance(value, ap.AreaRange):
        return f"{value.name} {value.least:g} to {value.most:g}"
    if isinstance(value, tuple):
        return ", ".join(map(_said, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
