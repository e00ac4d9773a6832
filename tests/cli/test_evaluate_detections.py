"""`linsight evaluate detections`: one data set in every format, known numbers, refusals."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from linsight.cli.main import main

# The worked example of metrics/average_precision (test_worked_examples.py), corners in whole pixels.
TRUTH = {
    1: [(0, 0, 100, 100), (200, 0, 260, 60)],
    2: [(50, 50, 150, 250), (300, 300, 340, 340)],
    3: [(10, 10, 30, 30)],
}
FOUND = [
    (1, (0, 0, 100, 90), 0.95),
    (1, (205, 0, 265, 60), 0.80),
    (1, (400, 400, 450, 450), 0.90),
    (2, (50, 50, 150, 200), 0.85),
    (2, (50, 60, 150, 250), 0.60),
    (2, (300, 300, 340, 325), 0.30),
    (3, (10, 10, 30, 22), 0.70),
    (3, (100, 100, 120, 120), 0.40),
]
NUMBERS = {"coco": 0.4924092409, "voc07": 0.8227272727, "voc10": 0.8050000000}
SIDE = 500


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The same annotations as COCO's files, VOC's, YOLO's, and text in pixels."""
    root = tmp_path_factory.mktemp("detections")
    boxes = [(image, box) for image, several in TRUTH.items() for box in several]
    gt = {
        "images": [{"id": image, "height": SIDE, "width": SIDE} for image in TRUTH],
        "categories": [{"id": 0, "name": "thing"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": 0, "bbox": xywh(box), "area": area(box), "iscrowd": 0}
            for n, (image, box) in enumerate(boxes)
        ],
    }
    dt = [
        {"image_id": image, "category_id": 0, "bbox": xywh(box), "score": score}
        for image, box, score in FOUND
    ]
    (root / "gt.json").write_text(json.dumps(gt))
    (root / "dt.json").write_text(json.dumps(dt))
    for folder in ("voc", "voc-found", "yolo", "yolo-found", "xyxy", "xyxy-found", "images"):
        (root / folder).mkdir()
    (root / "names.txt").write_text("thing\n")
    for image, several in TRUTH.items():
        Image.new("L", (SIDE, SIDE)).save(root / "images" / f"{image}.png")
        objects = "".join(
            f"<object><name>thing</name><difficult>0</difficult><bndbox><xmin>{a + 1}</xmin>"
            f"<ymin>{b + 1}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
            for a, b, c, d in several
        )
        size = f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>1</depth></size>"
        (root / "voc" / f"{image}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
        (root / "yolo" / f"{image}.txt").write_text("".join(f"0 {relative(box)}\n" for box in several))
        (root / "xyxy" / f"{image}.txt").write_text("".join(f"thing {words(box)}\n" for box in several))
        mine = [(box, score) for place, box, score in FOUND if place == image]
        (root / "yolo-found" / f"{image}.txt").write_text(
            "".join(f"0 {relative(box)} {score}\n" for box, score in mine)
        )
        (root / "xyxy-found" / f"{image}.txt").write_text(
            "".join(f"0 {words(box)} {score}\n" for box, score in mine)
        )
    (root / "voc-found" / "comp4_det_test_thing.txt").write_text(
        "".join(f"{i} {score} {a + 1} {b + 1} {c} {d}\n" for i, (a, b, c, d), score in FOUND)
    )
    return root


def xywh(box):
    a, b, c, d = box
    return [a, b, c - a, d - b]


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def words(box):
    return " ".join(map(str, box))


def relative(box):
    a, b, c, d = (side / SIDE for side in box)
    return f"{(a + c) / 2!r} {(b + d) / 2!r} {c - a!r} {d - b!r}"


def evaluated(capsys, *arguments):
    assert main(["evaluate", "detections", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def of_form(places, form):
    if form == "coco":
        return ["--gt", places / "gt.json", "--dt", places / "dt.json"]
    pair = ["--gt", places / form, "--dt", places / f"{form}-found"]
    if form == "voc":
        return pair
    texts = ["--categories", places / "names.txt", "--images", places / "images"]
    return [*pair, *texts, "--gt-format", form, "--dt-format", form]


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "xyxy"])
def test_one_data_set_has_one_number_in_every_format(places, capsys, form):
    """The example's numbers under three protocols; only the flags of the files could differ."""
    found = evaluated(capsys, *of_form(places, form), "--protocol", "coco,voc07,voc10")
    for result, (name, number) in zip(found["protocols"], NUMBERS.items(), strict=True):
        assert result["protocol"]["name"] == name
        assert result["numbers"]["AP"] == pytest.approx(number, abs=1e-10)
        # VOC's own pixel is in the corners of VOC's files; in others its protocols add it, as by default.
        assert result["protocol"]["plus_one"] == (name != "coco" and form != "voc")


def test_what_differs_is_said_in_words_and_numbers(places, capsys):
    """A line for each further protocol; with the integrator of voc10, voc07 would be voc10."""
    assert (
        main(["evaluate", "detections", *map(str, of_form(places, "coco")), "--protocol", "voc07,voc10"]) == 0
    )
    said = capsys.readouterr().out.splitlines()
    assert "5 objects of 1 classes in 3 images; 8 detections" in said
    (line,) = [line for line in said if "voc10 says" in line]
    assert line == (
        "voc10 says 0.8050 where voc07 says 0.8227; with one of voc10's choices voc07 would say: "
        "integrator 0.8050"
    )


def test_the_page_has_everything_inside(places, tmp_path, capsys):
    page = tmp_path / "page.html"
    arguments = [*of_form(places, "coco"), "--protocol", "coco,voc07", "--per-class", "--html", page]
    assert main(["evaluate", "detections", *map(str, arguments)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(page)
    assert "best F1" in said
    text = page.read_text()
    for title in ("Precision against recall", "Confusion", "Kinds of error", "Images with most errors"):
        assert title in text
    assert "voc07 says 0.8227 where coco says 0.4924" in text
    assert "0.8, 0.85, 0.9, 0.95" in text
    assert "medium 1024 to 9216" in text
    assert text.count("data:image/png;base64,") == 2
    assert "http" not in text.replace("http://www.w3.org", "")


@pytest.mark.parametrize("form", ["--json", "--per-class"])
def test_numbers_come_without_torch_and_matplotlib(places, form):
    """Which cost more memory and time than half a million detections."""
    arguments = ["evaluate", "detections", "--gt", str(places / "gt.json"), "--dt", str(places / "dt.json")]
    code = (
        "import sys; from linsight.cli.main import main; "
        f"main({[*arguments, '--protocol', 'coco,voc07', form]}); "
        "print([name for name in ('torch', 'scipy', 'matplotlib') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "0.49" in done.stdout


def test_masks_and_keypoints(tmp_path, capsys):
    """A mask that misses a quarter; 17 joints 10 pixels off, whose similarity is 0.647 (area 10,000)."""
    joints = np.zeros((17, 3))
    joints[:, :2], joints[:, 2] = np.arange(34).reshape(17, 2) * 10, 2
    off = joints.copy()
    off[:, 0] += 10
    counts = [0, 10000, 200 * 200 - 10000]
    gt = {
        "images": [{"id": 7, "height": 200, "width": 200}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": 0, "image_id": 7, "category_id": 1, "bbox": [0, 0, 50, 200], "area": 10000, "iscrowd": 0}
            | {"segmentation": {"size": [200, 200], "counts": counts}}
            | {"keypoints": joints.ravel().tolist(), "num_keypoints": 17}
        ],
    }
    found = {"image_id": 7, "category_id": 1, "score": 0.5}
    mask = {"segmentation": {"size": [200, 200], "counts": [0, 7500, 200 * 200 - 7500]}}
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    (tmp_path / "mask.json").write_text(json.dumps([found | mask]))
    (tmp_path / "joints.json").write_text(json.dumps([found | {"keypoints": off.ravel().tolist()}]))
    place = ["--gt", tmp_path / "gt.json", "--dt"]
    numbers = evaluated(capsys, *place, tmp_path / "mask.json", "--iou", "mask")["protocols"][0]["numbers"]
    assert numbers["AP"] == pytest.approx(0.6)  # an IoU of 0.75 passes .50 to .75
    numbers = evaluated(capsys, *place, tmp_path / "joints.json", "--iou", "keypoints")["protocols"][0][
        "numbers"
    ]
    assert (numbers["AP"], numbers["AP50"], numbers["AP75"]) == pytest.approx((0.3, 1.0, 0.0))


def test_refusals_are_one_line(places, tmp_path, capsys):
    gt, dt = ["--gt", places / "gt.json"], ["--dt", places / "dt.json"]
    bad = tmp_path / "bad.json"
    bad.write_text('[{"image_id": 9, "category_id": 0, "bbox": [0, 0, 1, 1], "score": 0.5}]')
    broken = tmp_path / "broken.json"
    broken.write_text("[{")
    for arguments, message in (
        ([*gt, "--dt", places / "gt.json"], "expected detections, got ground truth (coco)"),
        (["--gt", places / "dt.json", *dt], "expected ground truth, got detections (coco-results)"),
        ([*gt, "--dt", places / "none.json"], "none.json: there is no such file or folder"),
        ([*gt, "--dt", bad], "bad.json"),
        ([*gt, "--dt", broken], "broken.json"),
        ([*gt, *dt, "--protocol", "coco,voc12"], "protocol: expected one of coco, voc07, voc10, ultralytics"),
        ([*gt, *dt, "--iou", "keypoints"], "no keypoints in the ground truth"),
        ([*gt, *dt, "--iou", "mask", "--protocol", "voc07"], "protocol voc07: expected coco for masks"),
        (["--gt", places / "yolo", *dt], "may be of several formats; name the one they are in"),
        (["--gt", places / "yolo", "--gt-format", "yolo", *dt], "categories: expected a file with a class"),
    ):
        assert main(["evaluate", "detections", *map(str, arguments)]) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.err.count("\n") == 1
        assert said.out == ""


def test_a_run_folder_of_that_name_is_evaluated_by_its_path(capsys):
    """`evaluate detections` is of files; without them it says which are missing."""
    assert main(["evaluate", "detections"]) == 2
    assert "--gt" in capsys.readouterr().err
