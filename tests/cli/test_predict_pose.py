"""`linsight predict pose`: a skeleton on a picture, joints by name, mistakes in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linsight.cli.main import main
from linsight.cli.predicting import read_picture
from linsight.data import People
from linsight.data.people import JOINTS
from linsight.tasks.pose import found_in_box
from linsight.training import from_pretrained

TRAIN = "--preset tiny --head rle --training.steps 2 --training.batch-size 2 --num-people 2 --data.samples 1"
FEW = "--validate-people 1 --test-people 1 --progress none"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("pose") / "run"
    assert main(["train", "pose", "--run", str(folder), *TRAIN.split(), *FEW.split()]) == 0
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A person of the test split, 64 x 48, in the corner of a larger picture."""
    image = np.zeros((80, 90, 3), np.uint8)
    image[:64, :48] = People().items("test", np.array([3])).image[0].transpose(1, 2, 0)
    file = tmp_path / "person.png"
    Image.fromarray(image).save(file)
    return file


def test_joints_are_printed_by_name_and_the_skeleton_is_drawn(run, picture, tmp_path, capsys) -> None:
    line = ["predict", "pose", str(picture), "--run", str(run), "-o", str(tmp_path / "out")]
    assert main([*line, "--box", "5,8,35,48"]) == 0
    *lines, file = capsys.readouterr().out.splitlines()
    assert file == str(tmp_path / "out" / "person-pose.png")
    want = found_in_box(from_pretrained(run / "model").eval(), read_picture(picture), (5, 8, 40, 56))
    told = [row.split() for row in lines]
    assert [row[0] for row in told] == list(JOINTS)
    assert [[float(one) for one in row[2:]] for row in told] == pytest.approx(
        np.round(want.xy.numpy(), 2), abs=0.011
    )
    with Image.open(file) as drawn:
        assert drawn.size == (8 * 90, 8 * 80)
        boxed = np.asarray(drawn.convert("RGB")).astype(int)
    assert main([*line, "--score", "9"]) == 0
    with Image.open(file) as drawn:
        plain = np.asarray(drawn.convert("RGB"))
    # With no joint good enough, and no box, nothing is drawn on the picture.
    assert np.array_equal(plain[::8, ::8], np.asarray(Image.open(picture)))
    assert (np.abs(boxed - plain).sum(-1) > 60).any()


def test_json_tells_all_and_without_a_box_the_whole_picture_is_the_crop(run, picture, capsys) -> None:
    assert main(["predict", "pose", str(picture), "--run", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    want = found_in_box(from_pretrained(run / "model").eval(), read_picture(picture))
    assert (found["height"], found["width"], found["box"]) == (80, 90, None)
    assert [row["joint"] for row in found["joints"]] == list(JOINTS)
    for key, numbers in (("xy", want.xy), ("sigma", want.sigma)):
        assert np.array([row[key] for row in found["joints"]]) == pytest.approx(numbers.numpy(), abs=0.011)
    assert [row["score"] for row in found["joints"]] == pytest.approx(want.score.tolist(), rel=1e-5)
    assert found["picture"] == str(run / "predictions" / "person-pose.png")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pose", "missing IMAGE"),
        ("pose none.png --run RUN", "none.png: no such file; expected a picture"),
        ("pose PICTURE --run RUN --box 1,2,3", "--box: expected X,Y,WIDTH,HEIGHT in pixels, got '1,2,3'"),
        ("pose PICTURE --run RUN --box 1,2,3,x", "--box: expected X,Y,WIDTH,HEIGHT in pixels, got '1,2,3,x'"),
        ("pose PICTURE --run RUN --box 1,2,0,4", "--box: expected a width and a height above 0, got"),
        ("pose PICTURE --run RUN --box 1,2,nan,4", "--box: expected a width and a height above 0, got"),
        ("pose PICTURE --run RUN --box 90,2,9,9", "--box: expected a part of the picture of 90 x 80 pixels"),
        ("pose PICTURE --run RUN --box nan,2,9,9", "--box: expected a part of the picture of 90 x 80 pixels"),
        ("pose PICTURE", "runs/pose: no run is here (no config.json); `linsight train` makes one"),
        ("poze PICTURE", "unknown task 'poze'; did you mean 'pose'?"),
    ],
)
def test_what_cannot_be_predicted_is_two_and_one_line(
    line, message, run, picture, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    words = {"PICTURE": picture, "RUN": run}
    assert main(["predict", *(str(words.get(word, word)) for word in line.split())]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*-pose.png"))
