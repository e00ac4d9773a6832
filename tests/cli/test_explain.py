"""`linsight explain`: the page of decay, and the groups that a run would print."""

import json

import pytest

from linsight.cli.main import main


def test_adamw_writes_a_page_with_its_numbers_and_pictures(tmp_path, capsys):
    assert main(["explain", "adamw", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(tmp_path / "report.html")
    found = json.loads((tmp_path / "numbers.json").read_text())["found"]
    adam, adamw = found["means"].values()
    assert adam == sorted(adam)
    assert max(adamw) - min(adamw) < 0.01
    assert (tmp_path / "figures" / "lost.png").stat().st_size > 5000


def test_map_has_the_four_numbers_of_the_worked_example(tmp_path, capsys):
    """Those that every tool must have of it, to the fourth digit."""
    assert main(["explain", "map", "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["found"]["protocols"]
    assert {row["protocol"]: (row["at IoU 0.5"], row["at IoU 0.75"]) for row in told} == {
        "voc07": ("0.8227", "0.5455"),
        "voc10": ("0.8050", "0.5000"),
        "coco": ("0.8069", "0.5050"),
        "ultralytics": ("0.8000", "0.5719"),
    }
    assert main(["explain", "map", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "report.html")
    assert (tmp_path / "figures" / "curve.png").stat().st_size > 5000


@pytest.mark.parametrize("words", [[], ["--preset", "tiny"]], ids=str)
def test_groups_of_a_preset(words, capsys):
    assert main(["explain", "groups", "recall", *words]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "optimiser: adamw: fused"
    assert said[1].split()[:3] == ["group", "tensors", "scalars"]


def test_groups_of_a_run_are_those_of_its_configuration(tmp_path, capsys):
    """A folder and its config.json, as JSON: every parameter of the model in one group."""
    from linsight.training import PRESETS, to_json

    (tmp_path / "config.json").write_text(to_json(PRESETS["recall"]["tiny"]()))
    told = []
    for path in (tmp_path, tmp_path / "config.json"):
        assert main(["explain", "groups", str(path), "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]
    names = [name for group in told[0]["groups"] for name in group["parameters"]]
    model = PRESETS["recall"]["tiny"]().task.build().build_model()
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())


def test_groups_of_what_the_options_of_train_make_of_a_preset(capsys):
    """The mixer's own group, the optimiser and the rate are those that the run would have."""
    words = ["recall", "--mixer", "s4d states=4", "--optimizer", "adam", "--training.optimizer.lr", "0.002"]
    assert main(["explain", "groups", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["optimiser"].startswith("adam:")
    slow = [group for group in told["groups"] if any("log_dt" in name for name in group["parameters"])]
    assert [group["lr"] for group in slow] == [0.001]
    assert max(group["lr"] for group in told["groups"]) == 0.002


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explain"], "expected one of adamw, map, groups, got nothing"),
        (["explain", "sgd"], "got 'sgd'"),
        (["explain", "groups"], "expected a run, a config.json or a task"),
        (["explain", "groups", "nowhere"], "unknown task 'nowhere'; there are: "),
        (["explain", "groups", "recall", "--preset", "tine"], "unknown preset 'tine'; did you mean 'tiny'?"),
        (["explain", "groups", "/"], "/ is no run: it has no config.json"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert main(words) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1


def test_help(capsys):
    assert main(["explain", "--help"]) == 0
    assert "adamw: what decay does" in capsys.readouterr().out
