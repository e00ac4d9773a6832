"""`linsight predict gaze`: an arrow on a picture, degrees, a person's calibration, mistakes."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from linsight.cli.main import main
from linsight.cli.predicting import read_picture
from linsight.data.gaze import Eyes
from linsight.tasks.gaze import GazeCalibration, gaze_in_box, save_calibration
from linsight.training import from_pretrained


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An eye, 18 x 30, within a picture of 40 x 50."""
    (eye,) = Eyes(size=(18, 30), channels=3, supersample=1).samples(np.array([0]), np.array([1])).image
    canvas = np.full((40, 50, 3), 90, np.uint8)
    canvas[10:28, 5:35] = eye.permute(1, 2, 0).numpy()
    file = tmp_path / "face.png"
    Image.fromarray(canvas).save(file)
    return file


def test_the_report_of_a_run_says_what_its_numbers_are_not(gazer) -> None:
    page = (gazer / "report.html").read_text()
    assert "not comparable with MPIIGaze" in page
    assert "Person by person" in page


def test_degrees_and_an_arrow(gazer, picture, tmp_path, capsys) -> None:
    line = ["predict", "gaze", str(picture), "--run", str(gazer), "-o", str(tmp_path), "--box", "5,10,30,18"]
    assert main(line) == 0
    pitch, yaw, drawn = capsys.readouterr().out.splitlines()
    want = gaze_in_box(from_pretrained(gazer / "model"), read_picture(picture), (5.0, 10.0, 35.0, 28.0))
    for name, text, angle, sigma in zip(("pitch", "yaw"), (pitch, yaw), want.angles, want.sigma, strict=True):
        found = re.fullmatch(rf"{name} +([+-]\d+\.\d\d)  \+- (\d+\.\d\d)", text)
        assert found, text
        assert float(found[1]) == pytest.approx(math.degrees(angle), abs=0.006)
        assert float(found[2]) == pytest.approx(math.degrees(sigma), abs=0.006)
    assert Path(drawn) == tmp_path / "face-gaze.png"
    with Image.open(drawn) as image:
        assert image.size == (50 * 8, 40 * 8)
        # The box is green, the arrow yellow.
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    assert (np.abs(colours - [61, 220, 132]).max(1) < 30).any()


def test_json_tells_the_same_and_a_calibration_moves_it(gazer, picture, tmp_path, capsys) -> None:
    shift = GazeCalibration()
    shift.shift.copy_(torch.deg2rad(torch.tensor([2.0, -3.0], dtype=torch.float64)))
    save_calibration(shift, tmp_path / "me.json")
    line = ["predict", "gaze", str(picture), "--run", str(gazer), "--json"]
    told = []
    for more in ([], ["--calibration", str(tmp_path / "me.json")], ["--right"]):
        assert main([*line, *more]) == 0
        told.append(json.loads(capsys.readouterr().out))
    plain, moved, right = told
    assert (plain["height"], plain["width"], plain["box"]) == (40, 50, None)
    assert Path(plain["picture"]) == gazer / "predictions" / "face-gaze.png"
    assert moved["degrees"]["pitch"] == pytest.approx(plain["degrees"]["pitch"] + 2, abs=2e-4)
    assert moved["degrees"]["yaw"] == pytest.approx(plain["degrees"]["yaw"] - 3, abs=2e-4)
    assert right["degrees"] != plain["degrees"]
    assert plain["sigma_degrees"]["yaw"] > 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gaze", "missing IMAGE"),
        ("gaze none.png --run RUN", "none.png: no such file; expected a picture"),
        ("gaze PICTURE", "runs/gaze: no run is here (no config.json); `linsight train` makes one"),
        ("gaze PICTURE --run OTHER", "--run: expected a run of gaze, got one of generate in"),
        ("gaze PICTURE --run RUN --box 1,2,3", "--box: expected X,Y,WIDTH,HEIGHT in pixels, got '1,2,3'"),
        ("gaze PICTURE --run RUN --box 1,2,0,3", "--box: expected a width and a height above 0"),
        ("gaze PICTURE --run RUN --box 60,2,5,5", "--box: expected a part of the picture of 50 x 40 pixels"),
        ("gaze PICTURE --run RUN --head 1", "--head: expected PITCH,YAW in degrees, got '1'"),
        ("gaze PICTURE --run RUN --head 91,0", "--head: expected a pitch within 90 and a yaw within 180"),
        ("gaze PICTURE --run RUN --calibration none.json", "none.json: no such file; expected a calibration"),
    ],
)
def test_what_cannot_be_predicted_is_two_and_one_line(
    line, message, gazer, trained, picture, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    words = {"PICTURE": picture, "RUN": gazer, "OTHER": trained}
    assert main(["predict", *(str(words.get(word, word)) for word in line.split())]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*-gaze.png"))
