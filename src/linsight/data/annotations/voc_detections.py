"""PASCAL VOC's detections: a text file for each class, a line for each detection."""

import os
import re
from pathlib import Path

import numpy as np

from linsight.data.annotations.coco import MAX_COORDINATE
from linsight.data.annotations.files import check_name, files_of, lines_of, quoted, refusal
from linsight.data.annotations.tables import Detections, GroundTruth, to_voc

__all__ = ["NAME", "number_of", "read_voc_detections", "write_voc_detections"]

NAME = re.compile(r"comp\d+_det_[^_]+_(.+)\.txt")


def read_voc_detections(folder: str | os.PathLike[str], truth: GroundTruth) -> Detections:
    """The detections in files such as `comp4_det_test_car.txt`: lines of image, score, x1, y1, x2, y2.

    The class is in the name of the file; its id is that of `truth`, and images are those of `truth` (integers
    where its ids are). Boxes are of format "voc". Detections are in the order of files by name, then of
    lines; a file without lines is a class without detections.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: On one line with file and line: no such files; two for a class; a class or an image
            that is not in `truth`; a line of other fields; a number that is not finite; a last column before
            the first.
    """
    root = Path(folder)
    files = [(match[1], path) for path in files_of(root, ".txt") if (match := NAME.fullmatch(path.name))]
    if not files:
        raise refusal(root, "", "expected files named comp4_det_test_<class>.txt, got none")
    categories = dict(zip(truth.category_names, truth.category_ids.tolist(), strict=True))
    images = {str(identity): identity for identity in truth.image_ids.tolist()}
    ids, labels, numbers = [], [], []
    seen: dict[str, Path] = {}
    for name, path in files:
        if name not in categories:
            raise refusal(path, "", f"class {quoted(name)} is none of the {len(categories)} categories")
        if name in seen:
            raise refusal(path, "", f"class {quoted(name)} is that of {seen[name].name} too")
        seen[name] = path
        for line, fields in lines_of(path):
            place = f"line {line}"
            if len(fields) != 6:
                raise refusal(path, place, f"expected image, score, x1, y1, x2, y2, got {len(fields)} fields")
            if fields[0] not in images:
                raise refusal(path, place, f"image {quoted(fields[0])} is none of the {len(images)} images")
            row = [number_of(text, path, place) for text in fields[1:]]
            if row[3] < row[1] or row[4] < row[2]:
                raise refusal(path, place, f"expected x1 <= x2 and y1 <= y2, got {row[1:]}")
            ids.append(images[fields[0]])
            labels.append(categories[name])
            numbers.append(row)
    table = np.array(numbers, np.float64).reshape(-1, 5)
    return Detections(
        image_id=np.array(ids, truth.image_ids.dtype),
        category_id=np.array(labels, np.int64),
        box=table[:, 1:],
        box_format="voc",
        score=table[:, 0],
    )


def write_voc_detections(
    found: Detections, truth: GroundTruth, folder: str | os.PathLike[str], *, name: str = "comp4_det_test"
) -> None:
    """Write a file for each category of `truth`, empty where nothing was found, into a folder it makes.

    Raises ValueError for categories and images whose names the files cannot hold.
    """
    for category in truth.category_names:
        check_name(category, folder, "category_names", folders=False)
    if not NAME.fullmatch(f"{name}_x.txt"):
        raise ValueError(f"name: expected one such as comp4_det_test, got {name!r}")
    if any(not str(image) or str(image).split() != [str(image)] for image in found.image_id.tolist()):
        raise ValueError("image_id: expected ids without space in them")
    box = to_voc(found.box, found.box_format)
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for category, label in zip(truth.category_names, truth.category_ids.tolist(), strict=True):
        lines = [
            " ".join([str(image), *map(repr, [score, *corners])])
            for image, score, corners, other in zip(
                found.image_id.tolist(),
                found.score.tolist(),
                box.tolist(),
                found.category_id.tolist(),
                strict=True,
            )
            if other == label
        ]
        text = "".join(f"{line}\n" for line in lines)
        (out / f"{name}_{category}.txt").write_text(text, encoding="utf-8")


def number_of(text: str, path: Path, place: str) -> float:
    """A field as a number of at most a thousand million; ValueError otherwise."""
    try:
        value = float(text) if len(text) < 64 and "_" not in text else float("nan")
    except ValueError:
        value = float("nan")
    if not abs(value) <= MAX_COORDINATE:  # NaN too
        raise refusal(path, place, f"expected a number, got {quoted(text)}")
    return value
