"""`linsight compare`: members under one budget, one report, nothing lost."""

import json

import pytest

from linsight.cli.main import main

TINY = ["--preset", "tiny", "--progress", "none"]
THREE = ["--", "--training.steps", "3", "--training.batch-size", "2", "--validate-sequences", "2"]


def compare(folder, *line):
    return main(["compare", "recall", *TINY, "--run", str(folder), *line, *THREE])


def test_members_are_trained_and_compared_and_the_second_call_trains_nothing(tmp_path, capsys):
    line = ["--mixers", "softmax,linear+local", "--sizes", "16,32"]
    assert compare(tmp_path, *line) == 0
    printed, said = capsys.readouterr()
    lines = printed.splitlines()
    assert lines[-1] == str(tmp_path / "report.html")
    names = {"softmax-16", "softmax-32", "linear+local-16", "linear+local-32"}
    assert {row.split()[0] for row in lines[1:5]} == names
    assert "linear+local-32 (4 of 4)" in said
    page = (tmp_path / "report.html").read_text()
    assert "Accuracy against bytes of state" in page
    assert (tmp_path / "softmax-16" / "report.html").exists()
    config = json.loads((tmp_path / "linear+local-16" / "config.json").read_text())
    assert [mixer["kind"] for mixer in config["task"]["model"]["sequence"]["mixers"]] == ["linear", "local"]
    assert compare(tmp_path, *line) == 0
    again, said = capsys.readouterr()
    assert again == printed
    assert "of 4)" not in said


def test_a_budget_of_parameters_is_that_of_the_first_mixer(tmp_path, capsys):
    assert compare(tmp_path, "--mixers", "softmax,gau", "--budget", "parameters", "--json") == 0
    found = json.loads(capsys.readouterr().out)["found"]
    first, second = (member["parameters"] for member in found)
    assert abs(first - second) < 0.25 * first  # a layer of gau has a quarter of it
    assert found[0]["steps"] == found[1]["steps"] == 3


def test_a_budget_of_seconds_is_kept_in_the_folder(tmp_path, capsys):
    line = ["--mixers", "linear", "--budget", "seconds", "--seconds", "0.2", "--json"]
    assert compare(tmp_path, *line) == 0
    (found,) = json.loads(capsys.readouterr().out)["found"]
    assert found["steps"] >= 2
    config = json.loads((tmp_path / "linear" / "config.json").read_text())
    assert config["training"]["steps"] == found["steps"]


def test_a_member_that_fails_is_told_and_the_code_is_1(tmp_path, capsys, monkeypatch):
    from linsight.mixers.linear import LinearAttention

    def broken(self, x, state, valid):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(LinearAttention, "mix", broken)
    assert compare(tmp_path, "--mixers", "linear,softmax") == 1
    printed, said = capsys.readouterr()
    assert "linear failed: out of luck" in said
    assert "linear failed: RuntimeError: out of luck." in printed
    assert printed.splitlines()[1].startswith("softmax")
    monkeypatch.undo()
    assert compare(tmp_path, "--mixers", "linear,softmax") == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "usage: linsight compare TASK"),
        ("recal --mixers linear", "unknown task 'recal'; did you mean 'recall'?"),
        ("recall", "--mixers: expected KIND,KIND,..., or --over model"),
        ("recall --mixers linear,lineer", "mixer 'lineer' is not known; choose one of"),
        ("recall --mixers linear --sizes 4,x", "--sizes: expected whole numbers with commas between"),
        ("recall --mixers linear --budget seconds", "--seconds: expected with --budget seconds"),
        ("recall --mixers linear --seconds 3", "--seconds: expected with --budget seconds"),
        ("recall --mixers linear --preset tinny", "unknown preset 'tinny'; did you mean 'tiny'?"),
        ("recall --mixers linear --sizes 30", "dim 30 is not divisible by heads 4"),
        ("recall --over model", "--model: the task 'recall' has one kind of model"),
        ("generate --over model --mixers linear", "--mixers: expected with --over mixer, and with no other"),
        ("generate --models fvsbn", "--models: expected with --over model, and with no other"),
        ("generate --over model --sizes 3", "models have no width in common"),
        ("segment --over upsampler --sizes 3", "upsamplers have no width in common"),
        ("segment --upsamplers nearest", "--upsamplers: expected with --over upsampler, and with no other"),
        ("segment --over upsampler --upsamplers nearst", "upsampler: expected one of nearest, "),
        ("recall --over upsampler", "--upsampler: the models of task 'recall' have no decoder"),
        ("recall --over head", "--over head: the models of task 'recall' have no codec"),
        ("pose --head rle", "--head: expected with --over head, and with no other"),
        ("pose --over head --head rel", "codec 'rel' is not known; choose one of"),
        ("pose --over head --sizes 8", "heads have no width in common"),
        ("recall --mixers linear --seeds 0", "--seeds: expected at least 1, got 0"),
        ("segment --mixers linear --sizes 32", "sizes: expected a model of one width, got stages of"),
        ("generate --over model --models fvsbn,maid", "--model: expected one of sequence, fvsbn"),
    ],
)
def test_what_cannot_be_compared_is_refused(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *line.split()]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_models_are_compared_each_with_its_own_options(tmp_path, capsys, digits):
    """Two kinds in one table, with what this task measures besides: bits of the code, speed of drawing."""
    line = ["--over", "model", "--models", "fvsbn,sequence", "--preset", "tiny", "--run", str(tmp_path)]
    tail = ["--data", str(digits), "--training.steps", "2", "--training.batch-size", "4"]
    tail += ["--validate-images", "4", "--training.precision", "float32"]
    assert main(["compare", "generate", *line, "--progress", "none", "--", *tail]) == 0
    table = capsys.readouterr().out.splitlines()
    assert "coded bits per image" in table[0]
    assert "sampled images per second" in table[0]
    assert {row.split()[0] for row in table[1:3]} == {"fvsbn", "sequence"}
    found = {m["name"]: m for m in json.loads((tmp_path / "numbers.json").read_text())["found"]}
    assert found["fvsbn"]["state_bytes"] == 4 * (784 + 10)
    assert found["fvsbn"]["parameters"] == 794 * (784 + 1 + 11)
    assert found["sequence"]["state_bytes"] > 0
    assert "nats per image" in (tmp_path / "report.html").read_text()


def test_members_may_differ_in_an_option_alone(tmp_path, capsys):
    """Their folders are told apart, and so are their states."""
    assert compare(tmp_path, "--mixers", "linear heads=2,linear heads=1", "--json") == 0
    found = json.loads(capsys.readouterr().out)["found"]
    assert [member["variant"] for member in found] == ["linear heads=2", "linear heads=1"]
    two, one = (member["state_bytes"] for member in found)
    assert one > 1.5 * two
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} >= {"linear-heads=2", "linear-heads=1"}


def test_upsamplers_are_compared_with_crops_side_by_side(tmp_path, capsys):
    """Pattern, boundary F and time stand in the table; one that fails leaves the others' crops."""
    line = [
        "--over",
        "upsampler",
        "--upsamplers",
        "nearest,deconv2",
        "--preset",
        "tiny",
        "--run",
        str(tmp_path),
    ]
    tail = [
        "--training.steps",
        "2",
        "--training.batch-size",
        "2",
        "--validate-scenes",
        "1",
        "--test-scenes",
        "2",
    ]
    assert main(["compare", "segment", *line, "--progress", "none", "--", *tail]) == 0
    header, *rows, _, path = capsys.readouterr().out.splitlines()
    for column in ("miou", "boundary f", "phase pattern", "milliseconds per scene", "parameters"):
        assert column in header
    assert "state (bytes)" not in header
    assert {row.split()[0] for row in rows} == {"nearest", "deconv2"}
    page = (tmp_path / "report.html").read_text()
    assert path == str(tmp_path / "report.html")
    assert "Rows: image, truth, then nearest, deconv2." in page
    found = {m["name"]: m["metrics"] for m in json.loads((tmp_path / "numbers.json").read_text())["found"]}
    assert found["nearest"]["phase_pattern"] < 1e-6
    assert found["deconv2"]["phase_pattern"] > 0.4


def test_heads_are_compared_with_several_seeds_and_their_densities_beside_the_law(tmp_path, capsys):
    """Means over two seeds, and the law beside what the first one learnt."""
    line = ["compare", "pose", "--over", "head", "--head", "nll_laplace  score=nll", "--preset", "tiny"]
    line += ["--run", str(tmp_path), "--progress", "none"]
    small = "--num-people 2 --validate-people 1 --test-people 2 --training.steps 2 --training.batch-size 2"
    tail = ["--", "--noise", "gauss scale=0.1", "--data.samples", "1", *small.split()]
    assert main([*line, "--seeds", "2", *tail]) == 0
    header, row, *_ = capsys.readouterr().out.splitlines()
    for column in ("seeds", "coverage 90", "label nll nats", "kl from law nats", "training (s)"):
        assert column in header
    for column in ("head parameters", "head mega multiply adds", "mean error px", "pck at 0.2"):
        assert column in header
    found = json.loads((tmp_path / "numbers.json").read_text())["found"]
    assert [one["name"] for one in found] == ["nll_laplace-score=nll", "nll_laplace-score=nll-seed1"]
    assert [one["seed"] for one in found] == [0, 1]
    first, second = (one["metrics"]["label_nll_nats"] for one in found)
    assert first != second
    assert f"{(first + second) / 2:.4g} ± " in row
    page = (tmp_path / "report.html").read_text()
    for text in ("The law is about the truth", "Coverage", "95 % interval"):
        assert text in page
