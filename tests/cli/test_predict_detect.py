"""`linsight predict detect`: boxes on a picture, a file that `evaluate detections` reads, mistakes."""

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
from linsight.cli.predicting import read_picture
from linsight.data import Scenes
from linsight.data.annotations import write_coco
from linsight.data.scenes import ground_truth
from linsight.models.vision import found_boxes
from linsight.training import from_pretrained

TRAIN = "--preset tiny --training.steps 2 --training.batch-size 2 --validate-scenes 1 --test-scenes 2"


@pytest.fixture(scope="session")
def detector(shared: Path) -> Path:
    """A run of two steps."""
    folder = shared / "detect"
    with FileLock(shared / "detect.lock"):
        if not (folder / "report.html").exists():
            assert main(["train", "detect", "--run", str(folder), "--progress", "none", *TRAIN.split()]) == 0
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Test scene 3, 96 x 96, as a PNG under its number."""
    (scene,) = Scenes().scenes("test", np.array([3]))
    file = tmp_path / "000003.png"
    Image.fromarray(scene.image.transpose(1, 2, 0)).save(file)
    return file


def expected(run: Path, file: Path) -> list[tuple]:
    """(class, score, corners) of all that the model finds."""
    image = read_picture(file)
    model = from_pretrained(run / "model").eval()
    with torch.no_grad():
        maps = model(torch.from_numpy(image).float().permute(2, 0, 1)[None])
    found = found_boxes(maps, image.shape[:2], most=50, least=0.001, threshold=0.6)
    keep = found.kept[0]
    return [
        (label, pytest.approx(score, rel=1e-4), pytest.approx(box, abs=0.01))
        for label, score, box in zip(
            found.labels[0][keep].tolist(),
            found.scores[0][keep].tolist(),
            found.boxes[0][keep].tolist(),
            strict=True,
        )
    ]


def test_a_picture_and_results_through_the_real_entry_point(
    linsight: Callable[..., subprocess.CompletedProcess[str]], detector: Path, picture: Path, tmp_path: Path
) -> None:
    done = linsight(
        "predict", "detect", picture, "--run", detector, "-o", tmp_path / "out", "--score", "0.012"
    )
    assert done.returncode == 0, done.stderr
    *lines, drawn, results = done.stdout.splitlines()
    assert Path(drawn) == tmp_path / "out" / "000003-boxes.png"
    assert Path(results) == tmp_path / "out" / "000003-detections.json"
    want = expected(detector, picture)
    written = json.loads(Path(results).read_text())
    assert {row["image_id"] for row in written} == {3}
    boxes = [(x, y, x + w, y + h) for x, y, w, h in (row["bbox"] for row in written)]
    assert [(r["category_id"], r["score"], [*b]) for r, b in zip(written, boxes, strict=True)] == want
    told = [line.split() for line in lines]
    assert len(told) == sum(row["score"] >= 0.012 for row in written)
    assert [int(line[0]) for line in told] == [row["category_id"] for row in written[: len(told)]]
    with Image.open(drawn) as image:
        assert image.size == (96 * 8, 96 * 8)


def test_evaluate_detections_reads_the_results(detector, picture, tmp_path, capsys) -> None:
    truth = tmp_path / "gt.json"
    write_coco(ground_truth(Scenes().scenes("test", np.array([3])), [3]), truth)
    assert main(["predict", "detect", str(picture), "--run", str(detector), "-o", str(tmp_path)]) == 0
    results = capsys.readouterr().out.splitlines()[-1]
    assert main(["evaluate", "detections", "--gt", str(truth), "--dt", results, "--json"]) == 0
    assert "AP50" in json.loads(capsys.readouterr().out)["protocols"][0]["numbers"]


def test_json_tells_the_objects_and_files_go_to_the_run(detector, tmp_path, capsys) -> None:
    """A picture of other sides, whose name is no number."""
    file = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 131, 3), dtype=np.uint8)).save(file)
    line = ["predict", "detect", str(file), "--run", str(detector), "--score", "0", "--json"]
    assert main(line) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["height"], found["width"]) == (45, 131)
    want = expected(detector, file)
    assert [(row["class"], row["score"], row["xyxy"]) for row in found["objects"]] == want
    assert all(0 <= row["xyxy"][0] <= row["xyxy"][2] <= 131 for row in found["objects"])
    assert Path(found["detections"]) == detector / "predictions" / "wide-detections.json"
    assert {row["image_id"] for row in json.loads(Path(found["detections"]).read_text())} == {0}
    assert main([*line, "--image-id", "17"]) == 0
    capsys.readouterr()
    assert {row["image_id"] for row in json.loads(Path(found["detections"]).read_text())} == {17}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("detect", "missing IMAGE"),
        ("detect none.png --run RUN", "none.png: no such file; expected a picture"),
        ("detect PICTURE --run RUN --score 2", "--score: expected a number from 0 to 1, got 2"),
        ("detect PICTURE", "runs/detect: no run is here (no config.json); `linsight train` makes one"),
        ("detect PICTURE --run OTHER", "--run: expected a run of detect, got one of generate in"),
        ("detect PICTURE --run RUN -o PICTURE", "--out: expected a folder, got the file"),
        ("detect PICTURE --run RUN --image-id x", "image-id"),
    ],
)
def test_what_cannot_be_predicted_is_two_and_one_line(
    line, message, detector, trained, picture, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    words = {"PICTURE": picture, "RUN": detector, "OTHER": trained}
    assert main(["predict", *(str(words.get(word, word)) for word in line.split())]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*-boxes.png"))
