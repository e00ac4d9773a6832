"""metrics.csv: rows are appended, columns may come later, and what a crash left behind is dropped."""

import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from linsight.training.metrics import Mean, MetricsLog, read_metrics


def write(folder: Path, rows: dict[int, dict[str, float]], *, step: int = 0) -> Path:
    log = MetricsLog(folder / "metrics.csv", folder / "events", step=step)
    for at, values in rows.items():
        log.write(at, values)
    return folder / "metrics.csv"


def test_series_are_read_back_with_their_own_steps(tmp_path):
    """A column that appears later has empty cells before; numbers that are not finite are kept."""
    path = write(tmp_path, {1: {"a": 0.5}, 2: {"a": math.inf, "valid/b": 2.0}, 3: {"valid/b": math.nan}})
    assert path.read_text() == "step,a,valid/b\n1,0.5,\n2,inf,2\n3,,nan\n"
    series = read_metrics(path)
    assert series["a"] == ([1, 2], [0.5, math.inf])
    assert series["valid/b"][0] == [2, 3]
    assert math.isnan(series["valid/b"][1][1])


def test_rows_beyond_the_checkpoint_are_dropped(tmp_path):
    """Step 3 was logged, but the checkpoint is of step 2: on resuming it is logged again, once."""
    write(tmp_path, {1: {"a": 1.0}, 2: {"a": 2.0}, 3: {"a": 3.0}})
    path = write(tmp_path, {3: {"a": 4.0}, 4: {"a": 5.0}}, step=2)
    assert read_metrics(path) == {"a": ([1, 2, 3, 4], [1.0, 2.0, 4.0, 5.0])}


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    """A half-written last row is no row."""
    path = write(tmp_path, {1: {"a": 1.0}, 2: {"a": 2.0}})
    path.write_text(path.read_text() + "3,7.")
    assert read_metrics(path) == {"a": ([1, 2], [1.0, 2.0])}
    assert read_metrics(write(tmp_path, {3: {"a": 3.0}}, step=2))["a"] == ([1, 2, 3], [1.0, 2.0, 3.0])


def test_a_file_that_is_no_table_is_refused(tmp_path):
    """Named, not overwritten."""
    path = tmp_path / "metrics.csv"
    for text in ("hello\n1\n", "step,a\n1\n", ""):
        path.write_text(text)
        with pytest.raises(RuntimeError, match=r"metrics.csv: not a table of metrics \(damaged\)"):
            MetricsLog(path, tmp_path / "events", step=0)
        assert path.read_text() == text


def test_tensorboard_shows_each_step_once(tmp_path):
    """The events of dropped rows are purged by the restart that follows them."""
    write(tmp_path, {1: {"a": 1.0}, 2: {"a": 2.0}, 3: {"a": 3.0}})
    write(tmp_path, {3: {"a": 4.0}}, step=2)
    events = EventAccumulator(str(tmp_path / "events"), purge_orphaned_data=True)
    events.Reload()
    assert events.file_version == 2.0
    assert [(event.step, event.value) for event in events.Scalars("a")] == [(1, 1.0), (2, 2.0), (3, 4.0)]


def test_a_mean_goes_on_from_its_state():
    """Half a window before a checkpoint and half after it make the same mean."""
    whole, first, second = Mean(), Mean(), Mean()
    values = [0.1, 0.7, 1e9, 3.0]
    for value in values:
        whole.add({"x": value})
    for value in values[:2]:
        first.add({"x": value})
    second.load_state_dict(first.state_dict())
    for value in values[2:]:
        second.add({"x": value})
    assert second.take() == whole.take()
    assert second.state_dict() == Mean().state_dict()
