"""Files of annotations as the metric takes them: the format found or named, boxes between pixels."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from linsight.data import annotations
from linsight.data.annotations import Lines
from linsight.metrics import average_precision as ap

__all__ = ["Pair", "Texts", "read_pair"]

LINES = {
    "yolo": Lines("cxcywh", relative=True),
    "xyxy": Lines("xyxy"),
    "xywh": Lines("xywh"),
}


@dataclass(frozen=True)
class Texts:
    """What a user has to say of text files."""

    gt: str = "auto"
    dt: str = "auto"
    categories: Path | None = None
    images: Path | None = None

    @cached_property
    def names(self) -> list[str]:
        """The classes in the order of their ids."""
        if self.categories is None:
            raise ValueError("categories: expected a file with a class on each line, got none")
        return self.categories.read_text(encoding="utf-8").splitlines()

    @cached_property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width of each picture of the folder, by its name without ending."""
        if self.images is None:
            raise ValueError("images: expected the folder of the images, got none")
        from PIL import Image, UnidentifiedImageError

        found = {}
        for path in sorted(self.images.iterdir()):
            try:
                with Image.open(path) as picture:
                    found[path.stem] = (picture.height, picture.width)
            except (UnidentifiedImageError, IsADirectoryError):
                continue
        if not found:
            raise ValueError(f"{self.images}: expected images in it, got none")
        return found


@dataclass(frozen=True)
class Pair:
    """Ground truth and detections; `inclusive` where the files count first and last pixels, as VOC's do."""

    truth: ap.GroundTruth
    detections: ap.Detections
    inclusive: bool


def read_pair(gt: Path, dt: Path, texts: Texts, *, overlap: Literal["box", "mask", "keypoints"]) -> Pair:
    """Read both files or folders.

    Boxes of VOC's files are made continuous, (x1 - 1, y1 - 1, x2, y2): as wide as the pixels that they hold.

    Raises:
        FileNotFoundError: No such file or folder.
        ValueError: What the readers and the metric refuse; masks or keypoints that are not there.
        ImportError: Sizes of images are to be read, and pillow is not installed.
    """
    form = texts.gt if texts.gt != "auto" else annotations.recognise(gt)
    if form == "coco":
        truth = annotations.read_coco(gt, masks=overlap == "mask")
    elif form == "voc":
        truth = annotations.read_voc(gt)
    elif form in LINES:
        truth = annotations.read_lines(gt, LINES[form], categories=texts.names, sizes=texts.sizes)
    else:
        raise ValueError(f"{gt}: expected ground truth, got detections ({form})")
    form = texts.dt if texts.dt != "auto" else annotations.recognise(dt)
    if form == "coco-results":
        found = annotations.read_coco_results(dt, truth, masks=overlap == "mask")
    elif form == "voc-detections":
        found = annotations.read_voc_detections(dt, truth)
    elif form in LINES:
        lines = Lines(LINES[form].box, relative=LINES[form].relative, score="last")
        found = annotations.read_lines_detections(dt, lines, categories=texts.names, sizes=texts.sizes)
    else:
        raise ValueError(f"{dt}: expected detections, got ground truth ({form})")
    for what, table in (("ground truth", truth), ("detections", found)):
        if overlap == "keypoints" and table.keypoints is None:
            raise ValueError(f"iou keypoints: {gt if table is truth else dt}: no keypoints in the {what}")
    return Pair(_truth(truth, overlap), _found(found, overlap), truth.box_format == "voc")


def _truth(table: annotations.GroundTruth, overlap: str) -> ap.GroundTruth:
    return ap.ground_truth(
        images=table.image_ids,
        categories=table.category_ids,
        image_id=table.image_id,
        category_id=table.category_id,
        **_shapes(table, overlap),
        area=table.area if table.area_source == "file" else None,
        crowd=table.crowd,
        difficult=table.difficult,
        ignore=table.ignore,
        num_keypoints=table.num_keypoints if overlap == "keypoints" else None,
        names=dict(zip(table.category_ids.tolist(), table.category_names, strict=True)),
        annotation_id=table.annotation_id,
    )


def _found(table: annotations.Detections, overlap: str) -> ap.Detections:
    return ap.detections(
        image_id=table.image_id, category_id=table.category_id, score=table.score, **_shapes(table, overlap)
    )


def _shapes(table: annotations.GroundTruth | annotations.Detections, overlap: str) -> dict[str, Any]:
    """Boxes as they are written where the metric knows them so: a number converted is another number."""
    as_written = table.box_format == "xywh"
    return {
        "box": table.box if as_written else table.xyxy(),
        "box_format": "xywh" if as_written else "xyxy",
        "masks": _masks(table) if overlap == "mask" else None,
        "keypoints": table.keypoints if overlap == "keypoints" else None,
    }


def _masks(table: annotations.GroundTruth | annotations.Detections) -> ap.Masks:
    runs = table.mask or ()
    sizes = np.array([one.size for one in runs], np.int64).reshape(-1, 2)
    counts = [one.counts for one in runs]
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum([len(one) for one in counts], out=offsets[1:])
    flat = np.concatenate(counts) if counts else np.zeros(0, np.int64)
    return ap.Masks(sizes[:, 0], sizes[:, 1], flat, offsets)
