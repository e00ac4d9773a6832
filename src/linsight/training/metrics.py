"""What a training measured: `metrics.csv`, exact across interruptions, and TensorBoard events beside it."""

import contextlib
import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from linsight.training.events import EventLog
from linsight.training.files import write_atomically

__all__ = ["Mean", "MetricsLog", "read_metrics"]


def read_metrics(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Every series in a `metrics.csv`: name -> (steps, values), in the order of the columns.

    Raises:
        RuntimeError: The file is not one that `MetricsLog` wrote.
    """
    columns, rows = _read(path)
    series: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in columns[1:]}
    for row in rows:
        for name, (steps, values) in series.items():
            if row.get(name):
                steps.append(int(row["step"]))
                values.append(float(row[name]))
    return series


class Mean:
    """The running mean of named numbers, with a state that goes into a checkpoint."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Take in the numbers of one step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def take(self) -> dict[str, float]:
        """The means since the last call, which start anew."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """Sums and count."""
        return {"sums": dict(self.sums), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.sums, self.count = dict(state["sums"]), state["count"]


class MetricsLog:
    """Appends rows to `metrics.csv` and to TensorBoard events; rows beyond `step` are dropped on opening.

    The first column is `step`; a cell is empty where a row has no such number. A row with a new column
    rewrites the file.
    """

    def __init__(self, path: Path, events: Path, *, step: int) -> None:
        self._path, self._events = path, events
        self._columns = ["step"]
        if path.exists():
            self._columns, rows = _read(path)
            kept = [row for row in rows if int(row["step"]) <= step]
            _write(path, self._columns, kept)
        with _naming(events):
            self._writer = EventLog(events, step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row.

        Raises:
            OSError: It cannot be written.
        """
        new = [name for name in values if name not in self._columns]
        if new:
            rows = _read(self._path)[1] if self._path.exists() else []
            self._columns = [*self._columns, *new]
            _write(self._path, self._columns, rows)
        with _naming(self._path), self._path.open("a", newline="", encoding="utf-8") as file:
            file.write(_line({"step": step, **values}, self._columns))
        with _naming(self._events):
            self._writer.write(step, values)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A failed write does not say of which file."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    text = path.read_text(encoding="utf-8")
    # A line without its end was cut off by a crash.
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if not rows or rows[0][:1] != ["step"] or any(len(row) != len(rows[0]) for row in rows):
        raise RuntimeError(f"{path}: not a table of metrics (damaged); delete it to go on without its rows")
    return rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    lines = [_line(dict(zip(columns, columns, strict=True)), columns), *(_line(row, columns) for row in rows)]
    write_atomically(path, "".join(lines).encode())


def _line(row: Mapping[str, Any], columns: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(row.get(name, "")) for name in columns])
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}" if math.isfinite(value) else str(value)
    return str(value)
