"""A person's samples as a file: two ways to say where somebody looked, and every mistake named."""

import json
import math
from pathlib import Path

import pytest
import torch

from linsight.ops import to_vector
from linsight.tasks.gaze import read_looked_at


def written(tmp_path: Path, content: object) -> Path:
    file = tmp_path / "me.json"
    file.write_text(json.dumps(content))
    return file


def test_an_angle_in_degrees_and_two_points_say_the_same(tmp_path) -> None:
    """The eye 60 away, looking along the vector of pitch 10 and yaw -20 for any length."""
    along = to_vector(torch.deg2rad(torch.tensor([10.0, -20.0], dtype=torch.float64)))
    eye = torch.tensor([3.0, -4.0, 60.0], dtype=torch.float64)
    samples = [
        {"image": "a.png", "gaze": [10, -20]},
        {
            "image": "b/c.png",
            "eye": eye.tolist(),
            "target": (eye + 55 * along).tolist(),
            "box": [1, 2, 30, 18.5],
            "right": True,
            "head": [-5, 90],
        },
    ]
    one, other = read_looked_at(written(tmp_path, samples))
    torch.testing.assert_close(one.gaze, other.gaze, rtol=0, atol=1e-12)
    assert torch.rad2deg(one.gaze).tolist() == pytest.approx([10, -20])
    assert (one.image, one.box, one.right, one.head) == (tmp_path / "a.png", None, False, None)
    assert other.image == tmp_path / "b" / "c.png"
    assert other.box == (1, 2, 30, 18.5)
    assert other.right
    assert other.head == pytest.approx((math.radians(-5), math.pi / 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected a list of at least one sample"),
        ({"image": "a"}, "expected a list of at least one sample, got dict"),
        ([3], "sample 0: expected an object with the path of an image, got 3"),
        ([{"gaze": [0, 0]}], "sample 0: expected an object with the path of an image"),
        (
            [{"image": "a", "gaze": [0, 0]}, {"image": "a"}],
            "sample 1: expected gaze, or eye and target",
        ),
        (
            [{"image": "a", "gaze": [0, 0], "eye": [0, 0, 1]}],
            "expected .* and target, got gaze, eye",
        ),
        ([{"image": "a", "target": [0, 0, 0]}], "expected gaze, or eye and target, got target"),
        ([{"image": "a", "gaze": [0]}], r"gaze: expected 2 finite numbers, got \[0\]"),
        ([{"image": "a", "gaze": [0, True]}], "gaze: expected 2 finite numbers"),
        ([{"image": "a", "gaze": [0, math.nan]}], "gaze: expected 2 finite numbers"),
        ([{"image": "a", "gaze": [91, 0]}], "gaze: expected a pitch within 90 and a yaw within 180"),
        (
            [{"image": "a", "eye": [1, 2, 3], "target": [1, 2, 3]}],
            "target: expected another point",
        ),
        ([{"image": "a", "gaze": [0, 0], "box": [1, 2, 3]}], "box: expected 4 finite numbers"),
        ([{"image": "a", "gaze": [0, 0], "head": "x"}], "head: expected 2 finite numbers, got 'x'"),
        ([{"image": "a", "gaze": [0, 0], "right": 1}], "right: expected true or false, got 1"),
        ([{"image": "a", "gaze": [0, 0], "left": True}], "left: unknown key; known: image, box, right"),
    ],
)
def test_what_is_no_sample_is_refused(content, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        read_looked_at(written(tmp_path, content))


def test_a_file_that_is_not_there_or_no_json_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file; expected samples of a person"):
        read_looked_at(tmp_path / "none.json")
    (tmp_path / "me.json").write_text("[")
    with pytest.raises(ValueError, match="expected JSON, got something else"):
        read_looked_at(tmp_path / "me.json")
