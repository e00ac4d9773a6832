"""`linsight sample`: images as a picture or an array, the speed, and what cannot be drawn."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from linsight.cli.main import main

Command = Callable[..., subprocess.CompletedProcess[str]]


def draw(trained: Path, out: Path, *more: str) -> dict[str, np.ndarray]:
    assert main(["sample", str(trained), "--out", str(out), "--json", *more]) == 0
    with np.load(out) as arrays:
        return dict(arrays)


def test_a_picture_and_its_speed_through_the_real_entry_point(
    linsight: Command, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "six.png"
    done = linsight("sample", trained, "-n", "6", "--out", out)
    assert done.returncode == 0, done.stderr
    speed, path = done.stdout.splitlines()
    assert path == str(out)
    assert speed.startswith("6 images, 98 steps of 6 images at a time, ")
    for unit in ("ms/step", "images/s", "bytes per image"):
        assert unit in speed
    assert out.read_bytes().startswith(b"\x89PNG")


def test_json_says_what_was_measured(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(trained, tmp_path / "x.npz", "-n", "2")
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["steps"], found["temperature"]) == (2, 98, 1.0)
    assert found["images_per_second"] > 0
    assert found["state_bytes_per_image"] > 0


def test_the_seed_decides_the_draws(trained: Path, tmp_path: Path) -> None:
    first, again, other = (
        draw(trained, tmp_path / f"{name}.npz", "-n", "4", "--seed", seed)["images"]
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    assert first.shape == (4, 28, 28)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_label_is_given_and_kept(trained: Path, tmp_path: Path) -> None:
    arrays = draw(trained, tmp_path / "x.npz", "-n", "3", "--label", "7")
    assert arrays["labels"].tolist() == [7, 7, 7]


def test_inpainting_keeps_the_rows_it_was_given(trained: Path, tmp_path: Path) -> None:
    arrays = draw(trained, tmp_path / "x.npz", "-n", "5", "--inpaint", "0.5")
    np.testing.assert_array_equal(arrays["images"][:, :14], arrays["given"][:, :14])
    assert (arrays["images"][:, 14:] != arrays["given"][:, 14:]).any()


def test_inpainting_everything_draws_nothing(trained: Path, tmp_path: Path) -> None:
    arrays = draw(trained, tmp_path / "x.npz", "-n", "2", "--inpaint", "1")
    np.testing.assert_array_equal(arrays["images"], arrays["given"])


def test_the_picture_of_an_inpainting_goes_to_the_run_folder(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(trained), "-n", "3", "--inpaint", "0.5"]) == 0
    assert capsys.readouterr().out.endswith(f"{trained / 'samples.png'}\n")
    assert (trained / "samples.png").exists()


def test_another_temperature_is_said_to_be_no_sample_of_the_law(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["sample", str(trained), "-n", "1", "--temperature", "0.5", "--out", str(tmp_path / "x.png")])
        == 0
    )
    assert "temperature 0.5: these are no samples of the model's law" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-n 0", "--number: expected at least 1, got 0"),
        ("--temperature 0", "--temperature: expected a number above 0, got 0.0"),
        ("--inpaint 1.5", "--inpaint: expected a share of the rows in [0, 1], got 1.5"),
        ("--out x.jpg", "--out: expected a name that ends in .png, .npz or .txt, got 'x.jpg'"),
        ("--label 10", "--label: expected 0 to 9, got 10"),
        ("--inpaint 0.5 -n 13", "--number: expected at most the 12 test images there are, got 13"),
    ],
)
def test_what_cannot_be_drawn_is_two_and_one_line(
    line: str, message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(trained), *line.split()]) == 2
    assert capsys.readouterr().err == f"linsight: {message}\n"
