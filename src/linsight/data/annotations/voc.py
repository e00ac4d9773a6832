"""PASCAL VOC's ground truth: a folder of XML files, one for each image."""

import os
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from linsight.data.annotations.coco import MAX_COORDINATE
from linsight.data.annotations.files import check_name, files_of, lines_of, quoted, refusal
from linsight.data.annotations.tables import GroundTruth, to_voc
from linsight.data.annotations.xml_text import Element, read_xml

__all__ = ["read_voc", "write_voc"]


def read_voc(
    folder: str | os.PathLike[str], *, categories: Sequence[str] | None = None, images: str | None = None
) -> GroundTruth:
    """The ground truth of a folder in VOC's form (Everingham et al. 2010, IJCV 88); boxes are as written.

    An image's id is the name of its file without .xml. Boxes are of format "voc": the first and last column
    and row, from 1. A category's id is its place among the names. Annotations are numbered in the order of
    files, then of objects.

    Args:
        folder: With XML files in it, or with a folder `Annotations` that has them.
        categories: The names, in the order of their ids. Default: all that occur, sorted.
        images: Take the images named in `ImageSets/Main/<images>.txt` alone, in that order.

    Raises:
        FileNotFoundError: No such folder, list of images, or XML file of one that is listed.
        ValueError: On one line with file and line: no XML files; malformed XML; a document type; what
            `<annotation>` must have and has not; a box whose last column is before its first, or that is
            beyond its image; a name that is no category or leaves the folder.
    """
    root = Path(folder)
    inner = root / "Annotations"
    files = files_of(inner if inner.is_dir() else root, ".xml")
    if images is not None:
        files = _listed(root, images, files)
    if not files:
        raise refusal(root, "", "expected XML files in it, or in its folder Annotations, got none")
    names, sizes, rows = [], [], []
    for number, file in enumerate(files):
        annotation = read_xml(file)
        if annotation.tag != "annotation":
            raise annotation.refuse("expected <annotation>")
        name = annotation.optional("filename")
        names.append(
            ""
            if name is None
            else check_name(name.string(), file, f"line {name.line}, <filename>", folders=False)
        )
        height, width = _size(annotation)
        sizes.append((height, width))
        for each in annotation.all("object"):
            rows.append((number, each, _box(each, height, width), _flag(each, "difficult")))
    found = [each.one("name").string() for _, each, _, _ in rows]
    order = list(categories) if categories is not None else sorted(set(found))
    places = {name: place for place, name in enumerate(order)}
    for name, (_, each, _, _) in zip(found, rows, strict=True):
        if name not in places:
            raise each.one("name").refuse(f"{quoted(name)} is none of the {len(order)} categories")
    box = np.array([box for _, _, box, _ in rows], np.float64).reshape(-1, 4)
    ids = np.array([file.stem for file in files])
    difficult = np.array([flag for _, _, _, flag in rows], bool)
    return GroundTruth(
        image_ids=ids,
        image_names=tuple(names),
        image_sizes=np.array(sizes, np.int64).reshape(-1, 2),
        category_ids=np.arange(len(order)),
        category_names=tuple(order),
        annotation_id=np.arange(len(rows)),
        image_id=ids[np.array([number for number, _, _, _ in rows], np.int64)],
        category_id=np.array([places[name] for name in found], np.int64),
        box=box,
        box_format="voc",
        area=(box[:, 2] - box[:, 0] + 1) * (box[:, 3] - box[:, 1] + 1),
        area_source="box",
        crowd=np.zeros(len(rows), bool),
        difficult=difficult,
        ignore=np.zeros(len(rows), bool),
    )


def write_voc(truth: GroundTruth, folder: str | os.PathLike[str]) -> None:
    """Write ground truth as VOC XML files, one an image, named by its id, into a folder that it makes.

    Raises ValueError for an image id that is no name of a file, names that XML cannot hold, and annotations
    that VOC cannot: crowds, masks and keypoints would be lost.
    """
    if truth.crowd.any():
        raise ValueError("truth: expected no crowds, which VOC's files cannot mark, got some; leave them out")
    out = Path(folder)
    stems = [str(identity) for identity in truth.image_ids.tolist()]
    for stem in stems:
        check_name(stem, out, "image_ids", folders=False)
    names = dict(zip(truth.category_ids.tolist(), truth.category_names, strict=True))
    for name in (*truth.category_names, *truth.image_names):
        if not name.isprintable() or name != name.strip():
            raise ValueError(f"truth: expected printable names without space around them, got {name!r}")
    box = to_voc(truth.box, truth.box_format)
    out.mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(stems):
        rows = np.flatnonzero(truth.image_id == truth.image_ids[number])
        height, width = truth.image_sizes[number].tolist()
        lines = ["<annotation>", f"  <filename>{escape(truth.image_names[number])}</filename>"]
        if not truth.image_names[number]:
            lines.pop()
        if height and width:
            lines.append(f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>")
        for row in rows.tolist():
            corners = "".join(
                f"<{side}>{_text(value)}</{side}>"
                for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box[row].tolist(), strict=True)
            )
            lines += [
                "  <object>",
                f"    <name>{escape(names[int(truth.category_id[row])])}</name>",
                f"    <difficult>{int(truth.difficult[row])}</difficult>",
                f"    <bndbox>{corners}</bndbox>",
                "  </object>",
            ]
        (out / f"{stem}.xml").write_text("\n".join([*lines, "</annotation>"]) + "\n", encoding="utf-8")


def _listed(root: Path, images: str, files: list[Path]) -> list[Path]:
    """The files of the images in a list of VOC's; a line may have a flag after the name."""
    check_name(images, root, "images", folders=False)
    path = root / "ImageSets" / "Main" / f"{images}.txt"
    known = {file.stem: file for file in files}
    listed: dict[str, Path] = {}
    for line, fields in lines_of(path):
        name = check_name(fields[0], path, f"line {line}", folders=False)
        if name in listed:
            raise refusal(path, f"line {line}", f"image {quoted(name)} is listed twice")
        if name not in known:
            raise FileNotFoundError(f"{path}: line {line}: there is no annotation {name}.xml")
        listed[name] = known[name]
    return list(listed.values())


def _size(annotation: Element) -> tuple[int, int]:
    size = annotation.optional("size")
    if size is None:
        return 0, 0
    height, width = (size.one(side).integer(0, 2**31 - 1) for side in ("height", "width"))
    # Some tools write 0 x 0 where they do not know.
    return (height, width) if height and width else (0, 0)


def _box(each: Element, height: int, width: int) -> list[float]:
    corners = each.one("bndbox")
    x1, y1, x2, y2 = box = [
        corners.one(side).number(MAX_COORDINATE) for side in ("xmin", "ymin", "xmax", "ymax")
    ]
    if x2 < x1 or y2 < y1:
        raise corners.refuse(f"expected xmin <= xmax and ymin <= ymax, got {box}")
    if width and (x1 > width or y1 > height or x2 < 0 or y2 < 0):
        raise corners.refuse(f"expected a box in the image of {width} x {height} pixels, got {box}")
    return box


def _flag(each: Element, tag: str) -> bool:
    found = each.optional(tag)
    return found is not None and found.integer(0, 1) == 1


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
