"""COCO's results by msgspec, which makes typed rows of the bytes: for the many files without a mistake."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from linsight.data.annotations.coco import wrong_box
from linsight.data.annotations.files import contents
from linsight.data.annotations.tables import Detections, GroundTruth

__all__ = ["read_quickly"]

PORTION = 1 << 20
SEAM = re.compile(rb"\}\s*,\s*\{")


def read_quickly(path: Path, truth: GroundTruth | None) -> Detections | None:
    """The detections of a plain list of boxes; None without msgspec, and for anything else.

    What this accepts, `read_coco_results` reads as the same arrays; what is wrong, it says.
    """
    decoder = _decoder()
    if decoder is None:
        return None
    raw = contents(path)
    portions = []
    try:
        for portion in _portions(raw):
            portion.decode()  # msgspec does not look at text that no field asks for
            rows = decoder.decode(portion)
            if not rows or any(row.keypoints is not None for row in rows):
                return None
            portions.append(_columns(rows))
    except (ValueError, RecursionError, OverflowError):
        return None
    del raw
    image_id, category_id, box, score = (np.concatenate(parts) for parts in zip(*portions, strict=True))
    box = box.reshape(-1, 4)
    sizes = np.zeros((len(score), 2), np.int64)
    if truth is not None:
        if truth.image_ids.dtype != np.int64 or not np.isin(image_id, truth.image_ids).all():
            return None
        if not np.isin(category_id, truth.category_ids).all():
            return None
        order = np.argsort(truth.image_ids, kind="stable")
        sizes = truth.image_sizes[order[np.searchsorted(truth.image_ids[order], image_id)]]
    if not np.isfinite(box).all() or not np.isfinite(score).all() or wrong_box(box, sizes) is not None:
        return None
    return Detections(image_id, category_id, box, "xywh", score)


def _portions(raw: bytes) -> Iterator[bytes]:
    """Lists that together are the list, of about PORTION bytes each, so that few rows are objects at a time.

    A seam inside a string or a row leaves a portion that is no JSON, so where all are, all seams are between
    two rows.
    """
    begin, opening = 0, b""
    while (seam := SEAM.search(raw, begin + PORTION)) is not None:
        yield opening + raw[begin : seam.start() + 1] + b"]"
        begin, opening = seam.end() - 1, b"["
    yield opening + raw[begin:]


def _columns(rows: list[Any]) -> tuple[np.ndarray, ...]:
    count = len(rows)
    return (
        np.fromiter((row.image_id for row in rows), np.int64, count),
        np.fromiter((row.category_id for row in rows), np.int64, count),
        np.fromiter(chain.from_iterable(row.bbox for row in rows), np.float64, 4 * count),
        np.fromiter((row.score for row in rows), np.float64, count),
    )


@lru_cache(maxsize=1)
def _decoder() -> Any:
    try:
        import msgspec  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    row = msgspec.defstruct(
        "Row",
        [
            ("image_id", int),
            ("category_id", int),
            ("bbox", tuple[float, float, float, float]),
            ("score", float),
            ("keypoints", list[Any] | None, None),
        ],
        gc=False,
    )
    return msgspec.json.Decoder(list[row])
