"""One small data set in every format gives one set of boxes; formats are told by what they alone have."""

from pathlib import Path

import numpy as np
import pytest

from linsight.data.annotations import (
    YOLO,
    YOLO_DETECTIONS,
    Detections,
    GroundTruth,
    Lines,
    read_coco,
    read_coco_results,
    read_lines,
    read_lines_detections,
    read_voc,
    read_voc_detections,
    recognise,
    to_xyxy,
    write_coco,
    write_coco_results,
    write_lines,
    write_voc,
    write_voc_detections,
)
from linsight.data.annotations.tables import BoxFormat, to_voc

SIZES = {"1": (32, 64), "2": (16, 16), "3": (8, 8)}
NAMES = ("bird", "fish")


def truth() -> GroundTruth:
    box = np.array([[0.0, 0.0, 8.0, 4.0], [16.5, 2.25, 32.0, 32.0], [1.0, 2.0, 3.0, 16.0]])
    return GroundTruth(
        image_ids=np.array([1, 2, 3]),
        image_names=("1.png", "2.png", "3.png"),
        image_sizes=np.array(list(SIZES.values())),
        category_ids=np.array([0, 1]),
        category_names=NAMES,
        annotation_id=np.array([0, 1, 2]),
        image_id=np.array([1, 1, 2]),
        category_id=np.array([1, 0, 1]),
        box=box,
        box_format="xyxy",
        area=(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]),
        area_source="box",
        crowd=np.zeros(3, bool),
        difficult=np.array([False, True, False]),
        ignore=np.zeros(3, bool),
    )


def found() -> Detections:
    return Detections(
        image_id=np.array([1, 1, 2]),
        category_id=np.array([0, 1, 1]),
        box=np.array([[0.5, 0.25, 8.0, 4.0], [16.0, 2.0, 32.0, 31.0], [1.0, 2.0, 3.0, 16.0]]),
        box_format="xyxy",
        score=np.array([0.75, 1 / 3, 0.125]),
    )


EVERY_LINES = [
    Lines(box, relative=relative, score="none")
    for box in ("xyxy", "xywh", "cxcywh")
    for relative in (False, True)
]


def test_ground_truth_is_the_same_in_every_format(tmp_path: Path) -> None:
    """Halves and quarters are exact in all of them."""
    one = truth()
    write_coco(one, tmp_path / "coco.json")
    write_voc(one, tmp_path / "voc")
    tables = [read_coco(tmp_path / "coco.json"), read_voc(tmp_path / "voc", categories=NAMES)]
    for number, lines in enumerate(EVERY_LINES):
        write_lines(one, tmp_path / str(number), lines, sizes=SIZES)
        tables.append(read_lines(tmp_path / str(number), lines, categories=NAMES, sizes=SIZES))
    for table in tables:
        assert table.xyxy().tolist() == one.box.tolist()
        assert table.category_id.tolist() == one.category_id.tolist()
        assert table.category_names == one.category_names
        assert [str(image) for image in table.image_id.tolist()] == ["1", "1", "2"]
        assert [str(image) for image in table.image_ids.tolist()] == ["1", "2", "3"]
        assert table.image_sizes.tolist() == one.image_sizes.tolist()
        assert table.area.tolist() == one.area.tolist()
    assert tables[0].difficult.tolist() == tables[1].difficult.tolist() == [False, True, False]


def test_detections_are_the_same_in_every_format(tmp_path: Path) -> None:
    one, known = found(), truth()
    write_coco_results(one, tmp_path / "coco.json")
    write_voc_detections(one, known, tmp_path / "voc")
    tables = [read_coco_results(tmp_path / "coco.json", known), read_voc_detections(tmp_path / "voc", known)]
    for number, lines in enumerate(EVERY_LINES):
        for score in ("second", "last"):
            scored = Lines(lines.box, lines.relative, score)
            folder = tmp_path / f"{number}-{score}"
            write_lines(one, folder, scored, sizes=SIZES)
            tables.append(read_lines_detections(folder, scored, categories=NAMES, sizes=SIZES))
    for table in tables:
        assert table.xyxy().tolist() == one.box.tolist()
        assert table.score.tolist() == one.score.tolist()
        assert table.category_id.tolist() == one.category_id.tolist()
        assert [str(image) for image in table.image_id.tolist()] == ["1", "1", "2"]
    assert tables[1].image_id.dtype == known.image_ids.dtype


def test_yolo_is_the_centre_relative_to_the_image(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("1 0.5 0.25 0.25 0.5\n")
    table = read_lines(tmp_path, YOLO, categories=NAMES, sizes=SIZES)
    assert table.box.tolist() == [[24, 0, 40, 16]]
    (tmp_path / "1.txt").write_text("fish 0.5 0.25 0.25 0.5 0.875\n")
    scored = read_lines_detections(tmp_path, YOLO_DETECTIONS, categories=NAMES, sizes=SIZES)
    assert (scored.box.tolist(), scored.score.tolist()) == ([[24, 0, 40, 16]], [0.875])
    assert scored.category_id.tolist() == [1]


def test_an_image_without_lines_has_no_objects(tmp_path: Path) -> None:
    (tmp_path / "2.txt").write_text("\n")
    table = read_lines(tmp_path, YOLO, categories=NAMES, sizes=SIZES)
    assert table.box.shape == (0, 4)
    assert table.image_ids.tolist() == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("lines", "text", "message"),
    [
        (YOLO, "0 0.5 0.5 0.5", r"1\.txt: line 1: expected class and box, 5 fields, got 4"),
        (YOLO, "0 .5 .5 .5 .5\n2 .5 .5 .5 .5", r"1\.txt: line 2: class '2' is none of the 2"),
        (YOLO, "-1 .5 .5 .5 .5", "class '-1' is none of the 2"),
        (YOLO, "0 .5 .5 .5 inf", "expected a number, got 'inf'"),
        (YOLO, "0 .5 .5 -.5 .5", "expected a relative box, from 0 to 1, .*; are these pixels"),
        (YOLO, "0 20 20 10 10", "expected a relative box, from 0 to 1, .*; are these pixels"),
        (Lines("xywh"), "0 20 20 -1 10", "expected a width and a height of at least 0"),
        (Lines("xyxy"), "0 20 20 10 30", "expected x1 <= x2 and y1 <= y2"),
        (Lines("xyxy"), "0 .2 .2 .4 .4\n0 .3 .3 .5 .5", "none is larger than 1; declare them relative"),
        (Lines("xyxy", score="last"), "", "lines: expected no score in ground truth, got score='last'"),
    ],
)
def test_mistakes_in_lines_are_refused(tmp_path: Path, lines: Lines, text: str, message: str) -> None:
    (tmp_path / "1.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_lines(tmp_path, lines, categories=NAMES, sizes=SIZES)


def test_files_of_no_image_and_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "9.txt").write_text("")
    with pytest.raises(ValueError, match=r"9\.txt: '9' is none of the 3 images"):
        read_lines(tmp_path, categories=NAMES, sizes=SIZES)
    with pytest.raises(ValueError, match=r"expected height and width from 1 to .*, got \(0, 3\) of 'a'"):
        read_lines(tmp_path, categories=NAMES, sizes={"a": (0, 3)})
    with pytest.raises(ValueError, match="categories: expected names that differ"):
        read_lines(tmp_path, categories=["a", "a"], sizes=SIZES)
    with pytest.raises(ValueError, match="expected a score in detections"):
        read_lines_detections(tmp_path, YOLO, categories=NAMES, sizes=SIZES)
    with pytest.raises(ValueError, match="sizes: expected one for each image, got none for '2'"):
        write_lines(truth(), tmp_path, YOLO, sizes={"1": (3, 3)})
    with pytest.raises(ValueError, match="expected a score where there are detections alone"):
        write_lines(truth(), tmp_path, YOLO_DETECTIONS, sizes=SIZES)
    with pytest.raises(ValueError, match="sizes: expected a name inside the folder"):
        write_lines(truth(), tmp_path, YOLO, sizes={"..": (3, 3)})


def test_formats_are_recognised(tmp_path: Path) -> None:
    write_coco(truth(), tmp_path / "coco.json")
    write_coco_results(found(), tmp_path / "results.json")
    (tmp_path / "wrapped.json").write_text('{"annotations": []}')
    (tmp_path / "last.json").write_text('\ufeff \n{"annotations": [{"images": 1}], "images": []}', "utf-8")
    write_voc(truth(), tmp_path / "voc" / "Annotations")
    write_voc_detections(found(), truth(), tmp_path / "dets")
    assert recognise(tmp_path / "coco.json") == recognise(tmp_path / "last.json") == "coco"
    assert recognise(tmp_path / "results.json") == recognise(tmp_path / "wrapped.json") == "coco-results"
    assert recognise(tmp_path / "voc") == recognise(tmp_path / "voc" / "Annotations") == "voc"
    assert recognise(tmp_path / "dets") == "voc-detections"


def test_what_could_be_several_formats_is_not_guessed(tmp_path: Path) -> None:
    write_lines(truth(), tmp_path / "yolo", YOLO, sizes=SIZES)
    with pytest.raises(ValueError, match="may be of several formats; name the one they are in"):
        recognise(tmp_path / "yolo")
    (tmp_path / "yolo" / "1.xml").write_text("<annotation/>")
    with pytest.raises(ValueError, match="expected XML files or VOC detections, got XML and text"):
        recognise(tmp_path / "yolo")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected XML files or VOC detections, got neither"):
        recognise(tmp_path / "empty")
    for other in ("{}", " 3", '{"annotation": []}', '"images"'):
        (tmp_path / "x.json").write_text(other)
        with pytest.raises(ValueError, match="expected COCO's ground truth or results, got other JSON"):
            recognise(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"info": 1,\n "other": nothing}')
    with pytest.raises(ValueError, match="line 2, column 11: malformed JSON"):
        recognise(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        recognise(tmp_path / "none")


@pytest.mark.parametrize("box_format", ["xywh", "xyxy", "voc"])
def test_a_box_of_one_pixel_is_one_pixel(box_format: BoxFormat) -> None:
    written: dict[str, list[float]] = {"xywh": [3, 5, 1, 1], "xyxy": [3, 5, 4, 6], "voc": [4, 6, 4, 6]}
    box = np.array([written[box_format]], float)
    assert to_xyxy(box, box_format).tolist() == [[3, 5, 4, 6]]
    assert to_voc(box, box_format).tolist() == [[4, 6, 4, 6]]
