"""`linsight evaluate`: the numbers of a run on a split, for people and for programs."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from linsight.cli.main import main

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_json_holds_the_numbers_of_the_report_and_nothing_else_is_printed(
    linsight: Command, trained: Path
) -> None:
    done = linsight("evaluate", trained, "--split", "valid", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["split"] == "valid"
    assert found["report"] == str(trained / "report-valid.html")
    written = json.loads((trained / "evaluation-valid.json").read_text())
    assert written["metrics"] == found["metrics"]


def test_the_same_model_on_the_same_split_has_the_same_nats(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    before = json.loads((trained / "evaluation.json").read_text())
    assert main(["evaluate", str(copy)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(copy / "report.html")
    after = json.loads((copy / "evaluation.json").read_text())
    assert after["metrics"]["nll_nats_per_image"] == pytest.approx(
        before["metrics"]["nll_nats_per_image"], 1e-5
    )
    # How the run was made is still known.
    assert after["command"] == before["command"]


def test_a_folder_that_is_no_run_is_the_users_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("no run is here (no config.json); `linsight train` makes one\n")


def test_an_unknown_split_is_the_users_mistake(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(trained), "--split", "tset"]) == 2
    assert "invalid choice 'tset' for argument '--split'" in capsys.readouterr().err


def test_damaged_weights_are_a_failure_that_names_the_file(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    weights = copy / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-20])
    assert main(["evaluate", str(copy)]) == 1
    error = capsys.readouterr().err
    assert "model.safetensors" in error
    assert error.count("\n") == 1
