"""What must not change the numbers, and what may change them one way only."""

import numpy as np
import pytest
from detection_cases import Case, case, random_case

from linsight.metrics import evaluate_detections, ground_truth, match_detections
from linsight.metrics.average_precision import AreaRange, detection_protocol
from linsight.metrics.average_precision.ordering import descending, stable_order

NAMES = ["coco", "voc07", "voc10", "ultralytics"]
SEEDS = range(6)


def values(case: Case, name: object) -> np.ndarray:
    return np.array(list(evaluate_detections(*case.tables(), name).summary().values()))


def rows(columns: dict, order: np.ndarray) -> dict:
    return {
        k: v if k in ("images", "categories", "box_format") else np.asarray(v)[order]
        for k, v in columns.items()
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_do_not_change(name, seed):
    """Order of rows and images, names of classes and images, place, and any rising change of the scores."""
    rng = np.random.default_rng(seed)
    case = random_case(seed + 1, ties=False, images=4, classes=3)
    # Objects keep their order among equals, which decides ties of IoU.
    whole = values(case, name)
    shuffled = case.changed(found=rows(case.found, rng.permutation(len(case.found["score"]))))
    np.testing.assert_array_equal(values(shuffled, name), whole)
    images = case.changed(truth={"images": rng.permutation(case.truth["images"])})
    np.testing.assert_array_equal(values(images, name), whole)
    # Classes add up in another order.
    other = np.array([0, 70, 5, 33])
    renamed = case.changed(
        {"categories": other[1:], "category_id": other[case.truth["category_id"]]},
        {"category_id": other[case.found["category_id"]]},
    )
    np.testing.assert_allclose(values(renamed, name), whole, atol=1e-12)
    number = np.array([0, 9, -2, 2**40, 6])
    moved = case.changed(
        {"images": number[1:], "image_id": number[case.truth["image_id"]]},
        {"image_id": number[case.found["image_id"]]},
    )
    np.testing.assert_array_equal(values(moved, name), whole)
    words = case.changed(
        {"images": ["a", "b", "c", "d"], "image_id": np.array(list("-abcd"))[case.truth["image_id"]]},
        {"image_id": np.array(list("-abcd"))[case.found["image_id"]]},
    )
    np.testing.assert_array_equal(values(words, name), whole)
    scaled = case.changed(found={"score": np.exp(5 * case.found["score"]) - 40})
    np.testing.assert_array_equal(values(scaled, name), whole)
    shift = np.array([1024, 512, 0, 0])
    shifted = case.changed({"box": case.truth["box"] + shift}, {"box": case.found["box"] + shift})
    np.testing.assert_array_equal(values(shifted, name), whole)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_three_notations_of_boxes_agree(name, seed):
    case = random_case(seed + 1, images=4)
    whole = values(case, name)
    for notation, change in (
        ("xyxy", lambda b: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], 1)),
        ("cxcywh", lambda b: np.concatenate([b[:, :2] + b[:, 2:] / 2, b[:, 2:]], 1)),
    ):
        other = [{"box": change(side["box"]), "box_format": notation} for side in (case.truth, case.found)]
        np.testing.assert_array_equal(values(case.changed(*other), name), whole)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_detection_below_all_others_never_lowers_recall_and_ap_is_a_share(seed):
    case = random_case(seed + 1, images=4)
    result = evaluate_detections(*case.tables())
    assert ((result.ap >= 0) & (result.ap <= 1) | np.isnan(result.ap)).all()
    for row in range(0, len(case.truth["image_id"]), 2):
        more = {
            name: np.append(case.found[name], case.truth[name][row]) for name in ("image_id", "category_id")
        }
        more |= {
            "box": np.vstack([case.found["box"], case.truth["box"][row]]),
            "score": np.append(case.found["score"], -1),
        }
        longer = evaluate_detections(*case.changed(found=more).tables())
        present = ~np.isnan(result.recall)
        assert (longer.recall[present] >= result.recall[present]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_an_image_of_crowds_alone_changes_nothing_else(seed):
    case = random_case(seed + 1, images=3)
    with_crowd = case.changed(
        {
            "images": [1, 2, 3, 4],
            "image_id": np.append(case.truth["image_id"], 4),
            "category_id": np.append(case.truth["category_id"], 1),
            "box": np.vstack([case.truth["box"], [0, 0, 50, 50]]),
            "area": np.append(case.truth["area"], 2500),
            "crowd": np.append(case.truth["crowd"], True),
            "difficult": np.append(case.truth["difficult"], True),
        },
        {
            "image_id": np.append(case.found["image_id"], 4),
            "category_id": np.append(case.found["category_id"], 1),
            "box": np.vstack([case.found["box"], [0, 0, 50, 45]]),
            "score": np.append(case.found["score"], 0.95),
        },
    )
    for name in ("coco", "voc07"):
        np.testing.assert_array_equal(values(with_crowd, name), values(case, name))


@pytest.mark.parametrize("seed", SEEDS)
def test_ranges_that_change_preferences_are_matched_as_if_each_were_alone(seed):
    case = random_case(seed + 1, images=2, classes=1, most=30)
    ranges = tuple(AreaRange(str(k), 900.0 * k, 900.0 * (k + 2)) for k in range(5))
    together = match_detections(*case.tables(), detection_protocol("coco", area_ranges=ranges))
    for a, chosen in enumerate(ranges):
        alone = match_detections(*case.tables(), detection_protocol("coco", area_ranges=(chosen,)))
        for t in range(10):
            np.testing.assert_array_equal(together.det_gt(t, a), alone.det_gt(t, 0))
            np.testing.assert_array_equal(together.det_ignore(t, a), alone.det_ignore(t, 0))


@pytest.mark.parametrize("wide", [False, True])
def test_the_packed_sort_is_the_stable_one(wide):
    rng = np.random.default_rng(0)
    score = np.round(rng.normal(size=5000), 1 if not wide else 17) * (1e300 if wide else 1)
    image, category = rng.integers(0, 2**40 if wide else 40, size=5000), rng.integers(0, 5, size=5000)
    image[::2] = image[0]
    expected = np.lexsort((np.arange(5000), -score, image, category))
    np.testing.assert_array_equal(stable_order(category, image, descending(score)), expected)


def test_names_and_unknown_detections_are_kept_apart():
    case = random_case(2)
    found = case.changed(found={"image_id": np.append(case.found["image_id"][:-1], 99)})
    table = match_detections(*found.tables(), unknown="drop")
    assert (table.dropped, len(table.det_row)) == (1, len(case.found["score"]) - 1)
    assert ground_truth(**case.truth, names={1: "cat"}).names == {1: "cat"}


def test_a_detection_that_loses_its_object_to_a_range_is_left_without():
    """In the range the first detection turns from the large object to the small one, which the second had."""
    truth = [(1, 1, [0, 0, 100, 100]), (1, 1, [0, 0, 100, 70])]
    found = [(1, 1, [0, 0, 100, 100], 0.9), (1, 1, [0, 0, 100, 60], 0.8)]
    ranges = (AreaRange("all", 0.0, 1e10), AreaRange("small", 0.0, 1000.0))
    rules = detection_protocol("coco", thresholds=(0.65,), area_ranges=ranges)
    table = match_detections(*case(truth, found, area=[10000.0, 500.0]).tables(), rules)
    assert table.det_gt(area=0).tolist() == [0, 1]
    assert table.det_gt(area=1).tolist() == [1, -1]
