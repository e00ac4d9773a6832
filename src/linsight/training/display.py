"""Which way the progress of a training is shown."""

import sys
from typing import Literal

from linsight.training.progress import Lines, Pace, Reporter

__all__ = ["Display", "reporter"]

Display = Literal["auto", "rich", "plain", "none"]


def reporter(display: str, *, steps: int, batch_size: int, start: int) -> Reporter:
    """The reporter of a training that goes from `start` to `steps`.

    Raises:
        ValueError: Unknown `display`.
    """
    if display not in ("auto", "rich", "plain", "none"):
        raise ValueError(f"progress: expected 'auto', 'rich', 'plain' or 'none', got {display!r}")
    if display == "none":
        return Reporter()
    pace = Pace(steps, batch_size, start)
    if display == "rich" or (display == "auto" and sys.stderr.isatty()):
        from linsight.training.bar import Bar  # rich is loaded where there is a terminal

        return Bar(pace)
    return Lines(pace)
