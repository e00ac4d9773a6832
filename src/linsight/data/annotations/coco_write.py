"""COCO's files, written so that the readers give the same arrays again."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from linsight.data.annotations.files import check_name
from linsight.data.annotations.rle import RunLengths, compress
from linsight.data.annotations.tables import Detections, GroundTruth, to_xyxy

__all__ = ["write_coco", "write_coco_results"]


def write_coco(truth: GroundTruth, path: str | os.PathLike[str]) -> None:
    """Write ground truth as COCO JSON; masks as compressed run lengths, boxes as xywh.

    Boxes of another format are converted. Raises ValueError for a file name that leaves its folder, and for
    numbers that are not finite.
    """
    for name in truth.image_names:
        if name:
            check_name(name, path, "image_names", folders=True)
    images = [
        {"id": identity, "file_name": name, "height": height, "width": width}
        for identity, name, (height, width) in zip(
            truth.image_ids.tolist(), truth.image_names, truth.image_sizes.tolist(), strict=True
        )
    ]
    joints = {"keypoints": list(truth.keypoint_names)} if truth.keypoint_names else {}
    categories = [
        {"id": identity, "name": name, **joints}
        for identity, name in zip(truth.category_ids.tolist(), truth.category_names, strict=True)
    ]
    columns: dict[str, list[Any]] = {
        "id": truth.annotation_id.tolist(),
        "image_id": truth.image_id.tolist(),
        "category_id": truth.category_id.tolist(),
        "bbox": _xywh(truth).tolist(),
        "iscrowd": truth.crowd.astype(int).tolist(),
    }
    if truth.area_source == "file":
        columns["area"] = truth.area.tolist()
    for key, flags in (("difficult", truth.difficult), ("ignore", truth.ignore)):
        if flags.any():
            columns[key] = flags.astype(int).tolist()
    if truth.mask is not None:
        columns["segmentation"] = [_segmentation(runs) for runs in truth.mask]
    if truth.keypoints is not None and truth.num_keypoints is not None:
        columns["keypoints"] = truth.keypoints.reshape(len(truth.keypoints), -1).tolist()
        columns["num_keypoints"] = truth.num_keypoints.tolist()
    _write(path, {"images": images, "annotations": _rows(columns), "categories": categories})


def write_coco_results(found: Detections, path: str | os.PathLike[str]) -> None:
    """Write detections as a COCO results file. Raises ValueError for numbers that are not finite."""
    columns: dict[str, list[Any]] = {
        "image_id": found.image_id.tolist(),
        "category_id": found.category_id.tolist(),
        "bbox": _xywh(found).tolist(),
        "score": found.score.tolist(),
    }
    if found.mask is not None:
        columns["segmentation"] = [_segmentation(runs) for runs in found.mask]
    if found.keypoints is not None:
        columns["keypoints"] = found.keypoints.reshape(len(found.keypoints), -1).tolist()
    _write(path, _rows(columns))


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _xywh(table: GroundTruth | Detections) -> np.ndarray:
    if table.box_format == "xywh":
        return table.box
    box = to_xyxy(table.box, table.box_format)
    return np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)


def _segmentation(runs: RunLengths) -> dict[str, Any]:
    return {"size": list(runs.size), "counts": compress(runs)}


def _write(path: str | os.PathLike[str], value: Any) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError(
            f"{os.fspath(path)}: expected finite numbers to write, got NaN or infinity"
        ) from None
    Path(path).write_text(text + "\n", encoding="utf-8")
