"""Traps of average precision, each with the number that shows it."""

import warnings

import numpy as np
import pytest
import torch
from detection_cases import case

from linsight.metrics import AreaRange, detection_protocol, evaluate_detections, match_detections

BOX = [0, 0, 100, 100]
FAR = [500, 500, 600, 600]


def result(truth, found, rules="coco", **flags):
    return evaluate_detections(*case(truth, found, **flags).tables(), rules)


def test_annotation_id_0_is_an_ordinary_id():
    assert result([(1, 1, BOX)], [(1, 1, BOX, 0.9)], annotation_id=[0]).value == pytest.approx(1.0)


@pytest.mark.parametrize(("order", "ap"), [([0, 1], 0.5), ([1, 0], 1.0)])
def test_of_equal_scores_the_first_given_comes_first(order, ap):
    found = [(1, 1, FAR, 0.7), (1, 1, BOX, 0.7)]
    value = result([(1, 1, BOX)], [found[i] for i in order]).mean_ap(0.5)
    assert value == pytest.approx(ap, abs=1e-12)


def test_equal_scores_of_two_images_come_in_the_order_of_the_images_not_of_the_file():
    found = [(2, 1, BOX, 0.7), (1, 1, FAR, 0.7)]
    assert result([(2, 1, BOX)], found, images=[1, 2]).value == pytest.approx(0.5)
    assert result([(2, 1, BOX)], found, images=[2, 1]).value == pytest.approx(0.5)


def test_negative_zero_is_zero_among_scores():
    found = [(1, 1, FAR, -0.0), (1, 1, BOX, 0.0)]
    assert result([(1, 1, BOX)], found).value == pytest.approx(0.5)
    assert result([(1, 1, BOX)], [(1, 1, FAR, -1.0), (1, 1, BOX, -0.5)]).value == pytest.approx(1.0)


def test_a_class_with_detections_and_no_objects_is_left_out():
    found = [(1, 1, BOX, 0.9), (1, 2, BOX, 0.9)]
    assert result([(1, 1, BOX)], found, categories=[1, 2]).value == pytest.approx(1.0)


def test_a_class_with_objects_and_no_detections_counts_as_0():
    assert result([(1, 1, BOX), (1, 2, BOX)], [(1, 1, BOX, 0.9)]).value == pytest.approx(0.5)


def test_a_class_of_crowds_alone_has_no_number():
    assert np.isnan(result([(1, 1, BOX)], [(1, 1, BOX, 0.9)], crowd=[True]).value)


def test_a_crowd_absorbs_any_number_of_detections():
    found = [(1, 1, BOX, 0.9 - i / 10) for i in range(3)] + [(1, 1, FAR, 0.1)]
    assert result([(1, 1, BOX), (1, 1, FAR)], found, crowd=[True, False]).value == pytest.approx(1.0)


@pytest.mark.parametrize("number", [2, 3, 10])
def test_each_detection_that_loses_its_object_takes_its_next_best(number):
    """The first takes the best of the second, which then takes the best of the third, to the end."""
    truth = [(1, 1, [30 * i, 0, 30 * i + 100, 100]) for i in range(number)]
    left = [0, *(30 * i + 10 for i in range(number - 1))]
    found = [(1, 1, [x, 0, x + 100, 100], 0.9 - i / 100) for i, x in enumerate(left)]
    assert result(truth, found).mean_ap(0.5) == pytest.approx(1.0)
    taken = match_detections(*case(truth, found).tables()).det_gt()
    assert taken.tolist() == list(range(number))


def test_an_object_out_of_range_absorbs_one_detection():
    rules = detection_protocol(
        "coco", area_ranges=(AreaRange("large", 96.0**2, 1e10),), max_detections=(100,)
    )
    small, large = [0, 0, 100, 90], [200, 200, 400, 400]
    found = [(1, 1, [0, 0, 100, 93], 0.9), (1, 1, [0, 0, 100, 93], 0.8), (1, 1, large, 0.1)]
    assert result([(1, 1, small), (1, 1, large)], found, rules).value == pytest.approx(0.5)
    assert result([(1, 1, small), (1, 1, large)], found[1:], rules).value == pytest.approx(1.0)


def test_the_101st_detection_of_an_image_and_class_is_cut():
    found = [(1, 1, FAR, 0.9)] * 101 + [(1, 1, BOX, 0.1)]
    assert result([(1, 1, BOX)], found).summary()["AR@100"] == 0.0
    assert result([(1, 1, BOX)], found).value == 0.0
    assert result([(1, 1, BOX)], found[2:]).summary()["AR@100"] == 1.0
    assert result([(1, 1, BOX)], found, categories=[1, 2]).value == 0.0


def test_limits_are_of_an_image_and_class_in_coco_and_of_an_image_in_ultralytics():
    found = [(1, 2, FAR, 0.9)] * 300 + [(1, 1, BOX, 0.1)]
    assert result([(1, 1, BOX)], found, categories=[1, 2]).value == pytest.approx(1.0)
    assert result([(1, 1, BOX)], found, "ultralytics", categories=[1, 2]).value == 0.0
    assert result([(1, 1, BOX)], found[1:], "ultralytics", categories=[1, 2]).mean_recall() == pytest.approx(
        1.0
    )


def test_the_headline_is_of_the_largest_limit_whatever_the_limits():
    rules = detection_protocol("coco", max_detections=(1, 10, 300))
    assert result(
        [(1, 1, BOX)], [(1, 1, FAR, 0.9)] * 200 + [(1, 1, BOX, 0.1)], rules
    ).mean_recall() == pytest.approx(1.0)
    assert result([(1, 1, BOX)], [(1, 1, BOX, 0.9)], rules).value == pytest.approx(1.0)


@pytest.mark.parametrize("rules", ["coco", "voc07", "voc10", "ultralytics"])
def test_no_detections_at_all_is_0(rules):
    assert result([(1, 1, BOX)], [], rules).value == 0.0
    assert np.isnan(result([], [], rules).value)
    assert np.isnan(result([], [(1, 1, BOX, 0.9)], rules).value)


@pytest.mark.parametrize(("box", "at"), [([0, 0, 50, 100], 0.5), ([0, 0, 75, 100], 0.75)])
@pytest.mark.parametrize("rules", ["coco", "voc10"])
def test_an_iou_of_exactly_the_threshold_matches(box, at, rules):
    rules = detection_protocol(rules, thresholds=(at,), plus_one=False)
    assert result([(1, 1, BOX)], [(1, 1, box, 0.9)], rules).value == pytest.approx(1.0)


def test_the_threshold_1_takes_a_perfect_box():
    assert result(
        [(1, 1, BOX)], [(1, 1, BOX, 0.9)], detection_protocol("coco", thresholds=(1.0,))
    ).value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rules", "short", "value"), [("coco", 5e-9, 1.0), ("coco", 5e-8, 0.0), ("voc10", 5e-9, 0.0)]
)
def test_coco_takes_the_threshold_1_as_a_ten_billionth_less(rules, short, value):
    found = [(1, 1, [0, 0, 100, 100 - short], 0.9)]
    protocol = detection_protocol(rules, thresholds=(1.0,), plus_one=False)
    assert result([(1, 1, BOX)], found, protocol).value == pytest.approx(value)


def test_an_area_of_exactly_1024_is_small_and_medium():
    numbers = result([(1, 1, [0, 0, 32, 32])], [(1, 1, [0, 0, 32, 32], 0.9)]).summary()
    assert (numbers["AP_small"], numbers["AP_medium"]) == pytest.approx((1.0, 1.0))
    assert np.isnan(numbers["AP_large"])


def test_areas_given_change_the_ranges_and_nothing_else():
    box = [0, 0, 40, 40]
    own, given = (result([(1, 1, box)], [(1, 1, box, 0.9)], area=area) for area in (None, [1000.0]))
    assert (own.table.area_source, given.table.area_source) == ("box", "given")
    assert own.summary()["AP_medium"] == given.summary()["AP_small"] == own.value
    assert np.isnan(own.summary()["AP_small"])
    assert own.value == given.value


def test_the_extra_pixel_decides_at_the_border():
    small = ([(1, 1, [0, 0, 9, 9])], [(1, 1, [0, 0, 4, 9], 0.9)])
    assert match_detections(*case(*small).tables(), "voc07").pairs.overlap == pytest.approx([0.5])
    assert result(*small, "voc07").value == pytest.approx(1.0)
    assert result(*small, detection_protocol("voc07", plus_one=False)).value == 0.0


def test_three_right_of_five_reach_recall_six_tenths():
    truth = [(i, 1, BOX) for i in range(5)]
    assert result(truth, [(i, 1, BOX, 0.9) for i in range(3)], "voc07").value == pytest.approx(7 / 11)


def test_an_empty_box_overlaps_nothing_and_is_no_nan():
    point = [5, 5, 5, 5]
    assert result([(1, 1, point)], [(1, 1, point, 0.9), (1, 1, BOX, 0.8)]).value == 0.0


def test_the_recalls_are_those_of_double_precision():
    """36 recalls of torch's float32 grid are greater and 60 smaller: k / n would miss those of its own."""
    exact, short = np.linspace(0, 1, 101), np.array(torch.linspace(0, 1, 101).tolist())
    assert ((short > exact).sum(), (short < exact).sum()) == (36, 60)
    truth = [(i, 1, BOX) for i in range(100)]
    for right in np.flatnonzero(short > exact)[:8]:
        found = [(i, 1, BOX, 0.9 - i / 1000) for i in range(right)]
        precision = result(truth, found).precision
        assert (precision[0, :, 0, 0] > 0).sum() == right + 1


def test_coco_does_not_read_ignore_and_says_so():
    truth, found = [(1, 1, BOX), (1, 1, FAR)], [(1, 1, BOX, 0.9)]
    with pytest.warns(UserWarning, match="respect_ignore=True leaves them out"):
        value = result(truth, found, ignore=[False, True]).mean_ap(0.5)
    assert value == pytest.approx(51 / 101)
    rules = detection_protocol("coco", respect_ignore=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert result(truth, found, rules, ignore=[False, True]).value == pytest.approx(1.0)


def test_difficult_is_read_by_voc_and_crowd_by_coco():
    truth, found = [(1, 1, BOX), (1, 1, FAR)], [(1, 1, BOX, 0.9)]
    for flag, free, bound in (("difficult", "voc10", "coco"), ("crowd", "coco", "voc10")):
        marked = {flag: [False, True]}
        assert result(truth, found, free, **marked).value == pytest.approx(1.0)
        assert result(truth, found, bound, **marked).value < 0.51


def test_the_plus_one_and_the_protocol_are_told_with_the_number():
    value = result([(1, 1, BOX)], [(1, 1, BOX, 0.9)], detection_protocol("voc07", plus_one=False))
    assert (value.protocol.name, value.protocol.plus_one) == ("voc07", False)


@pytest.mark.parametrize(("name", "kept"), [("coco", "last"), ("voc10", "first")])
def test_of_objects_of_equal_iou_coco_takes_the_last_and_voc_the_first(name, kept):
    one, other = (1, 1, [0, 0, 100, 100]), (1, 1, [0, 20, 100, 120])
    found = [(1, 1, [0, 10, 100, 110], 0.9), (1, 1, [0, 0, 100, 95], 0.8)]
    rules = detection_protocol(name, thresholds=(0.7,), plus_one=False)
    # The second detection finds the first object, if that is left.
    order = [one, other] if kept == "last" else [other, one]
    assert result(order, found, rules).value == pytest.approx(1.0)
    assert result(order[::-1], found, rules).value == pytest.approx(0.5, abs=0.01)
