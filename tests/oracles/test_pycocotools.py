"""Bit for bit the numbers of pycocotools, on boxes, masks and keypoints, where it is installed."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from detection_cases import Case, random_case
from posed_cases import random_masks, random_people

from linsight.metrics import Masks, evaluate_detections
from linsight.metrics.average_precision import coco

pytest.importorskip("pycocotools")
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Its own compiled part speaks an older protocol of numpy's.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def published(case: Case, kind: str) -> COCOeval:
    """The case through pycocotools, ids from 1 on."""
    truth, found = case.truth, case.found
    columns = [name for name in ("segmentation", "keypoints", "num_keypoints") if name in truth]
    annotations = [
        {
            "id": i + 1,
            "image_id": int(truth["image_id"][i]),
            "category_id": int(truth["category_id"][i]),
            "bbox": [float(x) for x in truth["box"][i]],
            "area": float(truth["area"][i]),
            "iscrowd": int(truth["crowd"][i]),
            **{name: _plain(truth[name][i]) for name in columns},
        }
        for i in range(len(truth["image_id"]))
    ]
    content = "segmentation" if kind == "segm" else "keypoints" if kind == "keypoints" else "box"
    results = [
        {
            "image_id": int(found["image_id"][i]),
            "category_id": int(found["category_id"][i]),
            "score": float(found["score"][i]),
            "bbox" if content == "box" else content: _plain(found[content][i]),
        }
        for i in range(len(found["score"]))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = {
            "images": [{"id": int(i), "height": 40, "width": 40} for i in truth["images"]],
            "categories": [{"id": int(c)} for c in truth["categories"]],
            "annotations": annotations,
        }
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _plain(value: Any) -> Any:
    if isinstance(value, np.integer):
        return int(value)
    return value if isinstance(value, dict) else value.ravel().tolist()


def agree(case: Case, kind: str, seed: int, **tables: Any) -> None:
    """Every precision, every recall and every number of the summary, to the last bit."""
    if not len(case.found["score"]):
        return  # pycocotools fails there
    expected = published(case, kind)
    overlap = {"bbox": "box", "segm": "mask"}.get(kind, kind)
    result = evaluate_detections(*case.changed(**tables).tables(), coco(overlap))
    for values, theirs in (
        (result.precision, expected.eval["precision"][..., -1]),
        (np.moveaxis(result.recall, 0, -1), expected.eval["recall"]),
        (np.array(list(result.summary().values())), expected.stats),
    ):
        np.testing.assert_array_equal(np.nan_to_num(values, nan=-1), theirs, err_msg=f"{kind} {seed}")


@pytest.mark.parametrize("first", range(0, 600, 50))
def test_boxes(first):
    for seed in range(first, first + 50):
        agree(random_case(seed), "bbox", seed)


@pytest.mark.parametrize("first", range(0, 250, 50))
def test_masks(first):
    """Blobs, stripes, noise, empty and full masks; boxes come from the masks."""
    for seed in range(first, first + 50):
        case = random_masks(seed, encode=lambda dense: mask_tools.encode(np.asfortranarray(dense, np.uint8)))
        own = {"masks": Masks.from_rle(case.truth["segmentation"])}
        found = {"masks": Masks.from_rle(case.found["segmentation"])}
        agree(case, "segm", seed, truth=own, found=found)


@pytest.mark.parametrize("first", range(0, 150, 50))
def test_keypoints(first):
    """Joints unlabelled, hidden and seen; people without a joint; crowds."""
    for seed in range(first, first + 50):
        agree(random_people(seed), "keypoints", seed)


@pytest.mark.parametrize("seed", range(40))
def test_areas_boxes_and_overlaps_of_masks(seed):
    case = random_masks(seed, encode=lambda dense: mask_tools.encode(np.asfortranarray(dense, np.uint8)))
    rles = [*case.truth["segmentation"], *case.found["segmentation"]]
    masks = Masks.from_rle(rles)
    if rles:
        np.testing.assert_array_equal(masks.areas(), mask_tools.area(rles))
        np.testing.assert_array_equal(masks.boxes(), mask_tools.toBbox(rles))
        dense = mask_tools.decode(rles).astype(bool).transpose(2, 0, 1)
        again = Masks.from_dense(dense)
        np.testing.assert_array_equal(again.areas(), masks.areas())
        np.testing.assert_array_equal(again.boxes(), masks.boxes())
