"""The vectorised engine equals loops over images, detections and objects, on thousands of matched pairs."""

import literal_detection as literal
import numpy as np
import pytest
from detection_cases import random_case

from linsight.metrics import detection_protocol, evaluate_detections

BATCH = 25


@pytest.mark.parametrize("first", range(0, 100, BATCH))
def test_coco_equals_the_loop(first):
    for seed in range(first, first + BATCH):
        case = random_case(seed)
        ap, recall = literal.coco(case.truth, case.found)
        result = evaluate_detections(*case.tables())
        np.testing.assert_allclose(result.ap, ap, atol=1e-12, err_msg=str(seed))
        np.testing.assert_array_equal(result.recall[-1], recall, err_msg=str(seed))


@pytest.mark.parametrize("first", range(0, 1000, 10 * BATCH))
def test_voc_equals_the_loop(first):
    """1000 sets, with 11 points and with the whole area, with and without the extra pixel."""
    for seed in range(first, first + 10 * BATCH):
        case = random_case(seed)
        plus = seed % 2
        name, points = (("voc07", 11), ("voc10", None))[seed // 2 % 2]
        result = evaluate_detections(*case.tables(), detection_protocol(name, plus_one=bool(plus)))
        expected = literal.voc(case.truth, case.found, points=points, plus=float(plus))
        np.testing.assert_allclose(result.ap[0, :, 0], expected, atol=1e-12, err_msg=f"{name} {seed}")


@pytest.mark.parametrize("seed", [*range(0, 40), 160])
def test_ultralytics_equals_the_loop_where_nothing_ties(seed):
    case = random_case(seed, ties=False)
    result = evaluate_detections(*case.tables(), "ultralytics")
    np.testing.assert_allclose(result.ap[:, :, 0], literal.ultralytics(case.truth, case.found), atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_ultralytics_matches_as_voc_without_flags_and_extra_pixel(seed):
    case = random_case(seed, ties=False).changed(truth={"difficult": None})
    one = evaluate_detections(*case.tables(), detection_protocol("ultralytics", max_detections=None))
    other = evaluate_detections(
        *case.tables(), detection_protocol("voc10", thresholds=one.protocol.thresholds, plus_one=False)
    )
    np.testing.assert_array_equal(one.table.taken, other.table.taken)
    np.testing.assert_array_equal(one.recall, other.recall)
