"""`linsight train`: preset, then mixer, then fields; a run that ends with its report, and is not redone."""

import json
from pathlib import Path
from typing import Any

import pytest

from linsight.cli.main import main
from linsight.training import PRESETS


class Stop(Exception):
    """Raised in place of training, with what would have been trained."""


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the engine and keeps what it was called with."""
    seen: dict[str, Any] = {}

    def pretend(config: Any, run: Any, *, progress: str, ranks: Any) -> None:
        seen.update(config=config, run=run, progress=progress, ranks=ranks.count)
        raise Stop

    monkeypatch.setattr("linsight.training.engine.fit", pretend)
    return seen


def test_without_options_the_default_preset_is_trained(fit: dict[str, Any]) -> None:
    assert main(["train", "generate"]) == 1
    assert fit["config"] == PRESETS["generate"]["default"]()
    assert fit["run"] == Path("runs/generate")
    assert fit["progress"] == "auto"
    assert fit["ranks"] == 1


def test_preset_first_then_mixer_then_fields_whatever_the_order_typed(fit: dict[str, Any]) -> None:
    line = "--training.steps 7 --model.sequence.mixers.0.heads 2 --mixer softmax,linear --preset=tiny"
    assert main(["train", "generate", *line.split()]) == 1
    config, tiny = fit["config"], PRESETS["generate"]["tiny"]()
    assert config.training.steps == 7
    assert config.training.batch_size == tiny.training.batch_size
    first, second = config.task.model.sequence.mixers
    assert (first.kind, first.heads, second.kind) == ("softmax", 2, "linear")
    assert fit["run"] == Path("runs/generate-tiny-softmax-linear")


def test_a_model_is_its_own_preset_or_takes_its_place_in_another(fit: dict[str, Any]) -> None:
    assert main(["train", "generate", "--model", "fvsbn"]) == 1
    assert fit["config"] == PRESETS["generate"]["fvsbn"]()
    assert fit["run"] == Path("runs/generate-fvsbn")
    assert main(["train", "generate", "--model", "sequence"]) == 1
    assert fit["config"] == PRESETS["generate"]["default"]()
    line = "--preset tiny --model fvsbn --model.order random --model.label none"
    assert main(["train", "generate", *line.split()]) == 1
    assert fit["config"].training == PRESETS["generate"]["tiny"]().training
    model = fit["config"].task.model
    assert (model.kind, model.order, model.label) == ("fvsbn", "random", "none")
    assert fit["run"] == Path("runs/generate-tiny-fvsbn")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("generat", "unknown task 'generat'; did you mean 'generate'?"),
        (
            "xyz",
            "unknown task 'xyz'; there are: classify, detect, gaze, gaze_video, generate, language, pose, "
            "recall, segment",
        ),
        ("generate --preset tinny", "unknown preset 'tinny'; did you mean 'tiny'?"),
        ("generate --mixer mamba9", "mixer 'mamba9' is not known; choose one of"),
        ("generate --model maid", "--model: expected one of sequence, fvsbn"),
        ("recall --model fvsbn", "--model: the task 'recall' has one kind of model"),
        ("generate --model fvsbn --mixer linear", "--mixer: RunConfig has no mixers to replace"),
        (
            "generate --training.stps 3",
            "unrecognized options: --training.stps, 3 (did you mean --training.steps",
        ),
        ("generate --training.steps 0", "training: steps: expected an integer >= 1, got 0"),
        ("generate --training.steps many", "--training.steps: invalid literal for int()"),
        (
            "generate --data nowhere --run RUN",
            "source: expected 'mnist' or a folder of IDX files, got 'nowhere'",
        ),
    ],
)
def test_a_mistake_is_two_and_one_line(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "run") if word == "RUN" else word for word in line.split()]
    assert main(["train", *arguments, *(["--progress", "none"] if "RUN" in line else [])]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"linsight: {message}")
    assert error.count("\n") == 1


def test_help_lists_presets_and_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "generate", "--help"]) == 0
    printed = capsys.readouterr().out
    for name, preset in PRESETS["generate"].items():
        assert f"{name} " in printed
        assert (preset.__doc__ or "").splitlines()[0][:40] in printed
    for flag in ("--preset", "--mixer", "--run", "--data", "--training.optimizer.lr", "--model.sequence.dim"):
        assert flag in printed


def test_help_without_a_task_lists_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    assert "generate:\n  default" in capsys.readouterr().out
    assert main(["train"]) == 2
    assert capsys.readouterr().out == ""


def test_a_run_is_trained_evaluated_and_reported(trained: Path) -> None:
    """Through the real entry point: every file of a run folder, and the report's path as the last line."""
    for name in ("config.json", "metrics.csv", "evaluation.json", "report.html", "figures/samples.png"):
        assert (trained / name).stat().st_size > 0, name
    for name in ("model.safetensors", "config.json"):
        assert (trained / "model" / name).stat().st_size > 0, name
    printed = (trained.parent / "stdout.txt").read_text().splitlines()
    assert printed[-1] == str(trained / "report.html")
    assert any(line.startswith("nll_nats_per_image") for line in printed)
    found = json.loads((trained / "evaluation.json").read_text())
    assert found["command"].startswith("linsight train generate --run ")


def test_the_same_command_again_has_nothing_to_do_and_says_where_the_report_is(
    trained: Path, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "report.html").stat().st_mtime_ns
    assert main(["train", "generate", "--run", str(trained), *small, "--progress", "plain"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{trained / 'report.html'}\n"
    assert "nothing to do" in captured.err
    assert (trained / "report.html").stat().st_mtime_ns == before


def test_a_folder_of_another_configuration_is_refused(
    trained: Path, small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "generate", "--run", str(trained), *small, "--training.seed", "1"]) == 2
    assert "training.seed is 0 there and 1 here" in capsys.readouterr().err
