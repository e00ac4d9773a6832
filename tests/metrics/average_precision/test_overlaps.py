"""Overlaps of masks and poses against pixels and sums."""

import math

import numpy as np
import pytest
from posed_cases import random_masks, random_people

from linsight.metrics import Masks, detections, evaluate_detections, ground_truth, match_detections
from linsight.metrics.average_precision import coco
from linsight.metrics.average_precision.boxes import box_overlap, corners
from linsight.metrics.average_precision.keypoints import similarity
from linsight.metrics.average_precision.masks import mask_overlap


def test_the_area_of_a_pose_is_the_extent_of_its_keypoints_whatever_its_box():
    points = np.array([[[2, 3, 2], [12, 3, 2], [2, 8, 0]]], float)
    common = {"image_id": [1], "category_id": [1], "box": [[0, 0, 90, 90]], "box_format": "xywh"}
    truth = ground_truth(images=[1], categories=[1], area=[8100], keypoints=points, **common)
    found = detections(score=[0.9], keypoints=points, **common)
    table = match_detections(truth, found, coco("keypoints", sigmas=(0.1, 0.1, 0.1)))
    assert table.det_area.tolist() == [10 * 5]
    assert table.gt_area.tolist() == [8100]


def test_overlaps_of_decimal_boxes_are_those_of_widths_as_given():
    """(0.1 + 0.3) - 0.1 is not 0.3: pycocotools' numbers to the last bit need the width that was read."""
    rng = np.random.default_rng(0)
    found, true = (np.round(rng.random((40, 4)) * 9 + 0.01, 2) for _ in range(2))
    rows = tuple(axis.ravel() for axis in np.indices((40, 40)))
    one, other = corners(found, "xywh"), corners(true, "xywh")
    none = np.zeros(40, bool)
    near, overlap = box_overlap(one, other, rows, (one.area(), other.area()), none)
    expected = []
    for i, j in zip(rows[0][near], rows[1][near], strict=True):
        (x, y, w, h), (u, v, p, q) = found[i].tolist(), true[j].tolist()
        both = (min(x + w, u + p) - max(x, u)) * (min(y + h, v + q) - max(y, v))
        expected.append(both / (w * h + p * q - both))
    assert len(near) > 200
    assert overlap.tolist() == expected


@pytest.mark.parametrize("seed", range(40))
def test_masks_equal_their_pixels(seed):
    """Area, box and every intersection, of blobs, stripes, noise, whole columns, empty and full masks."""
    case = random_masks(seed, encode=lambda dense: dense)
    one, other = (
        np.array(side["segmentation"], bool).reshape(-1, 40, 40) for side in (case.found, case.truth)
    )
    first, second = Masks.from_dense(one), Masks.from_dense(other)
    np.testing.assert_array_equal(first.areas(), one.sum((1, 2)))
    rows = tuple(axis.ravel() for axis in np.indices((len(one), len(other))))
    crowd = rows[1] % 2 == 1
    found = mask_overlap(first, second, rows, (first.areas()[rows[0]], second.areas()[rows[1]]), crowd)
    both = (one[rows[0]] & other[rows[1]]).sum((1, 2))
    either = np.where(crowd, one[rows[0]].sum((1, 2)), (one[rows[0]] | other[rows[1]]).sum((1, 2)))
    np.testing.assert_array_equal(found, both / np.maximum(either, 1))
    for mask, box in zip(one, first.boxes(), strict=True):
        y, x = np.nonzero(mask)
        expected = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1] if len(x) else [0, 0, 0, 0]
        np.testing.assert_array_equal(box, expected)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_masks_a_few_at_a_time_are_the_masks(monkeypatch, chunk):
    """Blocks end anywhere: before empty masks, within many, and there may be none at all."""
    rng = np.random.default_rng(chunk)
    dense = rng.random((12, 9, 7)) < rng.choice([0.0, 0.1, 0.6, 1.0], size=(12, 1, 1))
    pairs = tuple(axis.ravel() for axis in np.indices((12, 12)))

    def seen(masks):
        area = masks.areas()
        overlap = mask_overlap(masks, masks, pairs, (area[pairs[0]], area[pairs[1]]), pairs[0] < 3)
        return [area, masks.boxes(), overlap, *vars(masks.pieces).values()]

    whole = seen(Masks.from_dense(dense))
    monkeypatch.setattr("linsight.metrics.average_precision.masks.CHUNK", chunk)
    for one, other in zip(whole, seen(Masks.from_dense(dense)), strict=True):
        np.testing.assert_array_equal(one, other)
    for none in (Masks.from_rle([]), Masks.from_rle([{"size": [0, 3], "counts": []}])):
        assert none.areas().sum() == none.boxes().sum() == 0


def test_taking_and_joining_masks_keeps_each():
    case = random_masks(3, encode=lambda dense: dense)
    masks = Masks.from_dense(np.array(case.found["segmentation"]))
    order = np.arange(len(masks))[::-1]
    taken = masks.take(order)
    np.testing.assert_array_equal(taken.areas(), masks.areas()[order])
    joined = Masks.concatenate([taken, masks])
    np.testing.assert_array_equal(joined.boxes(), np.concatenate([taken.boxes(), masks.boxes()]))


def encode(counts: list[int]) -> str:
    """COCO's string, one number at a time."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = not ((value == 0 and not bits & 16) or (value == -1 and bits & 16))
            text += chr(48 + bits + 32 * more)
    return text


@pytest.mark.parametrize("seed", range(10))
def test_strings_and_lists_of_runs_agree(seed):
    rng = np.random.default_rng(seed)
    rles = []
    for _ in range(int(rng.integers(1, 9))):
        counts = (rng.lognormal(3, 3, size=rng.integers(1, 40)).astype(int) + 1).tolist()
        counts[0] -= rng.random() < 0.5
        rles.append({"size": [1, sum(counts)], "counts": counts})
    strings = [dict(rle, counts=encode(rle["counts"])) for rle in rles]
    mixed = [strings[i] if i % 2 else rles[i] for i in range(len(rles))]
    whole = Masks.from_rle(rles)
    for given in (strings, mixed, [dict(rle, counts=rle["counts"].encode()) for rle in strings]):
        again = Masks.from_rle(given)
        np.testing.assert_array_equal(again.counts, whole.counts)
        np.testing.assert_array_equal(again.offsets, whole.offsets)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([3, 2], "sum to 2 x 3, got the sum 5 at index 1"),
        ([8, -2], "expected counts >= 0"),
        ([1.5, 4.5], "expected integers"),
        ("0~", "expected characters from '0' to 'o', got another at index 1"),
        ("6P", "got one cut off at index 1"),
        ("P" * 12 + "0", "up to 12 characters, got a longer one at index 1"),
        (7, "expected a string or a list, got int at index 1"),
    ],
)
def test_broken_runs_are_refused_by_their_row(counts, told):
    with pytest.raises(ValueError, match=told):
        Masks.from_rle([{"size": [2, 3], "counts": [6]}, {"size": [2, 3], "counts": counts}])


def test_masks_of_two_sizes_in_an_image_are_refused():
    one, other = (Masks.from_dense(np.ones((1, side, 4), bool)) for side in (4, 5))
    row = np.zeros(1, np.int64)
    with pytest.raises(
        ValueError, match=r"expected one size in an image, got \(5, 4\) true and \(4, 4\) detected"
    ):
        mask_overlap(one, other, (row, row), (np.ones(1), np.ones(1)), np.zeros(1, bool))
    with pytest.raises(ValueError, match="expected booleans"):
        Masks.from_dense(np.ones((4, 4), bool))
    with pytest.raises(ValueError, match="masks: expected a mapping of size and counts"):
        Masks.from_rle([{"size": [4, 4]}])


def test_a_pose_ten_pixels_off_has_the_similarity_of_coco():
    truth = np.concatenate(
        [np.random.default_rng(0).random((1, 17, 2)) * 100, np.full((1, 17, 1), 2.0)], axis=2
    )
    found = truth + np.array([10.0, 0, 0])
    row, box = np.zeros(1, np.int64), np.array([[0.0, 0, 100, 100]])
    sigmas = coco("keypoints").sigmas
    oks = similarity(found, truth, box, np.array([10000.0]), (row, row), sigmas)
    assert oks[0] == pytest.approx(0.6469947651, abs=1e-10)
    sides = {"image_id": [1], "category_id": [1], "box_format": "xywh"}
    case = {"images": [1], "categories": [1], "box": box, "area": [10000.0], "keypoints": truth}
    tables = ground_truth(**sides, **case), detections(**sides, score=[0.9], keypoints=found)
    numbers = evaluate_detections(*tables, coco("keypoints")).summary()
    assert list(numbers) == [
        "AP",
        "AP50",
        "AP75",
        "AP_medium",
        "AP_large",
        "AR",
        "AR50",
        "AR75",
        "AR_medium",
        "AR_large",
    ]
    assert [numbers["AP"], numbers["AP50"], numbers["AP75"]] == pytest.approx([0.3, 1.0, 0.0])


@pytest.mark.parametrize("seed", range(10))
def test_similarity_equals_the_sum_joint_by_joint(seed):
    case = random_people(seed)
    table = match_detections(*case.tables(), coco("keypoints"))
    sigmas = coco("keypoints").sigmas
    for d, g, found in zip(*table.pairs, strict=True):
        pose, person = case.found["keypoints"][table.det_row[d]], case.truth["keypoints"][table.gt_row[g]]
        x, y, w, h = case.truth["box"][table.gt_row[g]]
        total, joints = 0.0, 0
        labelled = (person[:, 2] > 0).any()
        for (px, py, _), (qx, qy, v), sigma in zip(pose, person, sigmas, strict=True):
            if labelled and not v:
                continue
            if labelled:
                square = (px - qx) ** 2 + (py - qy) ** 2
            else:
                square = max(x - w - px, 0, px - x - 2 * w) ** 2 + max(y - h - py, 0, py - y - 2 * h) ** 2
            total += math.exp(-square / (8 * sigma**2 * case.truth["area"][table.gt_row[g]]))
            joints += 1
        assert found == pytest.approx(total / joints, rel=1e-12)
