"""COCO's ground truth: a JSON file with images, annotations and categories."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from linsight.data.annotations.columns import Rows
from linsight.data.annotations.files import check_name
from linsight.data.annotations.json_text import Document, load
from linsight.data.annotations.segmentation import segmentations
from linsight.data.annotations.tables import GroundTruth

__all__ = ["MAX_COORDINATE", "boxes_of", "joints_of", "read_coco", "wrong_box"]

MAX_COORDINATE = 1e9
"""In pixels; what is beyond it is no place in an image."""


def read_coco(path: str | os.PathLike[str], *, masks: bool = False) -> GroundTruth:
    """The ground truth of a COCO JSON file (Lin et al. 2014, arXiv 1405.0312); boxes are xywh.

    Args:
        path: The file. `images` need an id, and may have file_name, height and width; `categories` need id
            and name; `annotations` need id, image_id, category_id and bbox, and may have area, iscrowd,
            ignore, keypoints and num_keypoints.
        masks: Read `segmentation` too, which every annotation must have then: polygons, filled as COCO's own
            tools fill them, or run lengths, as counts or as a string.

    Cost: the time to parse, and as much again; about ten times the file in memory.

    Raises:
        FileNotFoundError: No such file.
        ValueError: On one line with file, line and place: malformed JSON; a missing or wrong field; a
            duplicate id; an image or category that is not listed; a number that is not finite, a negative
            side; boxes that are evidently xyxy; a file name outside the folder; an area on some annotations
            alone or, with masks, on none; a mask of another size than its image.
    """
    document = load(Path(path))
    top = _top(document)
    images = Rows(document, ("images",), top["images"])
    image_ids = images.identifiers("id")
    images.unique("id", image_ids)
    names = images.names("file_name", "")
    for number, name in enumerate(names):
        if name:
            place = f"images[{number}]: file_name"
            check_name(name, document.path, place, folders=True)
    sizes = np.stack([images.integers(side, 0, least=0) for side in ("height", "width")], axis=1)
    for number in np.flatnonzero((sizes >= 2**31).any(1) | ((sizes == 0).any(1) & (sizes > 0).any(1))):
        raise images.refuse(
            int(number), f"expected height and width from 1 to 2**31 - 1, got {sizes[number]}"
        )
    categories = Rows(document, ("categories",), top["categories"])
    category_ids = categories.integers("id")
    categories.unique("id", category_ids)
    rows = Rows(document, ("annotations",), top["annotations"])
    annotation_id = rows.integers("id")
    rows.unique("id", annotation_id)
    image_id = rows.identifiers("image_id") if len(rows) else image_ids[:0]
    rows.known("image_id", image_id, image_ids, "images")
    category_id = rows.integers("category_id")
    rows.known("category_id", category_id, category_ids, "categories")
    size_of = _sizes_of(image_id, image_ids, sizes)
    box = boxes_of(rows, size_of)
    area, source = _areas(rows, box, masks)
    keypoints, num_keypoints = _keypoints(rows)
    return GroundTruth(
        image_ids=image_ids,
        image_names=tuple(names),
        image_sizes=sizes,
        category_ids=category_ids,
        category_names=tuple(categories.names("name")),
        annotation_id=annotation_id,
        image_id=image_id,
        category_id=category_id,
        box=box,
        box_format="xywh",
        area=area,
        area_source=source,
        crowd=rows.flags("iscrowd"),
        difficult=rows.flags("difficult"),
        ignore=rows.flags("ignore"),
        mask=segmentations(rows, size_of) if masks else None,
        keypoints=keypoints,
        num_keypoints=num_keypoints,
        keypoint_names=_keypoint_names(categories, keypoints),
    )


def boxes_of(rows: Rows, sizes: Int64[np.ndarray, "rows 2"]) -> Float64[np.ndarray, "rows 4"]:
    """The column `bbox` as xywh; raises ValueError for what `wrong_box` finds."""
    box = rows.vectors("bbox", 4)
    wrong = wrong_box(box, sizes)
    if wrong is not None:
        raise rows.refuse(wrong[0], f"bbox: {wrong[1]}")
    return box


def wrong_box(
    box: Float64[np.ndarray, "rows 4"], sizes: Int64[np.ndarray, "rows 2"]
) -> tuple[int, str] | None:
    """The first box that cannot be xywh in an image of its size (0 where unknown), and why; or None.

    A box beyond all images, a negative side; or most boxes leave their images, and all could be corners.
    """
    for bad, expected in (
        (np.abs(box).max(1, initial=0) > MAX_COORDINATE, "a place in an image"),
        ((box[:, 2:] < 0).any(1), "a width and a height of at least 0"),
    ):
        if bad.any():
            number = int(bad.argmax())
            return number, f"expected {expected}, got {box[number].tolist()}"
    known = (sizes > 0).all(1)
    edge = sizes[:, ::-1] + 1
    leaves = known & (box[:, :2] + box[:, 2:] > edge).any(1)
    corners = ((box[:, 2:] > box[:, :2]) & (box[:, 2:] <= edge)).all(1) | ~known
    if 2 * leaves.sum() <= known.sum() or not corners.all():
        return None
    number = int(leaves.argmax())
    return number, (
        f"expected [x, y, width, height], but {int(leaves.sum())} of {int(known.sum())} boxes leave their "
        f"image, as {box[number].tolist()} does, and none does as [x1, y1, x2, y2]; convert them"
    )


def joints_of(
    rows: Rows, values: list[list[Any]], *, visibilities: bool
) -> Float64[np.ndarray, "rows joints 3"]:
    """Lists of 3 K numbers, one K for all, of which the third of each three is a visibility of 0, 1 or 2."""
    for number, value in enumerate(values):
        if len(value) % 3 or len(value) != len(values[0]):
            expected = f"{len(values[0])} numbers" if number else "a multiple of 3 numbers"
            raise rows.refuse(number, f"keypoints: expected {expected}, got {len(value)}")
    joints = rows.flat("keypoints", values, "a list of numbers").reshape(len(values), -1, 3)
    far = (np.abs(joints) > MAX_COORDINATE).any((1, 2))
    wrong = ~np.isin(joints[..., 2], (0, 1, 2)).all(1) if visibilities else np.zeros(len(joints), bool)
    for bad, expected in ((far, "places in an image"), (wrong, "visibilities of 0, 1 or 2")):
        if bad.any():
            number = int(bad.argmax())
            raise rows.refuse(number, f"keypoints: expected {expected}, got {joints[number].tolist()}")
    return joints


def _top(document: Document) -> dict[str, Any]:
    if type(document.value) is not dict:
        hint = "; a list is a file of results" if type(document.value) is list else ""
        raise document.refuse(
            (),
            f"expected an object with images, annotations and categories, got "
            f"{type(document.value).__name__}{hint}",
        )
    for key in ("images", "annotations", "categories"):
        if key not in document.value:
            raise document.refuse((), f"expected images, annotations and categories; {key!r} is missing")
    return document.value


def _sizes_of(
    image_id: Shaped[np.ndarray, "rows"],
    image_ids: Shaped[np.ndarray, "images"],
    sizes: Int64[np.ndarray, "images 2"],
) -> Int64[np.ndarray, "rows 2"]:
    order = np.argsort(image_ids, kind="stable")
    return sizes[order[np.searchsorted(image_ids[order], image_id)]] if len(image_id) else sizes[:0]


def _areas(rows: Rows, box: Float64[np.ndarray, "rows 4"], masks: bool) -> tuple[np.ndarray, Any]:
    given = rows.has("area")
    if not given.all() and (given.any() or masks):
        number = int((~given).argmax())
        why = (
            "other annotations have one"
            if given.any()
            else "masks are to be read, whose areas boxes do not have"
        )
        raise rows.refuse(number, f"area: expected one, since {why}")
    if not given.any():
        return box[:, 2] * box[:, 3], "box"
    area = rows.numbers("area")
    if (area < 0).any():
        number = int((area < 0).argmax())
        raise rows.refuse(number, f"area: expected at least 0, got {area[number]:g}")
    return area, "file"


def _keypoints(rows: Rows) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Annotations without keypoints have (0, 0, 0) for all, beside others that have them."""
    given = rows.has("keypoints")
    if not given.any():
        return None, None
    values = rows.checked("keypoints", {list}, "a list of numbers", [])
    length = len(values[int(given.argmax())])
    joints = joints_of(
        rows,
        [value if has else [0] * length for value, has in zip(values, given, strict=True)],
        visibilities=True,
    )
    counted = (joints[..., 2] > 0).sum(1)
    stated = rows.has("num_keypoints")
    num = np.where(stated, rows.integers("num_keypoints", 0, least=0), counted)
    return joints, num.astype(np.int64)


def _keypoint_names(categories: Rows, keypoints: np.ndarray | None) -> tuple[str, ...]:
    """The names of the one list of keypoints that the categories have."""
    if keypoints is None:
        return ()
    lists = [
        tuple(names)
        for names in categories.checked("keypoints", {list}, "a list of names", [])
        if names and set(map(type, names)) == {str}
    ]
    if len(set(lists)) != 1 or len(lists[0]) != keypoints.shape[1]:
        return ()
    return lists[0]
