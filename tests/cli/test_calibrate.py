"""`linsight calibrate`: a person's error of known size is found, written, and taken away by predict."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from linsight.cli.main import main
from linsight.cli.predicting import read_picture
from linsight.data.gaze import Eyes, mirror_angles
from linsight.ops import exp_map
from linsight.tasks.gaze import gaze_in_box
from linsight.training import from_pretrained

SHIFT = torch.deg2rad(torch.tensor([2.0, -1.5], dtype=torch.float64))


@pytest.fixture
def samples(gazer, tmp_path: Path) -> Path:
    """Eight pictures of a person about whom the run is wrong by one residual; every other eye a right one."""
    model = from_pretrained(gazer / "model")
    eyes = Eyes(size=(18, 30), channels=3, supersample=1, mirror_right=False)
    found = eyes.samples(np.zeros(8, int), np.arange(8))
    written = []
    for number, image in enumerate(found.image):
        canvas = np.full((40, 50, 3), 90, np.uint8)
        canvas[10:28, 5:35] = image.permute(1, 2, 0).numpy()
        Image.fromarray(canvas).save(tmp_path / f"{number}.png")
        right = bool(number % 2)
        picture = read_picture(tmp_path / f"{number}.png")
        said = gaze_in_box(model, picture, (5.0, 10.0, 35.0, 28.0), right=right).angles
        truth = exp_map(mirror_angles(said) if right else said, SHIFT)
        truth = torch.rad2deg(mirror_angles(truth) if right else truth)
        box = [5, 10, 30, 18]
        written.append({"image": f"{number}.png", "gaze": truth.tolist(), "right": right, "box": box})
    (tmp_path / "me.json").write_text(json.dumps(written))
    return tmp_path / "me.json"


def test_a_constant_error_is_measured_and_taken_away(gazer, samples, capsys) -> None:
    line = ["calibrate", str(samples), "--run", str(gazer), "--kind", "offset", "--json"]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 8
    assert told["degrees"]["none"] == pytest.approx(2.5, abs=1e-3)
    assert told["degrees"]["offset"] == pytest.approx(0, abs=1e-3)
    assert told["degrees"]["ridge"] < 0.5
    assert Path(told["calibration"]) == samples.with_name("me-calibration.json")
    for number, sample in enumerate(json.loads(samples.read_text())[:2]):
        predict = ["predict", "gaze", str(samples.with_name(f"{number}.png")), "--run", str(gazer), "--json"]
        predict += ["--box", "5,10,30,18", "--calibration", told["calibration"], *(["--right"] * number)]
        assert main(predict) == 0
        found = json.loads(capsys.readouterr().out)["degrees"]
        assert [found["pitch"], found["yaw"]] == pytest.approx(sample["gaze"], abs=1e-3)


def test_the_errors_are_printed_and_what_cannot_be_said_is_not(gazer, samples, tmp_path, capsys) -> None:
    """One sample has nobody left to measure by; an affine map of six has, of the five others, none."""
    for count, unsaid in ((1, {"none", "offset", "ridge", "affine"}), (6, {"affine"})):
        few, out = tmp_path / "few.json", tmp_path / "new" / "few.json"
        few.write_text(json.dumps(json.loads(samples.read_text())[:count]))
        assert main(["calibrate", str(few), "--run", str(gazer), "-o", str(out)]) == 0
        title, *rows, written = capsys.readouterr().out.splitlines()
        assert title == f"mean error of {count} samples, by leave-one-out"
        assert {row.split()[0] for row in rows if row.split()[1] == "-"} == unsaid
        assert Path(written) == out
        assert math.isfinite(sum(json.loads(out.read_text())["shift"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("none.json --run RUN", "none.json: no such file; expected samples of a person"),
        ("SAMPLES --run RUN -o FOLDER", "--out: expected a file, got the folder"),
        ("SAMPLES --run OTHER", "--run: expected a run of gaze, got one of generate in"),
        ("FEW --run RUN --kind affine", "prediction: expected at least 6 samples for 'affine', got 1"),
        ("LOST --run RUN", "lost.png: no such file; expected a picture"),
        ("BESIDE --run RUN", "--box: expected a part of the picture of 50 x 40 pixels"),
    ],
)
def test_mistakes_are_two_one_line_and_no_file(
    words, message, gazer, trained, samples, tmp_path, capsys
) -> None:
    one = json.loads(samples.read_text())[0]
    for name, changed in (("few", {}), ("lost", {"image": "lost.png"}), ("beside", {"box": [60, 0, 5, 5]})):
        (tmp_path / f"{name}.json").write_text(json.dumps([{**one, **changed}]))
    known = {"RUN": gazer, "OTHER": trained, "SAMPLES": samples, "FOLDER": tmp_path}
    known |= {name: tmp_path / f"{name.lower()}.json" for name in ("FEW", "LOST", "BESIDE")}
    assert main(["calibrate", *(str(known.get(word, word)) for word in words.split())]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*-calibration.json"))
