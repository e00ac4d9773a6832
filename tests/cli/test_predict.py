"""`linsight predict`: a mask and an overlay of a picture, and one clear line for every mistake."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from linsight.cli.main import main
from linsight.cli.predicting import png, read_picture
from linsight.data import Scenes
from linsight.data.annotations.voc_masks import read_voc_mask
from linsight.tasks.segment import COLOURS, predict_tiled
from linsight.training import from_pretrained

Command = Callable[..., subprocess.CompletedProcess[str]]

TRAIN = "--preset tiny --training.steps 2 --training.batch-size 2 --validate-scenes 1 --test-scenes 2"


@pytest.fixture(scope="session")
def segmenter(shared: Path) -> Path:
    """A run of two steps."""
    folder = shared / "segment"
    with FileLock(shared / "segment.lock"):
        if not (folder / "report.html").exists():
            assert main(["train", "segment", "--run", str(folder), "--progress", "none", *TRAIN.split()]) == 0
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A test scene, 96 x 96, as a PNG."""
    (scene,) = Scenes().scenes("test", np.array([0]))
    file = tmp_path / "scene.png"
    Image.fromarray(scene.image.transpose(1, 2, 0)).save(file)
    return file


def expected(run: Path, image: np.ndarray) -> np.ndarray:
    model = from_pretrained(run / "model")
    with torch.no_grad():
        return model(torch.from_numpy(image).float().permute(2, 0, 1)[None]).argmax(1)[0].numpy()


def test_a_mask_and_an_overlay_through_the_real_entry_point(
    linsight: Command, segmenter: Path, picture: Path, tmp_path: Path
) -> None:
    done = linsight("predict", "segment", picture, "--run", segmenter, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    *classes, mask_file, overlay_file = done.stdout.splitlines()
    assert Path(mask_file) == tmp_path / "out" / "scene-mask.png"
    assert Path(overlay_file) == tmp_path / "out" / "scene-overlay.png"
    mask = read_voc_mask(mask_file)
    np.testing.assert_array_equal(mask, expected(segmenter, read_picture(picture)))
    told = {line.split()[0]: float(line.split()[1]) for line in classes}
    names = ["background", *map(str, range(10))]
    counted = {names[k]: 100 * (mask == k).mean() for k in np.unique(mask)}
    assert told == pytest.approx(counted, abs=0.006)
    with Image.open(mask_file) as image:
        assert image.getpalette()[: COLOURS.size] == COLOURS.ravel().tolist()
    with Image.open(overlay_file) as image:
        assert (image.size, image.mode) == ((96, 96), "RGB")


def test_json_has_shares_that_sum_to_1_and_files_go_to_the_run(
    segmenter: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "segment", str(picture), "--run", str(segmenter), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["height"], found["width"]) == (96, 96)
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert Path(found["mask"]) == segmenter / "predictions" / "scene-mask.png"
    assert Path(found["overlay"]).exists()


def test_a_larger_picture_is_predicted_in_tiles(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command does what `predict_tiled` does with its tile and overlap."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 150, 3), dtype=np.uint8)
    file = tmp_path / "wide.png"
    Image.fromarray(pixels).save(file)
    line = ["predict", "segment", str(file), "--run", str(segmenter), "-o", str(tmp_path)]
    assert main([*line, "--tile", "64", "--overlap", "16"]) == 0
    image = torch.from_numpy(read_picture(file)).float().permute(2, 0, 1)
    with torch.no_grad():
        mask = predict_tiled(from_pretrained(segmenter / "model"), image, tile=64, overlap=16, stride=8)
    np.testing.assert_array_equal(read_voc_mask(tmp_path / "wide-mask.png"), mask.numpy())
    capsys.readouterr()


@pytest.mark.parametrize(
    ("mode", "pixels", "value"),
    [
        ("L", np.full((4, 5), 51, np.uint8), 0.2),
        ("I;16", np.full((4, 5), 13107, np.uint16), 0.2),
        ("RGBA", np.full((4, 5, 4), (51, 51, 51, 0), np.uint8), 0.2),
        ("1", np.ones((4, 5), bool), 1.0),
    ],
)
def test_pictures_of_every_mode_are_read_as_colours_in_0_to_1(tmp_path, mode, pixels, value) -> None:
    file = tmp_path / "one.png"
    Image.fromarray(pixels).save(file)
    with Image.open(file) as image:
        assert image.mode == mode
    found = read_picture(file)
    assert found.shape == (4, 5, 3)
    np.testing.assert_allclose(found, value)


def test_a_picture_is_turned_as_its_camera_says(tmp_path) -> None:
    file = tmp_path / "turned.jpg"
    picture = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(file, exif=exif)
    assert read_picture(file).shape == (6, 4, 3)


def test_pictures_are_written_to_the_nearest_of_256_values(tmp_path) -> None:
    picture = np.linspace(0, 1, 60).reshape(4, 5, 3)
    file = tmp_path / "one.png"
    file.write_bytes(png(picture))
    np.testing.assert_allclose(read_picture(file), picture, atol=0.5 / 255 + 1e-12)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("segmen PICTURE", "unknown task 'segmen'; did you mean 'segment'?"),
        ("segment", "missing IMAGE"),
        ("segment none.png --run RUN", "none.png: no such file; expected a picture"),
        ("segment TEXT --run RUN", "cannot be read as a picture"),
        (
            "segment PICTURE --run nowhere",
            "nowhere: no run is here (no config.json); `linsight train` makes one",
        ),
        ("segment PICTURE", "runs/segment: no run is here (no config.json); `linsight train` makes one"),
        ("segment PICTURE --run OTHER", "--run: expected a run of segment, got one of generate in"),
        ("segment PICTURE --run RUN -o PICTURE", "--out: expected a folder, got the file"),
        (
            "segment PICTURE --run RUN --tile 100",
            "tile: expected a multiple of the model's stride 8, got 100",
        ),
        ("segment PICTURE --run RUN --overlap 9", "overlap: expected a multiple of the model's stride 8"),
        ("segment PICTURE --run RUN --title 9", "unrecognized options: --title"),
    ],
)
def test_what_cannot_be_predicted_is_two_and_one_line(
    line, message, segmenter, trained, picture, tmp_path, monkeypatch, capsys
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    words = {"PICTURE": picture, "RUN": segmenter, "OTHER": trained, "TEXT": tmp_path / "text.png"}
    assert main(["predict", *(str(words.get(word, word)) for word in line.split())]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*-mask.png"))


def test_a_run_without_a_model_yet_is_told(segmenter, picture, tmp_path, capsys) -> None:
    run = tmp_path / "begun"
    run.mkdir()
    (run / "config.json").write_bytes((segmenter / "config.json").read_bytes())
    assert main(["predict", "segment", str(picture), "--run", str(run)]) == 2
    assert capsys.readouterr().err.startswith("linsight: ")


@pytest.mark.parametrize(("line", "code"), [(["--help"], 0), ([], 2)])
def test_help_lists_the_tasks(line, code, capsys) -> None:
    assert main(["predict", *line]) == code
    printed = capsys.readouterr()
    assert "segment   the class of every pixel" in printed.out + printed.err
