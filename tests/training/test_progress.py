"""What the user sees: a header that says what and why, and a rate that is right."""

import io
import sys

import pytest
from toy_training import toy_run

from linsight.training import fit
from linsight.training.bar import Bar
from linsight.training.display import reporter
from linsight.training.progress import Lines, Pace, Reporter, duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_is_that_of_the_last_half_minute():
    """A slow start is forgotten; a pause just now is not."""
    clock = Clock()
    pace = Pace(1000, 10, 200, clock)
    for step in range(201, 301):
        clock.now += 1.0 if step <= 240 else 0.5
        pace.mark(step)
    assert pace.rate == pytest.approx(2.0, rel=0.05)
    assert str(pace) == "20 examples/s, 5:50 left"
    clock.now += 30
    pace.mark(301)
    assert pace.rate < 0.1


def test_preparations_do_not_count():
    """Reading data and importing an engine take seconds that say nothing about the steps."""
    clock = Clock()
    pace = Pace(100, 1, 0, clock)
    clock.now += 20
    pace.restart(50)
    clock.now += 1
    pace.mark(52)
    assert str(pace) == "2 examples/s, 0:24 left"


def test_the_first_moment_promises_nothing():
    """No time has passed: no rate, no time left, no division by zero."""
    pace = Pace(10, 1, 0, Clock())
    assert str(pace) == "0 examples/s, -:-- left"
    pace.mark(1)
    assert pace.rate == 0


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")])
def test_durations_read_like_a_clock(seconds, text):
    """Minutes and seconds, hours when there are any."""
    assert duration(seconds) == text


def test_the_display_follows_the_terminal(monkeypatch):
    """A bar on a terminal, lines elsewhere, nothing on request; unknown names are refused."""
    options = {"steps": 3, "batch_size": 1, "start": 0}
    assert type(reporter("none", **options)) is Reporter
    assert type(reporter("auto", **options)) is Lines
    monkeypatch.setattr(sys, "stderr", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    bar = reporter("auto", **options)
    assert type(bar) is Bar
    bar.close()
    with pytest.raises(ValueError, match="progress: expected 'auto', 'rich', 'plain' or 'none', got 'fancy'"):
        reporter("fancy", **options)


def test_plain_lines(tmp_path, capsys, recwarn):
    """Header, last step, model: on standard error, with no word from Lightning and no warning."""
    fit(toy_run(4, accumulate=2), tmp_path, progress="plain")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == f"run: {tmp_path}"
    assert lines[1] == "task: toy"
    assert lines[2] == "model: ToyModel, 114 parameters"
    assert lines[3].startswith("data: 40 training examples (sha256 ")
    assert lines[4] == "training: 4 steps of 8 in 2 parts, 32 examples, 0.8 epochs; seed 3"
    assert lines[5] == "optimiser: adamw: fused; schedule warmup_cosine; gradient clipped to norm 1"
    assert "tied: first.weight = second.weight" in captured.err
    assert any(line.startswith("precision: float32") for line in lines)
    assert any(line.startswith("device: cpu, 1 threads, torch") for line in lines)
    assert lines[-2].startswith("step 4/4  train/loss ")
    assert "valid/accuracy" in lines[-2]
    assert lines[-2].endswith("0:00 left")
    assert lines[-1] == f"model: {tmp_path / 'model'}"
    assert len(lines) < 18
    assert not recwarn.list


def test_a_bar(tmp_path, capsys):
    """rich draws it, the header stands above it, names with brackets are not markup."""
    fit(toy_run(4), tmp_path / "[bold]", progress="rich")
    shown = capsys.readouterr().err
    assert "[bold]" in shown
    assert "4/4" in shown
    assert "0:00 left" in shown
