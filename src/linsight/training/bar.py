"""The progress bar of a training on a terminal."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from linsight.training.progress import Pace, Reporter, sentence

__all__ = ["Bar"]


class Bar(Reporter):
    """Steps done, rate, time left and the latest numbers; narrow terminals lose the end of the numbers."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._progress = Progress(
            BarColumn(bar_width=20, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Numbers(table_column=Column()),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("training", total=pace.steps, numbers="")
        self._shown = 0.0
        self._progress.start()

    def say(self, message: str) -> None:
        """Print the line above the bar."""
        self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def start(self, step: int) -> None:
        """The pace counts from here."""
        self._pace.restart(step)
        self._progress.update(self._task, completed=step)

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move the bar, at most ten times a second."""
        self._pace.mark(step)
        now = time.monotonic()
        if now - self._shown >= 0.1 or step == self._pace.steps:
            self._shown = now
            self._progress.update(self._task, completed=step, numbers=f"{self._pace}  {sentence(metrics)}")

    def close(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()


class _Numbers(ProgressColumn):
    """The only column that gives way, and it does so at its end, on one line."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["numbers"], no_wrap=True, overflow="ellipsis")
