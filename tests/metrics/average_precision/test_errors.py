"""TIDE's kinds by hand, their laws, intervals, and what differs between protocols."""

from dataclasses import replace

import numpy as np
import pytest
from detection_cases import Case, case, flags, interpolation, random_case, rules

from linsight.metrics import (
    bootstrap,
    bootstrap_difference,
    detection_protocol,
    evaluate_detections,
    explain_protocols,
    match_detections,
    tide,
)

KINDS = ["Loc", "Cls", "Dupe", "Bkg", "Both", "Miss"]
TRUTH = [(1, 1, [0, 0, 100, 100]), (1, 2, [300, 300, 400, 400]), (1, 1, [0, 300, 50, 350])]
FOUND = [
    (1, 1, [0, 0, 100, 100], 0.9),
    (1, 1, [0, 0, 100, 95], 0.8),
    (1, 1, [300, 300, 400, 400], 0.7),
    (1, 1, [0, 300, 50, 320], 0.6),
    (1, 2, [200, 0, 220, 20], 0.5),
    (1, 2, [0, 0, 100, 30], 0.4),
]


def errors(truth, found, **flags):
    return tide(match_detections(*case(truth, found, **flags).tables()))


def by_row(truth, found, **flags) -> list[int]:
    table = match_detections(*case(truth, found, **flags).tables())
    kinds = np.empty(len(found), int)
    kinds[table.det_row] = tide(table).kind
    return kinds.tolist()


def test_every_kind_by_hand():
    assert by_row(TRUTH, FOUND) == [-1, 2, 1, 0, 3, 4]
    found = errors(TRUTH, FOUND)
    assert found.counts == {"Loc": 1, "Cls": 1, "Dupe": 1, "Bkg": 1, "Both": 1, "Miss": 0}


def test_the_cost_of_every_kind_by_hand():
    """Class 1 is found once, first, of two: AP 51 / 101; class 2 never: the mean is 51 / 202."""
    found = errors(TRUTH, FOUND)
    assert found.ap == pytest.approx(51 / 202)
    # Fourth of four becomes right: 50 of the recalls rise from 0 to 1 / 2.
    assert found.costs["Loc"] == pytest.approx(50 * 0.5 / 202)
    # The third becomes the first of class 2.
    assert found.costs["Cls"] == pytest.approx(101 / 202)
    assert [found.costs[kind] for kind in ("Dupe", "Bkg", "Both", "Miss", "FalsePos")] == pytest.approx(
        [0] * 5
    )
    # One object of class 1 is left, and none of class 2, whose detections count as 0.
    assert found.costs["FalseNeg"] == pytest.approx(50 / 202)


def test_an_object_that_nothing_comes_near_is_missed():
    found = errors([*TRUTH, (2, 1, [0, 0, 50, 50])], FOUND)
    assert found.counts["Miss"] == 1
    assert found.costs["Miss"] > 0


def test_detections_on_a_crowd_of_their_class_are_no_errors():
    crowd = [False, False, False, True]
    inside = (1, 1, [510, 510, 520, 520], 0.95)
    truth = [*TRUTH, (1, 1, [500, 500, 600, 600])]
    assert by_row(truth, [*FOUND, inside], crowd=crowd)[-1] == -1
    assert by_row(truth, [*FOUND, (1, 2, *inside[2:])], crowd=crowd)[-1] == 3


def test_of_two_kinds_the_first_counts_and_of_two_detections_the_surest_is_mended():
    # IoU .4 with its own class, 1.0 with another: Loc goes before Cls.
    truth = [(1, 1, [0, 0, 100, 100]), (1, 2, [0, 0, 100, 40])]
    assert by_row(truth, [(1, 1, [0, 0, 100, 40], 0.9)]) == [0]
    # The background between the two would halve the AP of the less sure one.
    near = [(1, 1, [0, 0, 100, 40], 0.8), (1, 1, [500, 0, 510, 10], 0.75), (1, 1, [0, 0, 100, 45], 0.7)]
    found = errors([(1, 1, [0, 0, 100, 100])], near)
    assert found.counts["Loc"] == 2
    assert (found.ap, found.costs["Loc"]) == pytest.approx((0.0, 1.0))


def test_what_is_meant_for_an_object_that_is_taken_is_dropped_not_mended():
    """Class 2 is found second, AP 1 / 2; class 1, without objects, is 0 until its detection is gone."""
    found = [(1, 1, [0, 0, 9, 9], 0.9), (1, 2, [50, 0, 60, 9], 0.8), (1, 2, [0, 0, 9, 9], 0.7)]
    of = errors([(1, 2, [0, 0, 9, 9])], found, categories=[1, 2])
    assert of.counts["Cls"] == of.counts["Bkg"] == 1
    assert (of.ap, of.costs["Cls"]) == pytest.approx((0.25, 0.25))


def test_an_iou_of_half_is_right_or_a_duplicate_and_one_of_a_tenth_is_near():
    half = [(1, 1, [0, 0, 100, 50], score) for score in (0.9, 0.8)]
    assert by_row([(1, 1, [0, 0, 100, 100])], half) == [-1, 0]
    assert by_row([(1, 1, [0, 0, 100, 100])], [(1, 1, [0, 0, 100, 10], 0.9)]) == [0]
    assert by_row([(1, 1, [0, 0, 100, 100])], [(1, 2, [0, 0, 100, 10], 0.9)], categories=[1, 2]) == [3]
    assert by_row([(1, 1, [0, 0, 100, 100])], [(1, 2, [0, 0, 100, 50], 0.9)], categories=[1, 2]) == [1]


@pytest.mark.parametrize(("width", "kind"), [(49, 3), (50, 3), (51, -1)])
def test_a_detection_is_dropped_if_more_than_half_of_it_is_on_a_crowd(width, kind):
    found = [(1, 1, [100 - width, 0, 200 - width, 100], 0.9)]
    assert by_row([(1, 1, [0, 0, 100, 100])], found, crowd=[True]) == [kind]


def test_tide_looks_at_100_detections_of_an_image_of_all_classes_together():
    """COCO looks at 100 of each class: the 101st detection, the only one of its class, is right there."""
    others = [(1, 2, [500, 0, 510, 10], 0.9)] * 100
    data = case([(1, 1, [0, 0, 9, 9])], [*others, (1, 1, [0, 0, 9, 9], 0.8)], categories=[1, 2])
    result = evaluate_detections(*data.tables())
    found = tide(result.table)
    assert (result.value, found.limit) == (pytest.approx(1.0), 100)
    assert (found.ap, found.counts["Bkg"], found.counts["Miss"]) == (0.0, 100, 1)
    assert tide(result.table, limit=101).counts == {**found.counts, "Miss": 0}
    assert tide(result.table, limit=101).ap == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(40))
def test_every_detection_is_right_dropped_or_of_one_kind_and_costs_are_not_negative(seed):
    table = match_detections(*random_case(seed, classes=3).tables())
    found = tide(table)
    assert sum(found.counts[kind] for kind in KINDS[:5]) == (found.kind >= 0).sum()
    assert all(cost >= 0 for cost in found.costs.values())
    if found.ap == found.ap:
        assert found.ap + max(found.costs.values()) <= 1 + 1e-9


def repeated(times: int) -> Case:
    one = case(
        [(1, 1, [0, 0, 9, 9]), (1, 1, [50, 0, 70, 20])],
        [(1, 1, [0, 0, 9, 9], 0.9), (1, 1, [30, 30, 40, 40], 0.5)],
    )
    images = np.arange(times)
    truth = {"images": images, "image_id": np.repeat(images, 2), "category_id": np.ones(2 * times, int)}
    truth["box"] = np.tile(one.truth["box"], (times, 1))
    found = {"image_id": np.repeat(images, 2), "category_id": np.ones(2 * times, int)}
    found |= {"box": np.tile(one.found["box"], (times, 1)), "score": np.tile([0.9, 0.5], times)}
    return one.changed(truth=truth, found=found)


@pytest.mark.parametrize("name", ["coco", "voc10"])
def test_an_interval_over_equal_images_has_no_width(name):
    table = match_detections(*repeated(6).tables(), name)
    found = bootstrap(table, samples=50)
    assert found.low == pytest.approx(found.high, abs=1e-12)
    assert found.value == pytest.approx(evaluate_detections(*repeated(6).tables(), name).value, abs=1e-12)


def test_as_many_images_are_drawn_as_there_are():
    """One image can only be drawn as itself; of none drawn there would be no number."""
    found = bootstrap(match_detections(*repeated(1).tables()), samples=20)
    assert found.low == found.high == found.value
    assert found.samples == 20


@pytest.mark.parametrize("name", ["coco", "voc07", "voc10", "ultralytics"])
@pytest.mark.parametrize("seed", [3, 5, 9])
def test_a_draw_equals_the_evaluation_of_the_images_drawn(name, seed, monkeypatch):
    """Weights against copies: every image that is drawn twice is there twice, under a number of its own."""
    whole = random_case(seed, images=5, ties=False)
    draw = np.array([0, 0, 1, 3, 3])
    copies: dict[str, list] = {"truth": [], "found": []}
    for number, image in enumerate(draw + 1):
        for side, rows in (("truth", copies["truth"]), ("found", copies["found"])):
            for row in np.flatnonzero(getattr(whole, side)["image_id"] == image):
                rows.append((number, row))
    sides = []
    for side in ("truth", "found"):
        number, row = np.array(copies[side], int).reshape(-1, 2).T
        columns = {
            k: v[row]
            for k, v in getattr(whole, side).items()
            if k not in ("images", "categories", "box_format")
        }
        sides.append(columns | {"image_id": number})
    drawn = whole.changed(truth=sides[0] | {"images": np.arange(5)}, found=sides[1])
    expected = evaluate_detections(*drawn.tables(), name).value

    class Fixed:
        def integers(self, images, size):
            return draw

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Fixed())
    found = bootstrap(match_detections(*whole.tables(), name), samples=1)
    assert found.low == found.high
    assert found.low == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_draws_are_seeded_and_hold_as_many_images_as_there_are():
    table = match_detections(*random_case(7, images=8).tables())
    one, again, other = (bootstrap(table, samples=40, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert one.low <= one.value <= one.high
    assert one.high - one.low > 0.01


def test_a_model_does_not_differ_from_itself():
    table, same = (match_detections(*random_case(7, images=8).tables()) for _ in range(2))
    found = bootstrap_difference(table, same, samples=20)
    assert (found.low, found.value, found.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="other: expected the same images"):
        bootstrap_difference(table, replace(table, images=table.images + 1))


def test_an_interval_of_a_higher_level_holds_that_of_a_lower():
    """And half of the draws are no single value, where they differ."""
    table = match_detections(*random_case(7, images=8).tables())
    wide, narrow = (bootstrap(table, samples=60, level=level) for level in (0.9, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_intervals_of_nothing_are_refused():
    table = match_detections(*interpolation().tables())
    with pytest.raises(ValueError, match="samples, level: expected >= 1"):
        bootstrap(table, samples=0)
    with pytest.raises(ValueError, match="got 10 and 1"):
        bootstrap(table, samples=10, level=1)


def test_protocols_are_explained_by_the_choice_that_changes_the_number():
    (found,) = explain_protocols(*rules().tables(), ["voc10", detection_protocol("coco", thresholds=(0.5,))])
    assert found.names == ("voc10", "coco")
    assert found.values == pytest.approx((0.5, 1.0))
    assert found.changes["matching rule"] == pytest.approx(1.0)
    assert found.changes["extra pixel"] == pytest.approx(0.5)
    assert "thresholds" not in found.changes
    assert (found.differing, found.verdicts) == ([1], [("wrong", "right")])


def test_detections_on_flagged_objects_differ_between_protocols():
    (found,) = explain_protocols(*flags().tables(), ["voc07", "coco"])
    assert found.verdicts[0] == ("wrong", "not counted")
    assert found.differing[0] == 0
    with pytest.raises(ValueError, match="rules: expected two protocols or more, got 1"):
        explain_protocols(*flags().tables(), ["voc07"])
