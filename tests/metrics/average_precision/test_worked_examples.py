"""Worked examples to the tenth digit: the same detections under every protocol."""

import detection_cases as cases
import numpy as np
import pytest

from linsight.metrics import detection_protocol, evaluate_detections

COCO = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
COCO += ["AR@1", "AR@10", "AR@100", "AR_small", "AR_medium", "AR_large"]
NONE = float("nan")


def numbers(case: cases.Case, rules: object) -> list[float]:
    return list(evaluate_detections(*case.tables(), rules).summary().values())


def test_the_names_are_those_of_coco_in_its_order():
    assert list(evaluate_detections(*cases.interpolation().tables()).summary()) == COCO


@pytest.mark.parametrize("threshold", [0.5, 0.75])
@pytest.mark.parametrize("plus_one", [False, True])
def test_one_curve_gives_four_numbers(threshold, plus_one):
    expected = {
        # 3 of 5 is recall 0.6: 6 / 11, where a floating-point grid makes it 5.25 / 11.
        "voc07": (0.8227272727, 0.5454545455),
        "voc10": (0.8050000000, 0.5000000000),
        "coco": (0.8069306931, 0.5049504950),
        "ultralytics": (0.8000000000, 0.5718750000),
    }
    tables = cases.interpolation().tables()
    for name, values in expected.items():
        rules = detection_protocol(name, thresholds=(threshold,), plus_one=plus_one)
        value = evaluate_detections(*tables, rules).value
        assert value == pytest.approx(values[threshold == 0.75], abs=1e-9), name


def test_interpolation_in_coco():
    expected = [0.4924092409, 0.8069306931, 0.5049504950, 0.3000000000, 0.3009900990, 0.8757425743]
    expected += [0.3600000000, 0.6400000000, 0.6400000000, 0.3000000000, 0.5000000000, 0.9500000000]
    assert numbers(cases.interpolation(), "coco") == pytest.approx(expected, abs=1e-9)
    at = [0.806931] * 3 + [0.504950] * 3 + [0.405941, 0.273927, 0.273927, 0.034653]
    result = evaluate_detections(*cases.interpolation().tables())
    np.testing.assert_allclose(result.ap[:, 0, 0], at, atol=5e-7)


def test_the_rule_of_voc_tries_no_second_object_and_that_of_coco_does():
    case = cases.rules()
    expected = [0.7524752475, 1.0, 0.5049504950, NONE, NONE, 0.7524752475, 0.5, 0.75, 0.75, NONE, NONE, 0.75]
    assert numbers(case, "coco") == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert numbers(case, "voc07")[0] == pytest.approx(0.5454545455, abs=1e-9)
    assert numbers(case, "voc10")[0] == pytest.approx(0.5, abs=1e-9)
    assert evaluate_detections(*case.tables(), "ultralytics").mean_ap(0.5) == pytest.approx(0.6225, abs=1e-9)


def test_flags_ties_and_empty_classes():
    case = cases.flags()
    for name in ("voc07", "voc10"):
        result = evaluate_detections(*case.tables(), name)
        np.testing.assert_allclose(result.ap[0, :, 0], [0.5, 1.0, NONE, 0.0], atol=1e-9)
        assert result.value == pytest.approx(0.5)
    result = evaluate_detections(*case.tables())
    np.testing.assert_allclose(result.ap[0, :, 0], [0.8349834983, 1.0, NONE, 0.0], atol=1e-9)
    expected = [0.4171617162, 0.6116611661, 0.6116611661, 0.7, 0.2757425743, NONE]
    expected += [0.2333333333, 0.45, 0.45, 0.7, 0.325, NONE]
    assert numbers(case, "coco") == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_equal_scores_keep_the_order_given():
    swapped = cases.flags().rows([0, 1, 2, 3, 4, 5, 6, 8, 7])
    assert numbers(swapped, "coco")[:3] == pytest.approx([0.4501650165, 0.6666666667, 0.6666666667], abs=1e-9)
    result = evaluate_detections(*swapped.tables(), "voc07")
    assert result.ap[0, 0, 0] == pytest.approx(0.6666666667, abs=1e-9)
