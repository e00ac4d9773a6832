"""VOC's files: XML without tricks, boxes as written, and detections in text."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linsight.data.annotations import (
    Detections,
    GroundTruth,
    read_voc,
    read_voc_detections,
    write_voc,
    write_voc_detections,
)

FIRST = """<annotation>
  <folder>VOC2007</folder>
  <filename>000001.jpg</filename>
  <size><width>40</width><height>30</height><depth>3</depth></size>
  <object>
    <name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
    <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>
  </object>
  <object>
    <name>cat &amp; co</name><difficult>1</difficult>
    <bndbox><xmax>8.5</xmax><xmin>4</xmin><ymin>4</ymin><ymax>4</ymax></bndbox>
  </object>
</annotation>
"""
SECOND = "<annotation><filename>b.jpg</filename></annotation>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As VOC has it: Annotations and ImageSets."""
    root = tmp_path / "VOC"
    (root / "Annotations").mkdir(parents=True)
    (root / "Annotations" / "000001.xml").write_text(FIRST)
    (root / "Annotations" / "b.xml").write_text(SECOND)
    (root / "Annotations" / "readme.txt").write_text("no annotation")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "val.txt").write_text("b -1\n000001  1\n\n")
    return root


def test_boxes_are_as_written_and_convert_to_edges(folder: Path) -> None:
    truth = read_voc(folder)
    assert truth.image_ids.tolist() == ["000001", "b"]
    assert truth.image_names == ("000001.jpg", "b.jpg")
    assert truth.image_sizes.tolist() == [[30, 40], [0, 0]]
    assert truth.category_names == ("cat & co", "dog")
    assert truth.category_ids.tolist() == [0, 1]
    assert truth.category_id.tolist() == [1, 0]
    assert truth.image_id.tolist() == ["000001", "000001"]
    assert truth.box.tolist() == [[1, 2, 40, 30], [4, 4, 8.5, 4]]
    assert truth.box_format == "voc"
    assert truth.xyxy().tolist() == [[0, 1, 40, 30], [3, 3, 8.5, 4]]
    assert truth.area.tolist() == [40 * 29, 5.5]
    assert truth.difficult.tolist() == [False, True]
    assert not truth.crowd.any()


def test_lists_of_images_and_categories_set_the_order(folder: Path) -> None:
    truth = read_voc(folder, categories=["dog", "horse", "cat & co"], images="val")
    assert truth.image_ids.tolist() == ["b", "000001"]
    assert truth.category_id.tolist() == [0, 2]
    assert read_voc(folder / "Annotations").box.tolist() == truth.box.tolist()


def test_what_is_written_is_read_again(folder: Path, tmp_path: Path) -> None:
    truth = read_voc(folder)
    write_voc(truth, tmp_path / "again")
    again = read_voc(tmp_path / "again")
    for name in (
        "image_ids",
        "image_sizes",
        "category_ids",
        "annotation_id",
        "image_id",
        "category_id",
        "box",
    ):
        assert (getattr(truth, name) == getattr(again, name)).all(), name
    assert (truth.difficult == again.difficult).all()
    assert (truth.image_names, truth.category_names) == (again.image_names, again.category_names)


BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotation>", "", r"line \d+, column \d+: malformed XML \(no element found\)"),
        ("<name>dog</name>", "<name>dog</nome>", r"line 6, column 16: malformed XML \(mismatched tag\)"),
        ("<name>dog</name>", "<name>&dog;</name>", r"line 6, column 11: malformed XML \(undefined entity\)"),
        ("<name>dog</name>", "", r"line 5, column 3, <object>: expected one <name>, got 0"),
        ("<name>dog</name>", "<name> </name>", r"line 6, column 5, <name>: expected text, got none"),
        ("<name>dog</name>", "<name>a</name><name>b</name>", r"<object>: expected one <name>, got 2"),
        (BOX, "", r"<object>: expected one <bndbox>, got 0"),
        ("<xmin>1</xmin>", "", r"line 7, column 5, <bndbox>: expected one <xmin>, got 0"),
        ("<xmin>1</xmin>", "<xmin>nan</xmin>", r"line 7, column 13, <xmin>: expected a number, got 'nan'"),
        ("<xmin>1</xmin>", "<xmin>1e999</xmin>", r"<xmin>: expected a number, got '1e999'"),
        ("<xmin>1</xmin>", "<xmin>1_0</xmin>", r"<xmin>: expected a number, got '1_0'"),
        ("<xmin>1</xmin>", "<xmin>41</xmin>", r"<bndbox>: expected xmin <= xmax and ymin <= ymax, got \[41"),
        (BOX, BOX.replace(">1<", ">44<").replace(">40<", ">50<"), r"expected a box in the image of 40 x 30"),
        ("<difficult>0<", "<difficult>2<", r"<difficult>: expected an integer from 0 to 1, got '2'"),
        ("<width>40<", "<width>4.5<", r"<width>: expected an integer from 0 to"),
        (
            "<filename>000001.jpg<",
            "<filename>../x.jpg<",
            r"<filename>: expected a name inside the folder, got",
        ),
        ("<filename>000001.jpg<", "<filename>/x.jpg<", r"which leaves it"),
        ("<filename>000001.jpg<", "<filename>a/x.jpg<", r"expected a name without folders, got 'a/x.jpg'"),
        ("<annotation>", "<annotations>", r"malformed XML \(mismatched tag\)"),
        ("<folder>VOC2007</folder>", "<a>" * 40 + "</a>" * 40, r"nested at most 32 deep"),
        ("<annotation>", '<?xml version="1.0" encoding="x"?><annotation>', r"unknown encoding"),
    ],
)
def test_mistakes_are_refused_with_their_line(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / "Annotations" / "000001.xml"
    assert old in FIRST
    path.write_text(FIRST.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        read_voc(folder)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE lolz [<!ENTITY a "haha">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>\n<annotation><filename>&i;</filename></annotation>"
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><annotation/>',
        "<!DOCTYPE annotation><annotation/>",
    ],
    ids=["bomb", "file", "net", "plain"],
)
def test_document_types_and_their_entities_are_refused(folder: Path, text: str) -> None:
    (folder / "Annotations" / "b.xml").write_text(text)
    with pytest.raises(ValueError, match=r"line \d, column \d+: expected no document type and no entities"):
        read_voc(folder)


def test_other_encodings_are_read(folder: Path) -> None:
    text = '<?xml version="1.0" encoding="{}"?>\n' + FIRST.replace("dog", "caf\u00e9")
    for encoding in ("iso-8859-1", "utf-16", "utf-8"):
        (folder / "Annotations" / "000001.xml").write_bytes(text.format(encoding).encode(encoding))
        assert read_voc(folder).category_names == ("caf\u00e9", "cat & co")


def test_large_texts_are_read_in_linear_time_and_larger_files_refused(folder: Path) -> None:
    path = folder / "Annotations" / "b.xml"
    path.write_text(f"<annotation><folder>{'x&amp;' * 500_000}</folder></annotation>")
    assert len(read_voc(folder).image_ids) == 2
    path.write_text(" " * (2**24 + 1))
    with pytest.raises(ValueError, match="expected at most 16777216 bytes, got 16777217"):
        read_voc(folder)


def test_folders_without_annotations_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected XML files in it, or in its folder Annotations, got none"):
        read_voc(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        read_voc(tmp_path / "none")
    with pytest.raises(ValueError, match="<name>: 'dog' is none of the 1 categories"):
        read_voc(folder, categories=["cat & co"])
    with pytest.raises(FileNotFoundError, match=r"nothere.txt: there is no such file"):
        read_voc(folder, images="nothere")
    with pytest.raises(ValueError, match="images: expected a name inside the folder"):
        read_voc(folder, images="..")
    listed = folder / "ImageSets" / "Main" / "val.txt"
    listed.write_text("b\nb\n")
    with pytest.raises(ValueError, match=r"val\.txt: line 2: image 'b' is listed twice"):
        read_voc(folder, images="val")
    listed.write_text("b\nc\n")
    with pytest.raises(FileNotFoundError, match=r"val.txt: line 2: there is no annotation c.xml"):
        read_voc(folder, images="val")


def test_links_out_of_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.xml").write_text(SECOND)
    (folder / "Annotations" / "c.xml").symlink_to(tmp_path / "secret.xml")
    with pytest.raises(ValueError, match=r"c\.xml: leaves the folder by a link"):
        read_voc(folder)


def test_what_voc_cannot_hold_is_not_written(folder: Path, tmp_path: Path) -> None:
    truth = read_voc(folder)
    with pytest.raises(ValueError, match="expected no crowds"):
        write_voc(replace(truth, crowd=~truth.crowd), tmp_path / "x")
    with pytest.raises(ValueError, match="image_ids: expected a name without folders, got 'a/b'"):
        write_voc(replace(truth, image_ids=np.array(["a/b", "b"])), tmp_path / "x")
    with pytest.raises(ValueError, match="expected printable names without space around them"):
        write_voc(replace(truth, category_names=("a\x00", "b")), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def detections(truth: GroundTruth) -> Detections:
    return Detections(
        image_id=np.array(["b", "000001", "b"]),
        category_id=np.array([1, 0, 1]),
        box=np.array([[1.5, 2, 3, 4], [1, 1, 9, 9], [5, 5, 5, 5]]),
        box_format="voc",
        score=np.array([0.1, 1 / 3, -2.5]),
    )


def test_detections_are_read_in_the_order_of_classes_and_lines(folder: Path, tmp_path: Path) -> None:
    truth = read_voc(folder)
    write_voc_detections(detections(truth), truth, tmp_path / "results")
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {"comp4_det_test_dog.txt", "comp4_det_test_cat & co.txt"}
    found = read_voc_detections(tmp_path / "results", truth)
    order = [1, 0, 2]
    expected = detections(truth)
    assert found.image_id.tolist() == expected.image_id[order].tolist()
    assert found.category_id.tolist() == [0, 1, 1]
    assert found.box.tolist() == expected.box[order].tolist()
    assert found.score.tolist() == expected.score[order].tolist()
    assert found.box_format == "voc"


def test_a_class_with_an_underscore_and_an_empty_file_are_read(folder: Path, tmp_path: Path) -> None:
    truth = replace(read_voc(folder), category_names=("tv_set", "dog"))
    out = tmp_path / "results"
    out.mkdir()
    (out / "comp3_det_val_tv_set.txt").write_text("b 0.5 1 1 2 2\n\n")
    (out / "comp3_det_val_dog.txt").write_text("")
    (out / "notes.txt").write_text("read by nobody")
    found = read_voc_detections(out, truth)
    assert found.category_id.tolist() == [0]
    (out / "comp3_det_val_tv_set.txt").write_text("")
    assert read_voc_detections(out, truth).box.shape == (0, 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b 0.5 1 1 2", "line 2: expected image, score, x1, y1, x2, y2, got 5 fields"),
        ("c 0.5 1 1 2 2", "line 2: image 'c' is none of the 2 images"),
        ("b nan 1 1 2 2", "line 2: expected a number, got 'nan'"),
        ("b 0.5 1 1 x 2", "line 2: expected a number, got 'x'"),
        ("b 0.5 3 1 2 2", r"line 2: expected x1 <= x2 and y1 <= y2, got \[3.0, 1.0, 2.0, 2.0\]"),
    ],
)
def test_mistakes_in_detections_are_refused(folder: Path, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "comp4_det_test_dog.txt").write_text(f"b 0.5 1 1 2 2\n{line}\n")
    with pytest.raises(ValueError, match=f"comp4_det_test_dog.txt: {message}"):
        read_voc_detections(tmp_path, read_voc(folder))


def test_files_of_no_class_are_refused(folder: Path, tmp_path: Path) -> None:
    truth = read_voc(folder)
    out = tmp_path / "results"
    out.mkdir()
    with pytest.raises(ValueError, match=r"expected files named comp4_det_test_<class>.txt, got none"):
        read_voc_detections(out, truth)
    (out / "comp4_det_test_dog.txt").write_text("")
    (out / "comp3_det_test_dog.txt").write_text("")
    with pytest.raises(ValueError, match=r"class 'dog' is that of comp3_det_test_dog.txt too"):
        read_voc_detections(out, truth)
    (out / "comp3_det_test_dog.txt").rename(out / "comp4_det_test_cow.txt")
    with pytest.raises(ValueError, match="class 'cow' is none of the 2 categories"):
        read_voc_detections(out, truth)
    with pytest.raises(ValueError, match="name: expected one such as comp4_det_test, got 'x'"):
        write_voc_detections(detections(truth), truth, out, name="x")
