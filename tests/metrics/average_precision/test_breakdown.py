"""Tables, curves and confusion agree with the numbers they break down."""

import numpy as np
import pytest
from detection_cases import Case, case, flags, interpolation, random_case

from linsight.metrics import (
    class_rows,
    confusion,
    detection_protocol,
    evaluate_detections,
    match_detections,
    precision_recall,
    rows_to_csv,
)

BOX, FAR = [0, 0, 100, 100], [500, 500, 600, 600]


def area_of(curve, integrator: str) -> float:
    """The number that a raw curve integrates to, point by point."""
    recall, precision = curve.recall, curve.precision
    if integrator in ("11-point", "101-point"):
        levels = np.arange(11) / 10 if integrator == "11-point" else np.linspace(0, 1, 101)
        slack = 1e-12 if integrator == "11-point" else 0
        reached = [precision[recall >= level - slack].max(initial=0) for level in levels]
        return float(np.mean(reached))
    if integrator == "all-point":
        steps = np.diff(recall, prepend=0)
        return float(sum(s * precision[i:].max() for i, s in enumerate(steps)))
    recall, precision = np.array([0, *recall, 1]), np.array([1, *precision, 0])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    grid = np.linspace(0, 1, 101)
    return float(np.trapezoid(np.interp(grid, recall, envelope), grid))


@pytest.mark.parametrize("name", ["coco", "voc07", "voc10", "ultralytics"])
def test_a_raw_curve_integrates_to_the_ap_reported(name):
    compared = 0
    for seed in range(12):
        result = evaluate_detections(*random_case(seed).tables(), name)
        for t in range(0, len(result.protocol.thresholds), 3):
            for c, category in enumerate(result.table.categories.tolist()):
                if result.positives[c, 0] and (result.table.det_category == c).any():
                    curve = precision_recall(result.table, category, t)
                    ap = area_of(curve, result.protocol.integrator)
                    assert ap == pytest.approx(result.ap[t, c, 0], abs=1e-9), (seed, t, category)
                    assert (np.diff(curve.score) <= 0).all()
                    compared += len(curve.score) > 2
    assert compared > 5


def test_the_envelope_is_that_of_the_precisions():
    result = evaluate_detections(*interpolation().tables())
    curve = precision_recall(result.table, 1)
    np.testing.assert_array_equal(curve.envelope, result.precision[0, :, 0, 0])
    np.testing.assert_allclose(curve.precision[:3], [1, 1 / 2, 2 / 3])


def test_curves_of_no_class_are_refused():
    table = match_detections(*flags().tables())
    with pytest.raises(ValueError, match=r"category: expected one of \[1, 2, 3, 4\], got 9"):
        precision_recall(table, 9)
    with pytest.raises(ValueError, match="category: expected one with objects that count, got 3"):
        precision_recall(table, 3)


def test_rows_hold_each_class_and_its_best_score():
    result = evaluate_detections(*flags().changed(truth={"names": {1: "cat"}}).tables())
    rows = class_rows(result)
    assert [row.category for row in rows] == [1, 2, 3, 4]
    assert (rows[0].name, rows[0].num_gt, rows[0].num_det) == ("cat", 2, 6)
    assert (rows[2].num_gt, rows[2].num_det) == (0, 1)
    assert np.isnan([rows[2].ap, rows[2].best_f1, rows[2].ar]).all()
    assert (rows[3].ap, rows[3].best_f1) == (0.0, 0.0)
    # Two of three that count are right at .7: 2 * 2 / (3 + 2).
    assert (rows[0].best_f1, rows[0].best_score) == (0.8, 0.7)
    mean = np.nanmean([row.ap for row in rows])
    assert mean == pytest.approx(result.value)
    assert np.nanmean([row.ap50 for row in rows]) == pytest.approx(result.mean_ap(0.5))


def test_the_best_f1_is_where_it_is_greatest_not_at_the_last_detection():
    """The 1st, 3rd, 4th, 5th and 8th are right, of five: 2 * 4 / (5 + 5), then 2 * 5 / (8 + 5)."""
    (row,) = class_rows(evaluate_detections(*interpolation().tables()))
    assert (row.best_f1, row.best_score) == (0.8, 0.7)


def test_rows_are_sorted_by_any_column_and_written_as_csv():
    result = evaluate_detections(*flags().tables())
    rows = class_rows(result, sort_by="ap")
    assert [row.category for row in rows] == [4, 1, 2, 3]
    lines = rows_to_csv(rows).splitlines()
    assert lines[0] == "category,name,num_gt,num_det,ap,ap50,ap75,ar,best_f1,best_score"
    assert lines[1].startswith("4,4,1,0,0.0")
    with pytest.raises(ValueError, match="sort_by: expected one of category, name"):
        class_rows(result, sort_by="size")


def literal_confusion(case: Case, score: float, iou: float) -> np.ndarray:
    truth, found = case.truth, case.found
    classes = len(truth["categories"])
    matrix = np.zeros((classes + 1, classes + 1), int)
    table = {c: i for i, c in enumerate(truth["categories"])}
    taken = set()
    for d in sorted(range(len(found["score"])), key=lambda d: -found["score"][d]):
        if found["score"][d] < score:
            continue
        best = None
        for i in range(len(truth["image_id"])):
            if truth["image_id"][i] != found["image_id"][d]:
                continue
            crowd = bool(truth["crowd"][i])
            overlap = _iou(found["box"][d], truth["box"][i], crowd)
            if overlap >= iou and (i not in taken or crowd):
                best = max(best or (False, 0, 0), (not crowd, overlap, i))
        column = table[found["category_id"][d]]
        if best is None:
            matrix[classes, column] += 1
        elif best[0]:
            matrix[table[truth["category_id"][best[2]]], column] += 1
        if best is not None:
            taken.add(best[2])
    for i in set(range(len(truth["image_id"]))) - taken:
        matrix[table[truth["category_id"][i]], classes] += not truth["crowd"][i]
    return matrix


def _iou(a, b, crowd):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / (a[2] * a[3] if crowd else a[2] * a[3] + b[2] * b[3] - shared)


@pytest.mark.parametrize("seed", range(30))
def test_confusion_equals_the_loop_and_sums_to_objects_and_detections(seed):
    case = random_case(seed, ties=False, classes=3)
    table = match_detections(*case.tables())
    matrix = confusion(table, score=0.3, iou=0.45)
    if len(table.det_row) == len(case.found["score"]):
        np.testing.assert_array_equal(matrix, literal_confusion(case, 0.3, 0.45))
    objects = np.bincount(case.truth["category_id"][~case.truth["crowd"]], minlength=4)[1:]
    np.testing.assert_array_equal(matrix[:-1].sum(1), objects)
    assert matrix.sum(0)[:-1].sum() <= (table.det_score >= 0.3).sum()


def test_confusion_finds_an_object_under_another_name():
    truth = [(1, 1, BOX), (1, 2, FAR)]
    found = [(1, 2, BOX, 0.9), (1, 1, [200, 0, 220, 20], 0.8), (1, 2, FAR, 0.1)]
    table = match_detections(*case(truth, found).tables())
    np.testing.assert_array_equal(confusion(table), [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    # A score of the least that is asked for is enough.
    np.testing.assert_array_equal(confusion(table, score=0.1), [[0, 1, 0], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(confusion(table, score=0.9), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])


def test_confusion_leaves_detections_on_difficult_objects_out():
    truth, found = [(1, 1, BOX), (1, 2, FAR)], [(1, 2, BOX, 0.9), (1, 2, FAR, 0.8)]
    tables = case(truth, found, difficult=[True, False]).tables()
    matrix = confusion(match_detections(*tables, detection_protocol("voc10")))
    np.testing.assert_array_equal(matrix, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
