"""What cannot mean what it says is refused with the name, the id and a way out, never evaluated."""

import numpy as np
import pytest
import torch
from detection_cases import case, random_case

from linsight.metrics import (
    AreaRange,
    Masks,
    detection_protocol,
    detections,
    evaluate_detections,
    ground_truth,
    match_detections,
)
from linsight.metrics.average_precision import coco

BOX, FAR = [0, 0, 100, 100], [500, 500, 600, 600]
TRUTH = [(1, 1, BOX), (2, 1, FAR)]
FOUND = [(1, 1, BOX, 0.9), (2, 1, FAR, 0.8)]


def refused(
    told: str, truth: dict | None = None, found: dict | None = None, error: type = ValueError
) -> None:
    with pytest.raises(error, match=told):
        match_detections(*case(TRUTH, FOUND).changed(truth, found).tables())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(value):
    refused("score: expected finite numbers, got (nan|inf) at index 1", found={"score": [0.9, value]})
    refused("box: expected finite numbers, got .* at index 0", found={"box": [[value, 0, 1, 1], BOX]})
    refused("area: expected finite numbers", truth={"area": [1.0, value]})


def test_sizes_below_zero():
    refused(
        r"box: expected width and height >= 0 as xyxy, got \[9.*\] at index 1, image 2; is it xywh",
        found={"box": [BOX, [9, 9, 5, 5]]},
    )
    refused("area: expected numbers >= 0, got -1.0 at index 0", truth={"area": [-1, 1]})


def test_ids_that_are_not_listed():
    refused("image_id of detections: expected ids of .* list, got 3$", found={"image_id": [1, 3]})
    refused("category_id of detections: .* got 9", found={"category_id": [1, 9]})
    refused("image_id of ground truth: .* got 7", truth={"image_id": [1, 7]})


def test_ids_off_by_one_and_of_another_numbering_are_told():
    refused("got 0; all would be if they were 1 more", found={"image_id": [0, 1]})
    refused("got 3; all would be if they were 1 less", found={"image_id": [2, 3]})
    refused("got 70; none of them is: are these ids of another numbering", found={"category_id": [70, 80]})


def test_an_id_twice():
    refused("annotation_id: expected each once, got 5 twice", truth={"annotation_id": [5, 5]})
    refused("images: expected each once, got 2 twice", truth={"images": [1, 2, 2]})
    refused("categories: expected each once, got 1 twice", truth={"categories": [1, 1]})


def test_columns_of_other_lengths_and_shapes():
    refused("score: expected 2 rows, one for each image_id, got 1", found={"score": [0.9]})
    refused(r"box: expected shape \(2, 4\), got \(2, 3\)", found={"box": [[0, 0, 1]] * 2})
    refused("box: expected rows of equal length", found={"box": [[0, 0, 1], [1]]})
    refused(r"crowd: expected shape \(2,\), got \(1,\)", truth={"crowd": [True]})
    refused("crowd: expected True or False, got", truth={"crowd": [0, 2]})
    refused("box_format: expected 'xyxy', 'xywh' or 'cxcywh', got 'xyhw'", found={"box_format": "xyhw"})
    refused("image_id: expected a vector", found={"image_id": [[1, 2]]})
    refused("box: expected boxes, masks, or keypoints", found={"box": None})


def test_labels_that_are_no_numbers():
    refused("category_id: expected integers, got <U3", found={"category_id": ["cat", "dog"]}, error=TypeError)
    refused(
        "category_id: expected integers, got float64 such as",
        found={"category_id": [1.0, 1.5]},
        error=TypeError,
    )
    refused("score: expected numbers", found={"score": ["a", "b"]}, error=TypeError)
    refused("image_id: expected integers or strings, got both", found={"image_id": [1, "2"]}, error=TypeError)
    refused("image_id of detections: expected int64", found={"image_id": ["1", "2"]}, error=TypeError)


def test_corners_read_as_sizes_and_shares_read_as_pixels():
    sizes = {"images": [1, 2], "sizes": [[640, 640], [640, 640]]}
    boxes = [[300, 300, 400, 400], [500, 500, 600, 600]]
    columns = {"image_id": [1, 2], "category_id": [1, 1], "score": [0.9, 0.8]}
    assert len(detections(box=boxes, box_format="xyxy", **columns, **sizes)) == 2
    with pytest.raises(ValueError, match=r"inside their images as xywh, got 2 of 2 .* is box_format right"):
        detections(box=boxes, box_format="xywh", **columns, **sizes)
    shares = [[0.1, 0.1, 0.2, 0.2]] * 2
    with pytest.raises(ValueError, match="expected pixels, got nothing above 1; pass normalized=True"):
        detections(box=shares, box_format="xyxy", **columns, **sizes)
    found = detections(box=shares, box_format="xyxy", normalized=True, **columns, **sizes)
    np.testing.assert_allclose(found.box[0], [64, 64, 128, 128])
    with pytest.raises(ValueError, match="expected shares of the image, got"):
        detections(box=boxes, box_format="xyxy", normalized=True, **columns, **sizes)
    with pytest.raises(ValueError, match=r"sizes: expected .* for normalized boxes, got none"):
        detections(box=shares, box_format="xyxy", normalized=True, **columns)
    with pytest.raises(ValueError, match=r"sizes: expected shape \(2, 2\), got \(1, 2\)"):
        detections(box=boxes, box_format="xyxy", **columns, images=[1, 2], sizes=[[640, 640]])
    with pytest.raises(ValueError, match="images: expected the ids that sizes belong to"):
        detections(box=boxes, box_format="xyxy", **columns, sizes=[[640, 640]])
    refused("expected one scale, got shares of the image in the detections", found={"box": shares})


def test_masks_and_keypoints_that_are_missing_or_do_not_fit():
    tables = case(TRUTH, FOUND).tables()
    with pytest.raises(ValueError, match="masks: expected those of the ground truth, got none"):
        evaluate_detections(*tables, coco("mask"))
    with pytest.raises(ValueError, match="keypoints: expected those of the ground truth, got none"):
        evaluate_detections(*tables, coco("keypoints"))
    masks = {"masks": Masks.from_dense(np.ones((2, 4, 4), bool))}
    masked = case(TRUTH, FOUND).changed(masks, masks)
    with pytest.raises(ValueError, match="area: expected the annotated area of each object beside masks"):
        evaluate_detections(*masked.tables(), coco("mask"))
    with pytest.raises(ValueError, match="masks: expected 2 rows"):
        case(TRUTH, FOUND).changed({"masks": Masks.from_dense(np.ones((1, 4, 4), bool))}).tables()
    points = {"keypoints": np.ones((2, 5, 3)), "area": [1.0, 1.0]}
    posed = case(TRUTH, FOUND).changed(points, {"keypoints": np.ones((2, 5, 3))})
    with pytest.raises(ValueError, match="sigmas: expected 5, one a keypoint of the ground truth, got 17"):
        evaluate_detections(*posed.tables(), coco("keypoints"))
    assert evaluate_detections(*posed.tables(), coco("keypoints", sigmas=[0.1] * 5)).value == pytest.approx(1)
    with pytest.raises(ValueError, match="keypoints: expected shape"):
        case(TRUTH, FOUND).changed({"keypoints": np.ones((2, 7))}).tables()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"thresholds": (0.5, 1.5)}, r"thresholds: expected one or more in \(0, 1\]"),
        ({"thresholds": (0.0,)}, "thresholds"),
        ({"thresholds": ()}, "thresholds"),
        ({"max_detections": (10, 1)}, "max_detections: expected ascending integers from 1 on"),
        ({"max_detections": ()}, "max_detections"),
        ({"max_detections": (0,)}, "max_detections"),
        ({"area_ranges": ()}, "area_ranges: expected one or more"),
        ({"area_ranges": (AreaRange("x", 2, 1),)}, "area_ranges"),
        ({"overlap": "keypoints", "sigmas": ()}, "sigmas: expected one for each keypoint"),
        ({"overlap": "keypoints", "sigmas": (0.1, -1)}, "sigmas: expected positive numbers"),
    ],
)
def test_protocols_that_cannot_be(overrides, told):
    with pytest.raises(ValueError, match=told):
        detection_protocol("coco", **overrides)


def test_protocols_that_are_not_there():
    with pytest.raises(
        ValueError, match="protocol: expected one of coco, voc07, voc10, ultralytics, got 'voc12'"
    ):
        detection_protocol("voc12")
    with pytest.raises(
        NotImplementedError, match="protocol 'voc07' is defined for boxes, got overlap='mask'"
    ):
        detection_protocol("voc07", overlap="mask")
    with pytest.raises(ValueError, match="unknown: expected 'refuse' or 'drop', got 'ignore'"):
        match_detections(*case(TRUTH, FOUND).tables(), unknown="ignore")


def test_numbers_of_a_protocol_that_it_does_not_have():
    result = evaluate_detections(*random_case(3).tables())
    with pytest.raises(ValueError, match="threshold: expected one of"):
        result.mean_ap(0.52)
    with pytest.raises(ValueError, match="area: expected one of all, small, medium, large, got 'tiny'"):
        result.mean_ap(area="tiny")
    with pytest.raises(ValueError, match=r"limit: expected one of \(1, 10, 100\), got 5"):
        result.mean_recall(limit=5)


def test_scores_that_are_all_equal_are_warned_of():
    found = [(1, 1, BOX, 0.5)] * 10
    with pytest.warns(UserWarning, match="score: all 10 detections have the score 0.5"):
        case(TRUTH, found).tables()


def test_ids_may_be_tensors_inside_lists():
    truth = ground_truth(
        images=[torch.tensor(1)],
        categories=[1],
        image_id=[torch.tensor(1)],
        category_id=[1],
        box=[BOX],
        box_format="xyxy",
    )
    assert truth.images.tolist() == [1]
