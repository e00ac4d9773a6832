"""A text file for each image, a line for each box: YOLO's form, and others that the caller declares."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from linsight.data.annotations.files import check_name, files_of, lines_of, quoted, refusal
from linsight.data.annotations.tables import Detections, GroundTruth
from linsight.data.annotations.voc_detections import number_of

__all__ = ["YOLO", "YOLO_DETECTIONS", "Lines", "read_lines", "read_lines_detections", "write_lines"]


@dataclass(frozen=True)
class Lines:
    """What the fields of a line are; nothing of it is guessed.

    A line has the class, then the box, and the score, where there is one, after the class or at the end.
    """

    box: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    """Corners; or corner, width, height; or centre, width, height. Edges are between pixels."""
    relative: bool = False
    """Boxes are in units of the image's width and height, hence from 0 to 1."""
    score: Literal["none", "second", "last"] = "none"
    """Where the score stands; ground truth has none."""


YOLO = Lines("cxcywh", relative=True)
"""class, centre x, centre y, width, height, relative."""

YOLO_DETECTIONS = Lines("cxcywh", relative=True, score="last")
"""The same with the confidence at the end."""


def read_lines(
    folder: str | os.PathLike[str],
    lines: Lines = YOLO,
    *,
    categories: Sequence[str],
    sizes: Mapping[str, tuple[int, int]],
) -> GroundTruth:
    """Ground truth of a folder of `<image>.txt` files; boxes become xyxy in pixels.

    Args:
        lines: What the fields are.
        categories: The names, in the order of their ids, which are 0, 1, ... A class is a name, or an id.
        sizes: Height and width of each image, by its id, which is the name of its file without .txt. These
            are the images: one without a file, or with an empty one, has no objects.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: On one line with file and line: a file of no image; an unknown class; other fields;
            numbers that are not finite; negative sides; relative boxes that are not, or pixels that look
            relative.
    """
    if lines.score != "none":
        raise ValueError(f"lines: expected no score in ground truth, got score={lines.score!r}")
    ids, labels, box, _ = _read(Path(folder), lines, categories, sizes)
    names = np.array(list(sizes), str)
    count = len(labels)
    return GroundTruth(
        image_ids=names,
        image_names=("",) * len(names),
        image_sizes=np.array(list(sizes.values()), np.int64).reshape(-1, 2),
        category_ids=np.arange(len(categories)),
        category_names=tuple(categories),
        annotation_id=np.arange(count),
        image_id=np.array(ids, names.dtype),
        category_id=labels,
        box=box,
        box_format="xyxy",
        area=(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]),
        area_source="box",
        crowd=np.zeros(count, bool),
        difficult=np.zeros(count, bool),
        ignore=np.zeros(count, bool),
    )


def read_lines_detections(
    folder: str | os.PathLike[str],
    lines: Lines = YOLO_DETECTIONS,
    *,
    categories: Sequence[str],
    sizes: Mapping[str, tuple[int, int]],
) -> Detections:
    """Detections of a folder of `<image>.txt` files, as `read_lines` reads ground truth; raises the same."""
    if lines.score == "none":
        raise ValueError("lines: expected a score in detections, got score='none'")
    ids, labels, box, score = _read(Path(folder), lines, categories, sizes)
    dtype = np.array(list(sizes), str).dtype
    return Detections(np.array(ids, dtype), labels, box, "xyxy", score)


def write_lines(
    table: GroundTruth | Detections,
    folder: str | os.PathLike[str],
    lines: Lines,
    *,
    sizes: Mapping[str, tuple[int, int]],
) -> None:
    """Write a file for each image of `sizes`, with class ids, into a folder that it makes.

    Raises ValueError for images without a size, names that are not of files, and a score that is not there.
    """
    scored = isinstance(table, Detections)
    if scored != (lines.score != "none"):
        raise ValueError(f"lines: expected a score where there are detections alone, got {lines.score!r}")
    rows: dict[str, list[str]] = {check_name(image, folder, "sizes", folders=False): [] for image in sizes}
    for number, (image, label, corners) in enumerate(
        zip(table.image_id.tolist(), table.category_id.tolist(), table.xyxy().tolist(), strict=True)
    ):
        if str(image) not in rows:
            raise ValueError(f"sizes: expected one for each image, got none for {str(image)!r}")
        height, width = sizes[str(image)]
        fields = [str(label), *map(repr, _written(corners, lines, height, width))]
        if isinstance(table, Detections):
            fields.insert(1 if lines.score == "second" else 5, repr(float(table.score[number])))
        rows[str(image)].append(" ".join(fields))
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for image, texts in rows.items():
        (out / f"{image}.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def _read(
    folder: Path, lines: Lines, categories: Sequence[str], sizes: Mapping[str, tuple[int, int]]
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    for image, size in sizes.items():
        check_name(image, "sizes", "", folders=False)
        if len(size) != 2 or not all(0 < side < 2**31 for side in size):
            raise ValueError(f"sizes: expected height and width from 1 to 2**31 - 1, got {size} of {image!r}")
    classes = {str(place): place for place in range(len(categories))}
    classes |= {name: place for place, name in enumerate(categories)}
    if len(set(categories)) < len(categories):
        raise ValueError("categories: expected names that differ, got one twice")
    ids, labels, boxes, scores = [], [], [], []
    expected = {"none": "class and box", "second": "class, score and box", "last": "class, box and score"}
    count = 5 if lines.score == "none" else 6
    for path in files_of(folder, ".txt"):
        if path.stem not in sizes:
            raise refusal(path, "", f"{quoted(path.stem)} is none of the {len(sizes)} images")
        for line, fields in lines_of(path):
            place = f"line {line}"
            if len(fields) != count:
                raise refusal(
                    path, place, f"expected {expected[lines.score]}, {count} fields, got {len(fields)}"
                )
            if fields[0] not in classes:
                raise refusal(path, place, f"class {quoted(fields[0])} is none of the {len(categories)}")
            numbers = [number_of(text, path, place) for text in fields[1:]]
            if lines.score != "none":
                scores.append(numbers.pop(0 if lines.score == "second" else 4))
            boxes.append(_corners(numbers, lines, sizes[path.stem], path, place))
            ids.append(path.stem)
            labels.append(classes[fields[0]])
    if not lines.relative and boxes and np.abs(np.array(boxes)).max() <= 1 and len(boxes) > 1:
        raise refusal(
            folder, "", "expected boxes in pixels, but none is larger than 1; declare them relative"
        )
    return (
        ids,
        np.array(labels, np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
    )


def _corners(
    numbers: list[float], lines: Lines, size: tuple[int, int], path: Path, place: str
) -> list[float]:
    a, b, c, d = numbers
    if lines.relative and not all(-0.01 <= number <= 1.01 for number in numbers):
        raise refusal(path, place, f"expected a relative box, from 0 to 1, got {numbers}; are these pixels?")
    if lines.box == "xyxy":
        if c < a or d < b:
            raise refusal(path, place, f"expected x1 <= x2 and y1 <= y2, got {numbers}")
        corners = [a, b, c, d]
    else:
        if c < 0 or d < 0:
            raise refusal(path, place, f"expected a width and a height of at least 0, got {numbers}")
        left, top = (a, b) if lines.box == "xywh" else (a - c / 2, b - d / 2)
        corners = [left, top, left + c, top + d]
    height, width = size if lines.relative else (1, 1)
    return [corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height]


def _written(corners: list[float], lines: Lines, height: int, width: int) -> list[float]:
    x1, y1, x2, y2 = corners
    if lines.relative:
        x1, y1, x2, y2 = x1 / width, y1 / height, x2 / width, y2 / height
    if lines.box == "xyxy":
        return [x1, y1, x2, y2]
    if lines.box == "xywh":
        return [x1, y1, x2 - x1, y2 - y1]
    return [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
