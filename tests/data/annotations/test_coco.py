"""COCO's files: read exactly, written and read again, and every mistake refused where it stands."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linsight.data.annotations import (
    Detections,
    GroundTruth,
    coco_results_quick,
    read_coco,
    read_coco_results,
    write_coco,
    write_coco_results,
)
from linsight.data.annotations.rle import RunLengths, from_mask, to_mask


def document() -> dict[str, Any]:
    """Two images; a polygon, run lengths in both forms; a crowd; annotation id 0; an image without any."""
    return {
        "info": {"year": 2026},
        "images": [
            {"id": 7, "file_name": "a/b.png", "height": 8, "width": 9},
            {"id": 3, "file_name": "c.png", "height": 6, "width": 6},
            {"id": 5, "file_name": "d.png", "height": 6, "width": 6},
        ],
        "annotations": [
            {
                "id": 0,
                "image_id": 7,
                "category_id": 2,
                "bbox": [2, 1, 4, 3],
                "area": 12,
                "iscrowd": 0,
                "segmentation": [[2, 1, 6, 1, 6, 4, 2, 4]],
                "keypoints": [1, 2, 2, 0, 0, 0],
                "num_keypoints": 1,
            },
            {
                "id": 9,
                "image_id": 3,
                "category_id": 40,
                "bbox": [0.25, 0.5, 1.5, 2.125],
                "area": 3.5,
                "iscrowd": 1,
                "ignore": 1,
                "segmentation": {"size": [6, 6], "counts": [0, 2, 34]},
            },
            {
                "id": 4,
                "image_id": 7,
                "category_id": 2,
                "bbox": [0, 0, 0, 0],
                "area": 0,
                "segmentation": {"size": [8, 9], "counts": "X2"},
            },
        ],
        "categories": [
            {"id": 2, "name": "two", "keypoints": ["left", "right"]},
            {"id": 40, "name": "forty"},
        ],
    }


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, indent=1))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "instances.json"


def same(one: GroundTruth | Detections, other: GroundTruth | Detections, but: tuple[str, ...] = ()) -> None:
    """Every field equal to the last bit, with its type."""
    for each in fields(one):
        if each.name in but:
            continue
        first, second = getattr(one, each.name), getattr(other, each.name)
        if isinstance(first, np.ndarray):
            assert first.dtype == second.dtype, each.name
            assert first.shape == second.shape, each.name
            assert (first == second).all(), each.name
        elif each.name == "mask" and first is not None:
            assert [runs.size for runs in first] == [runs.size for runs in second]
            assert [runs.counts.tolist() for runs in first] == [runs.counts.tolist() for runs in second]
        else:
            assert first == second, each.name


def test_every_field_is_read(file: Path) -> None:
    value = document()
    value["annotations"][2]["segmentation"]["counts"] = "X2"
    truth = read_coco(write(file, value), masks=True)
    assert truth.image_ids.tolist() == [7, 3, 5]
    assert truth.image_names == ("a/b.png", "c.png", "d.png")
    assert truth.image_sizes.tolist() == [[8, 9], [6, 6], [6, 6]]
    assert truth.category_ids.tolist() == [2, 40]
    assert truth.category_names == ("two", "forty")
    assert truth.annotation_id.tolist() == [0, 9, 4]
    assert truth.image_id.tolist() == [7, 3, 7]
    assert truth.category_id.tolist() == [2, 40, 2]
    assert truth.box.tolist() == [[2, 1, 4, 3], [0.25, 0.5, 1.5, 2.125], [0, 0, 0, 0]]
    assert truth.xyxy().tolist() == [[2, 1, 6, 4], [0.25, 0.5, 1.75, 2.625], [0, 0, 0, 0]]
    assert (truth.area.tolist(), truth.area_source) == ([12, 3.5, 0], "file")
    assert truth.crowd.tolist() == [False, True, False]
    assert truth.ignore.tolist() == [False, True, False]
    assert truth.keypoints is not None
    assert truth.keypoints.tolist() == [[[1, 2, 2], [0, 0, 0]], [[0, 0, 0]] * 2, [[0, 0, 0]] * 2]
    assert truth.num_keypoints is not None
    assert truth.num_keypoints.tolist() == [1, 0, 0]
    assert truth.keypoint_names == ("left", "right")
    assert truth.mask is not None
    expected = np.zeros((8, 9), bool)
    expected[1:4, 2:6] = True
    assert (to_mask(truth.mask[0]) == expected).all()
    assert to_mask(truth.mask[1])[:2, 0].all()
    assert [runs.counts[1::2].sum() for runs in truth.mask] == [12, 2, 0]


def test_what_is_written_is_read_again(file: Path, tmp_path: Path) -> None:
    truth = read_coco(write(file, document()), masks=True)
    write_coco(truth, tmp_path / "again.json")
    same(truth, read_coco(tmp_path / "again.json", masks=True))


def test_areas_are_of_boxes_where_no_annotation_has_one(file: Path) -> None:
    value = document()
    for row in value["annotations"]:
        del row["area"]
    truth = read_coco(write(file, value))
    assert (truth.area.tolist(), truth.area_source) == ([12, 3.1875, 0], "box")
    with pytest.raises(
        ValueError, match=r"annotations\[0\]: id 0: area: expected one, since masks are to be"
    ):
        read_coco(file, masks=True)


def test_a_file_without_annotations_has_none(file: Path) -> None:
    truth = read_coco(write(file, document() | {"annotations": []}), masks=True)
    assert truth.box.shape == (0, 4)
    assert (truth.mask, truth.keypoints) == ((), None)
    assert truth.image_id.dtype == truth.image_ids.dtype
    empty = read_coco(write(file, {"images": [], "annotations": [], "categories": []}))
    assert len(empty.image_ids) == len(empty.box) == 0


def test_ids_of_images_may_be_strings(file: Path) -> None:
    value = document()
    for row in value["images"]:
        row["id"] = f"im{row['id']}"
    for row in value["annotations"]:
        row["image_id"] = f"im{row['image_id']}"
    assert read_coco(write(file, value)).image_id.tolist() == ["im7", "im3", "im7"]
    value["annotations"][1]["image_id"] = 3
    with pytest.raises(
        ValueError, match=r"id 0: image_id: expected integers alone, or strings alone, got 'im7'"
    ):
        read_coco(write(file, value))


def at(value: Any, path: str, new: Any) -> Any:
    """The document with another value at a path such as annotations.1.bbox; `...` takes it away."""
    *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = value
    for part in parts:
        inner = inner[part]
    if new is ...:
        del inner[last]
    else:
        inner[last] = new
    return value


REFUSED = [
    (
        "annotations.1.id",
        0,
        r"line 60, column 3, annotations\[1\]: id 0: id: 0 is that of annotations\[0\] too",
    ),
    ("images.2.id", 7, r"images\[2\]: id 7: id: 7 is that of images\[0\] too"),
    ("categories.1.id", 2, r"categories\[1\]: id 2: id: 2 is that of categories\[0\] too"),
    ("annotations.2.image_id", 8, r"annotations\[2\]: id 4: image_id: 8 is none of the 3 images"),
    ("annotations.2.category_id", 1, r"category_id: 1 is none of the 2 categories"),
    ("annotations.0.image_id", "7", r"expected integers alone, or strings alone, got '7'"),
    ("annotations.0.image_id", 7.0, r"image_id: expected an integer of 64 bits, got 7\.0"),
    ("annotations.0.image_id", True, r"image_id: expected an integer of 64 bits, got True"),
    ("annotations.0.category_id", 2**63, r"expected an integer of 64 bits, got 9223372036854775808"),
    ("annotations.0.category_id", None, r"category_id: expected an integer of 64 bits, got None"),
    ("annotations.1.bbox", ..., r"annotations\[1\]: id 9: has no 'bbox'"),
    ("annotations.1.bbox", [1, 2, 3], r"bbox: expected a list of 4 numbers, got \[1, 2, 3\]"),
    ("annotations.1.bbox", [1, 2, 3, "4"], r"bbox: expected a list of 4 numbers, got \[1, 2, 3, '4'\]"),
    ("annotations.1.bbox", [1, 2, -3, 4], r"id 9: bbox: expected a width and a height of at least 0, got"),
    ("annotations.1.bbox", [1, 2, 3, 1e10], r"bbox: expected a place in an image"),
    ("annotations.1.bbox", [1, 2, 3, 10**400], r"bbox: expected finite numbers"),
    ("annotations.1.bbox", [float("nan"), 2, 3, 4], r"malformed JSON \(NaN is not a number of JSON\)"),
    ("annotations.1.area", float("inf"), r"malformed JSON \(Infinity is not a number of JSON\)"),
    ("annotations.1.area", ..., r"area: expected one, since other annotations have one"),
    ("annotations.1.area", -1, r"area: expected at least 0, got -1"),
    ("annotations.1.area", "3", r"area: expected a number, got '3'"),
    ("annotations.1.area", 10**400, r"area: expected a finite number, got 1000.*\.\.\."),
    ("annotations.1.iscrowd", 2, r"iscrowd: expected 0 or 1, got 2"),
    ("annotations.0.keypoints", [1, 2], r"keypoints: expected a multiple of 3 numbers, got 2"),
    ("annotations.2.keypoints", [1, 2, 0], r"keypoints: expected 6 numbers, got 3"),
    ("annotations.0.keypoints", [1, 2, 3, 0, 0, 0], r"expected visibilities of 0, 1 or 2"),
    ("annotations.0.num_keypoints", -1, r"num_keypoints: expected an integer of at least 0, got -1"),
    ("annotations.1", 3, r"annotations\[1\]: expected an object, got 3"),
    ("annotations", {}, r"line \d+, column \d+, annotations: expected a list, got dict"),
    ("annotations", ..., r"line 1, column 1, the whole: .*'annotations' is missing"),
    (
        "images.0.file_name",
        "../x.png",
        r"images\[0\]: file_name: expected a name inside the folder, got '../x.png'",
    ),
    ("images.0.file_name", "/etc/passwd", r"got '/etc/passwd', which leaves it"),
    ("images.0.file_name", "C:\\x.png", r"which leaves it"),
    ("images.0.file_name", "a\\..\\x.png", r"which leaves it"),
    ("images.0.file_name", "a\nb", r"expected the name of a file"),
    ("images.0.file_name", 3, r"file_name: expected a string, got 3"),
    ("images.0.height", 0, r"expected height and width from 1 to 2\*\*31 - 1, got \[0 9\]"),
    ("images.0.width", -4, r"width: expected an integer of at least 0, got -4"),
    ("categories.0.name", ..., r"categories\[0\]: id 2: has no 'name'"),
    ("annotations.0.segmentation", [[1, 2, 3]], r"segmentation: expected a polygon x1, y1"),
    (
        "annotations.0.segmentation",
        [[1, 2, 3, 4]],
        r"segmentation: polygon: expected at least 3 points, got 2",
    ),
    ("annotations.0.segmentation", [], r"segmentation: polygons: expected at least one, got none"),
    ("annotations.0.segmentation", "x", r"expected polygons or run lengths, got 'x'"),
    ("annotations.0.segmentation", ..., r"annotations\[0\]: id 0: has no 'segmentation'"),
    ("annotations.1.segmentation.size", [6, 7], r"expected the image's size \[6, 6\], got \[6, 7\]"),
    ("annotations.1.segmentation.size", [6], r"expected size \[height, width\], got \[6\]"),
    ("annotations.1.segmentation.counts", [1, 2], r"expected counts that sum to 6 x 6 = 36, got 3"),
    ("annotations.1.segmentation.counts", [40, -4], r"expected counts of at least 0, got -4 at 1"),
    ("annotations.1.segmentation.counts", [2**63], r"expected counts of 64 bits"),
    ("annotations.1.segmentation.counts", "~", r"expected characters '0' to 'o', got '~' at 0"),
    ("annotations.1.segmentation.counts", 3, r"expected counts that are a string or a list of integers"),
]


@pytest.mark.parametrize(
    ("path", "new", "message"), REFUSED, ids=[f"{path}={new!r:.20}" for path, new, _ in REFUSED]
)
def test_mistakes_are_refused_where_they_stand(file: Path, path: str, new: Any, message: str) -> None:
    write(file, at(document(), path, new))
    with pytest.raises(ValueError, match=message) as caught:
        read_coco(file, masks=True)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_the_line_of_a_refusal_is_that_of_the_annotation(file: Path) -> None:
    text = json.dumps(at(document(), "annotations.2.image_id", 8), indent=1)
    file.write_text(text)
    line = next(number for number, each in enumerate(text.split("\n"), 1) if '"id": 4' in each) - 1
    with pytest.raises(ValueError, match=rf"line {line}, column 3, annotations\[2\]"):
        read_coco(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, got an empty file"),
        (" \n", "expected JSON, got an empty file"),
        ('{"images": [}', r"line 1, column 13: malformed JSON \(Expecting value\)"),
        ('{"images":\n [1,, 2]}', r"line 2, column 5: malformed JSON"),
        ("[" * 100_000, r"nested too deep|malformed JSON"),
        ("[" + "9" * 5000 + "]", r"malformed JSON \(Exceeds the limit"),
        ("[]", r"expected an object with images, .*, got list; a list is a file of results"),
        ("3", r"line 1, column 1, the whole: expected an object with images, .*, got int"),
    ],
)
def test_malformed_json_is_refused_with_its_place(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_coco(file)


def test_bytes_that_are_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b'{"images":\n "\xff"}')
    with pytest.raises(ValueError, match="line 2: byte 13 is no UTF-8"):
        read_coco(file)
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(document()).encode())
    assert len(read_coco(file).box) == 3


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_coco(tmp_path / "none.json")
    with pytest.raises(ValueError, match="expected a file, got a folder or a device"):
        read_coco(tmp_path)
    with pytest.raises(ValueError, match="expected a file, got a folder or a device"):
        read_coco("/dev/zero")


def test_corners_in_place_of_sides_are_noticed(file: Path) -> None:
    """Where most boxes leave their image and all are possible corners; not for one box of many."""
    value = document()
    for row, box in zip(value["annotations"], ([4, 3, 8, 7], [2, 3, 6, 5], [5, 4, 9, 8]), strict=True):
        row["bbox"] = box
    with pytest.raises(ValueError, match=r"expected \[x, y, width, height\], but 3 of 3 boxes leave"):
        read_coco(write(file, value))
    value["annotations"][1]["bbox"] = [0, 0, 3, 3]
    value["annotations"][2]["bbox"] = [0, 0, 3, 3]
    assert len(read_coco(write(file, value)).box) == 3


def results() -> list[dict[str, Any]]:
    return [
        {"image_id": 7, "category_id": 2, "bbox": [2, 1, 4, 3.5], "score": 0.75},
        {"image_id": 5, "category_id": 40, "bbox": [0, 0, 1, 1], "score": 0.125},
    ]


def test_results_are_read_and_written(file: Path, tmp_path: Path) -> None:
    truth = read_coco(write(file, document()))
    path = tmp_path / "results.json"
    found = read_coco_results(write(path, results()), truth)
    assert found.image_id.tolist() == [7, 5]
    assert found.category_id.tolist() == [2, 40]
    assert found.box.tolist() == [[2, 1, 4, 3.5], [0, 0, 1, 1]]
    assert found.score.tolist() == [0.75, 0.125]
    same(found, read_coco_results(write(path, {"annotations": results()}), truth))
    joints = np.arange(12.0).reshape(2, 2, 3) / 7
    masks = (from_mask(np.eye(8, 9, dtype=bool)), from_mask(np.zeros((6, 6), bool)))
    whole = replace(found, keypoints=joints, mask=masks)
    write_coco_results(whole, path)
    same(whole, read_coco_results(path, truth, masks=True))


def test_no_results_are_no_detections(file: Path, tmp_path: Path) -> None:
    truth = read_coco(write(file, document()))
    found = read_coco_results(write(tmp_path / "results.json", []), truth, masks=True)
    assert found.box.shape == (0, 4)
    assert found.score.shape == (0,)


def test_boxes_of_results_come_from_masks_or_keypoints(file: Path, tmp_path: Path) -> None:
    truth = read_coco(write(file, document()))
    path = tmp_path / "results.json"
    random = np.random.default_rng(0)
    masks = [random.random((8, 9)) < random.random() * 0.3 for _ in range(30)]
    around = np.zeros((8, 9), bool)
    around[5:, 2] = around[:3, 3] = True  # one run, from one column into the next
    for mask in [*masks, around]:
        runs = from_mask(mask)
        row = {
            "image_id": 7,
            "category_id": 2,
            "score": 0.5,
            "segmentation": {"size": [8, 9], "counts": runs.counts.tolist()},
        }
        box = read_coco_results(write(path, [row]), truth, masks=True).xyxy()[0].tolist()
        rows, columns = np.nonzero(mask)
        if len(rows):
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        else:
            assert box == [0, 0, 0, 0]
    rows = [{"image_id": 7, "category_id": 2, "score": 0.5, "keypoints": [3, 1, 0.5, 1, 5, 0.25]}]
    assert read_coco_results(write(path, rows), truth).box.tolist() == [[1, 1, 2, 4]]


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Detections]:
    """The reader without msgspec."""

    def read(*arguments: Any, **options: Any) -> Detections:
        with monkeypatch.context() as patch:
            patch.setattr(coco_results_quick, "_decoder", lambda: None)
            return read_coco_results(*arguments, **options)

    return read


def test_msgspec_reads_the_same_detections(
    file: Path, tmp_path: Path, plainly: Callable[..., Detections]
) -> None:
    pytest.importorskip("msgspec")
    truth = read_coco(write(file, document()))
    path = write(tmp_path / "results.json", [*results(), results()[0] | {"extra": [1, {"a": None}]}])
    quick = coco_results_quick.read_quickly(path, truth)
    assert quick is not None
    same(quick, plainly(path, truth))
    without = coco_results_quick.read_quickly(path, None)
    assert without is not None
    same(without, plainly(path))
    joints = write(path, [row | {"keypoints": [1, 2, 1]} for row in results()])
    assert coco_results_quick.read_quickly(joints, truth) is None
    assert read_coco_results(joints, truth).keypoints is not None


@pytest.mark.parametrize("portion", [1, 150, 400])
@pytest.mark.parametrize("indent", [None, 3])
def test_portions_of_a_file_are_the_file(
    tmp_path: Path,
    plainly: Callable[..., Detections],
    monkeypatch: pytest.MonkeyPatch,
    portion: int,
    indent: int | None,
) -> None:
    """Wherever it is cut; a cut that is none between two rows is noticed, and the file left to the others."""
    pytest.importorskip("msgspec")
    monkeypatch.setattr(coco_results_quick, "PORTION", portion)
    rows = [results()[0] | {"score": n / 16, "image_id": n, "of": {"a": {}}} for n in range(7)]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows, indent=indent))
    quick = coco_results_quick.read_quickly(path, None)
    assert quick is not None
    same(quick, plainly(path))
    for odd in ("},{", "}, {é", [{"b": 1}, {"b": 2}]):
        path.write_text(json.dumps([row | {"of": odd} for row in rows], indent=indent), encoding="utf-8")
        same(read_coco_results(path), plainly(path))
    for broken in (rows[:3], rows[3:]):
        text = json.dumps(broken, indent=indent)
        for part in (text[1:], text[:-1], text + text, text + ", {}"):
            path.write_text(part)
            with pytest.raises(ValueError, match="malformed JSON"):
                read_coco_results(path)


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        ("0.image_id", 8, r"line 2, column 2, \[0\]: image_id: 8 is none of the 3 images"),
        ("1.category_id", 3, r"category_id: 3 is none of the 2 categories"),
        ("1.score", ..., r"\[1\]: has no 'score'"),
        ("1.score", 1e400, r"malformed JSON \(Infinity"),
        ("1.score", "0.5", r"score: expected a number, got '0\.5'"),
        ("1.bbox", [0, 0, -1, 1], r"expected a width and a height of at least 0"),
        ("1.bbox", ..., r"has no 'bbox'"),
        ("1.image_id", ..., r"has no 'image_id'"),
    ],
)
def test_mistakes_in_results_are_refused(
    file: Path, tmp_path: Path, plainly: Callable[..., Detections], path: str, new: Any, message: str
) -> None:
    truth = read_coco(write(file, document()))
    write(tmp_path / "results.json", at(results(), path, new))
    for read in (read_coco_results, plainly):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "results.json", truth)


def test_ids_that_count_from_another_number_get_a_hint(file: Path, tmp_path: Path) -> None:
    value = document()
    value["categories"] = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    for row in value["annotations"]:
        row["category_id"] = 1
    truth = read_coco(write(file, value))
    rows = [row | {"category_id": number} for number, row in enumerate(results())]
    with pytest.raises(ValueError, match=r"0 is none of the 2 categories; all would be known if .* one less"):
        read_coco_results(write(tmp_path / "r.json", rows), truth)
    rows = [row | {"category_id": 50 + number} for number, row in enumerate(results())]
    with pytest.raises(
        ValueError, match="50 is none of the 2 categories; not one of the rows has a known one"
    ):
        read_coco_results(write(tmp_path / "r.json", rows), truth)


def test_ground_truth_in_place_of_results_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="expected a list of detections, got ground truth with images"):
        read_coco_results(write(file, document()))
    with pytest.raises(ValueError, match="or an object with it as 'annotations'"):
        read_coco_results(write(file, {"x": 1}))


def test_what_cannot_be_written_is_refused(file: Path, tmp_path: Path) -> None:
    truth = read_coco(write(file, document()))
    with pytest.raises(ValueError, match="expected finite numbers to write, got NaN or infinity"):
        write_coco(replace(truth, area=truth.area * np.nan), tmp_path / "x.json")
    with pytest.raises(ValueError, match="which leaves it"):
        write_coco(replace(truth, image_names=("../a", "b", "c")), tmp_path / "x.json")


def test_huge_masks_cost_nothing_to_read(file: Path) -> None:
    value = document()
    value["images"][1] |= {"height": 2**31 - 1, "width": 2**31 - 1}
    value["annotations"][1]["segmentation"] = {
        "size": [2**31 - 1, 2**31 - 1],
        "counts": [(2**31 - 1) ** 2],
    }
    truth = read_coco(write(file, value), masks=True)
    assert truth.mask is not None
    assert truth.mask[1] == RunLengths((2**31 - 1, 2**31 - 1), np.array([(2**31 - 1) ** 2]))
