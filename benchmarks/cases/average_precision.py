"""Average precision of many detections beside the libraries that are installed, arrays in, numbers out."""

import contextlib
import importlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.case import Candidate, Limit, Table
from benchmarks.cases.detection_set import DetectionSet, boxes, masks, people
from linsight.cli.annotated import Texts, read_pair
from linsight.metrics import Masks, detections, evaluate_detections, ground_truth
from linsight.metrics.average_precision import coco

__all__ = ["command", "evaluation", "reading"]

Numbers = NDArray[np.float64]

# pycocotools takes minutes for the whole set, several times over: it is timed on a tenth.
PEERS = {
    "pycocotools": ("pycocotools.coco", "COCO", "pycocotools.cocoeval", "COCOeval"),
    "faster-coco-eval": ("faster_coco_eval", "COCO", "faster_coco_eval", "COCOeval_faster"),
    "hotcoco": ("hotcoco", "COCO", "hotcoco", "COCOeval"),
}
KINDS = {"box": "bbox", "mask": "segm", "keypoints": "keypoints"}


def evaluation() -> Iterator[Table]:
    """Boxes of 500 and of 5000 images, masks of 1000, people in 2700, as each library holds them once read.

    And boxes of 5000 images from files of JSON.

    The error is the largest difference of the numbers to those of the first in the table.
    """
    yield _table("boxes, 500 images, 50 000 detections", boxes(500), "box", list(PEERS))
    yield _table("boxes, 5000 images, 500 000 detections", boxes(), "box", ["faster-coco-eval", "hotcoco"])
    yield _table("masks, 1000 images, 36 000 detections", masks(), "mask", list(PEERS))
    yield _table("keypoints, 2700 images, 54 000 detections", people(), "keypoints", list(PEERS))
    yield from reading()


def reading(images: int = 5000) -> Iterator[Table]:
    """The same numbers from COCO's files."""
    with tempfile.TemporaryDirectory() as folder:
        gt, dt, number = _files(images, Path(folder))
        calls: dict[str, Callable[[], Numbers]] = {}
        for name in ("faster-coco-eval", "hotcoco"):
            with contextlib.suppress(ImportError):
                calls[name] = partial(_peer_on_files, *_classes(name), gt, dt)
        calls["linsight"] = partial(_own_on_files, gt, dt)
        yield _candidates(f"from JSON: boxes, {images} images, {number} detections", calls)


def command(images: int = 5000) -> Iterator[Limit]:
    """How much memory `linsight evaluate detections` takes for COCO's files of so many images."""
    with tempfile.TemporaryDirectory() as folder:
        gt, dt, number = _files(images, Path(folder))
        # Linux counts the memory of who starts a process as the process's own, so a small one starts it.
        code = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        linsight = [sys.executable, "-m", "linsight", "evaluate", "detections", "--gt", gt, "--dt", dt]
        done = subprocess.run(
            [sys.executable, "-c", code, *linsight], capture_output=True, text=True, check=True
        )
    unit = 1 if sys.platform == "darwin" else 1024
    title = f"peak of `linsight evaluate detections`, {number} boxes as COCO's JSON"
    yield Limit(title, int(done.stdout) * unit / 1e6, "MB", 500)


def _table(title: str, data: DetectionSet, overlap: str, names: list[str]) -> Table:
    calls: dict[str, Callable[[], Numbers]] = {}
    for name in names:
        with contextlib.suppress(ImportError):
            calls[name] = _peer(name, data, KINDS[overlap])
    calls["linsight"] = partial(_own, *_columns(data), overlap)
    return _candidates(title, calls)


def _candidates(title: str, calls: dict[str, Callable[[], Numbers]]) -> Table:
    reference = next(iter(calls.values()))()
    candidates = {
        name: Candidate(call, partial(_difference, call, reference), 0.0) for name, call in calls.items()
    }
    return Table(title, next(iter(calls)), candidates)


def _columns(data: DetectionSet) -> tuple[dict[str, Any], dict[str, Any]]:
    sides = []
    for side in (data.truth, data.found):
        columns = {name: value for name, value in side.items() if name != "segmentation"}
        if "segmentation" in side:
            columns |= {"masks": Masks.from_rle(side["segmentation"])}
        sides.append(columns)
    return sides[0] | {"images": np.arange(1, data.images + 1)}, sides[1]


def _own(truth: dict[str, Any], found: dict[str, Any], overlap: Any) -> Numbers:
    # Each call starts from masks whose intervals are not known yet.
    sides = [
        side | {"masks": side["masks"].take(np.arange(len(side["masks"])))} if "masks" in side else side
        for side in (truth, found)
    ]
    categories = np.unique(np.concatenate([truth["category_id"], found["category_id"]]))
    tables = (
        ground_truth(categories=categories, box_format="xywh", **sides[0]),
        detections(box_format="xywh", **sides[1]),
    )
    return np.array(list(evaluate_detections(*tables, coco(overlap)).summary().values()))


def _peer(name: str, data: DetectionSet, kind: str) -> Callable[[], Numbers]:
    """A library's evaluation after its own reading of the annotations."""
    read, evaluate = _classes(name)
    content, results = _content(data)
    with contextlib.redirect_stdout(io.StringIO()):
        if name == "pycocotools":
            truth = read()
            truth.dataset = content
            truth.createIndex()
        else:
            truth = read(content)
        found = truth.loadRes(results)

    return partial(_evaluated, evaluate, truth, found, kind)


def _classes(name: str) -> tuple[Any, Any]:
    """A library's reader and its evaluator."""
    where, reader, place, evaluator = PEERS[name]
    read = getattr(importlib.import_module(where), reader)
    return read, getattr(importlib.import_module(place), evaluator)


def _evaluated(evaluate: Any, truth: Any, found: Any, kind: str) -> Numbers:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluate(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    count = 10 if kind == "keypoints" else 12
    return np.array(list(evaluation.stats)[:count])


def _peer_on_files(read: Any, evaluate: Any, gt: str, dt: str) -> Numbers:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = read(gt)
        found = truth.loadRes(dt)
    return _evaluated(evaluate, truth, found, "bbox")


def _own_on_files(gt: str, dt: str) -> Numbers:
    pair = read_pair(Path(gt), Path(dt), Texts(), overlap="box")
    return np.array(list(evaluate_detections(pair.truth, pair.detections).summary().values()))


def _files(images: int, folder: Path) -> tuple[str, str, int]:
    """Paths of ground truth and results, and how many results there are."""
    content, results = _content(boxes(images))
    paths = []
    for name, value in (("gt.json", content), ("dt.json", results)):
        paths.append(folder / name)
        paths[-1].write_text(json.dumps(value))
    return str(paths[0]), str(paths[1]), len(results)


def _content(data: DetectionSet) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth and results as COCO's files hold them."""
    annotations = [_annotation(data.truth, i) | {"id": i + 1} for i in range(len(data.truth["image_id"]))]
    results = [_annotation(data.found, i) for i in range(len(data.found["image_id"]))]
    categories = sorted({row["category_id"] for row in annotations + results})
    content = {
        "images": [{"id": i, "width": 640, "height": 480} for i in range(1, data.images + 1)],
        "annotations": annotations,
        "categories": [{"id": c, "name": str(c)} for c in categories],
    }
    return content, results


def _annotation(columns: dict[str, Any], row: int) -> dict[str, Any]:
    names = {"box": "bbox", "crowd": "iscrowd"}
    values = {}
    for name, column in columns.items():
        value = column[row]
        if isinstance(value, np.ndarray):
            value = value.ravel().tolist()
        elif isinstance(value, np.generic):
            value = int(value) if value.dtype.kind in "ib" else float(value)
        values[names.get(name, name)] = value
    return values


def _difference(call: Callable[[], Numbers], reference: Numbers) -> float:
    return float(np.abs(np.nan_to_num(call(), nan=-1.0) - np.nan_to_num(reference, nan=-1.0)).max())
