"""A run's report: its files, what is remembered of an earlier one, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from linsight.reports import write
from linsight.tasks.exhibits import Curves, Evaluation, Grid, Heatmap, Table
from linsight.training import PRESETS, Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "mnist", PRESETS["generate"]["tiny"]())
    run.folder.mkdir()
    run.metrics_file.write_text("step,train/loss,seconds\n1,3,30\n2,2,61\n")
    return run


def evaluation(split: str = "test", **metrics: float) -> Evaluation:
    return Evaluation(
        split,
        {"nll_nats_per_image": 82.9, **metrics},
        (
            Table("nats", "Nats", ("model", "nats"), (("ours", 82.9), ("none", float("nan")))),
            Grid("samples", "Samples", np.zeros((4, 5, 5)), 2),
            Heatmap(
                "confusion", "Confusion", np.eye(2, dtype=int), ("0", "1"), ("0", "1"), "true", "predicted"
            ),
            Curves("cost", "Cost", {"state": ([1, 2], [1.0, 1.0])}, "position", "ms"),
        ),
    )


def test_every_exhibit_is_a_file_and_on_the_page(run: Run) -> None:
    path = write(run, evaluation(), command="linsight train generate")
    assert path == run.report_file
    drawn = {file.name for file in run.figures.iterdir()}
    assert drawn == {"samples.png", "confusion.png", "cost.png", "training-loss.png"}
    page = path.read_text(encoding="utf-8")
    for words in (
        "generate: mnist",
        "Samples",
        "Confusion",
        "Cost",
        "Nats",
        "2 steps trained in 1:01 minutes",
    ):
        assert words in page
    assert page.count("data:image/png;base64,") == 4


def test_the_numbers_are_json_without_nan(run: Run) -> None:
    write(run, evaluation(odd=float("inf")))
    found = json.loads(run.evaluation_file.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert found["metrics"] == {"nll_nats_per_image": 82.9, "odd": "inf"}
    assert found["tables"]["nats"] == {
        "columns": ["model", "nats"],
        "rows": [["ours", 82.9], ["none", "nan"]],
    }
    assert found["split"] == "test"
    assert found["environment"]["torch"]


def test_the_command_of_the_training_outlives_a_second_evaluation(run: Run) -> None:
    write(run, evaluation(), command="linsight train generate --preset tiny")
    write(run, evaluation())
    assert json.loads(run.evaluation_file.read_text())["command"] == "linsight train generate --preset tiny"
    assert "linsight train generate --preset tiny" in run.report_file.read_text(encoding="utf-8")


@pytest.mark.parametrize("damaged", ["", "{", "[]", "{}"])
def test_without_a_readable_earlier_report_the_evaluation_is_the_command(run: Run, damaged: str) -> None:
    run.evaluation_file.write_text(damaged)
    write(run, evaluation())
    assert json.loads(run.evaluation_file.read_text())["command"] == f"linsight evaluate {run.folder}"


def test_another_split_leaves_the_report_of_the_test_split_alone(run: Run) -> None:
    write(run, evaluation(accuracy=0.5))
    before = run.report_file.read_bytes()
    path = write(run, evaluation("valid"))
    assert path.name == "report-valid.html"
    assert run.report_file.read_bytes() == before
    assert (run.figures / "samples-valid.png").exists()
    assert json.loads(run.evaluation_file.read_text())["split"] == "test"
    assert json.loads((run.folder / "evaluation-valid.json").read_text())["split"] == "valid"


def test_a_run_without_metrics_has_a_report_without_curves(run: Run) -> None:
    run.metrics_file.unlink()
    page = write(run, evaluation()).read_text(encoding="utf-8")
    assert "<h2>Training</h2>" not in page
    assert "steps trained" not in page


def test_two_exhibits_of_one_name_are_refused(run: Run) -> None:
    twice = Evaluation(
        "test", {}, (Grid("a", "", np.zeros((1, 2, 2)), 1), Grid("a", "", np.ones((1, 2, 2)), 1))
    )
    with pytest.raises(ValueError, match="evaluation: expected one exhibit of a name, got 2 named 'a'"):
        write(run, twice)
    assert not run.report_file.exists()
