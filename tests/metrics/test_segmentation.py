"""Segmentation metrics: the worked example, literal loops, and the laws of data that come in parts."""

import copy
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linsight.metrics import Segmentation, boundary_counts, boundary_f, pixel_confusion

CLASSES = 4


def maps(number, seed=0, height=6, width=5, ignored=0.2):
    """Predictions, targets with ignored pixels, and ids."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (number, height, width), generator=generator)
    prediction = torch.where(
        torch.rand(target.shape, generator=generator) < 0.5,
        target,
        torch.randint(CLASSES, target.shape, generator=generator),
    )
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return prediction, target, [f"image {seed}.{index}" for index in range(number)]


def blobs(seed, height=12, width=14):
    """Rectangles: maps whose regions have an inside."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(height, width, dtype=torch.int64)
    for _ in range(5):
        top, left = (int(torch.randint(side - 2, (1,), generator=generator)) for side in (height, width))
        label = int(torch.randint(CLASSES, (1,), generator=generator))
        labels[top : top + 5, left : left + 6] = label
    return labels


def measured(prediction, target, ids=None, **options):
    metric = Segmentation(CLASSES, **options)
    metric.update(prediction, target, ids)
    return metric.compute()


def check_same(found, expected):
    assert torch.equal(found.confusion, expected.confusion)
    torch.testing.assert_close(found.boundary_f, expected.boundary_f, rtol=0, atol=0, equal_nan=True)
    assert found.num_images == expected.num_images


def test_the_worked_example():
    """K = 3, target 0 0 1 1 2 255, prediction 0 1 1 1 0 2: every number by hand."""
    metric = Segmentation(3)
    metric.update(torch.tensor([[[0, 1, 1, 1, 0, 2]]]), torch.tensor([[[0, 0, 1, 1, 2, 255]]]))
    found = metric.compute()
    assert found.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert found.iou.tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert found.miou == pytest.approx(1 / 3)
    assert found.pixel_accuracy == pytest.approx(3 / 5)
    assert found.accuracy.tolist() == [0.5, 1, 0]
    assert found.mean_accuracy == pytest.approx(0.5)
    assert found.f1.tolist() == pytest.approx([2 / 4, 4 / 5, 0])
    assert found.mean_f1 == pytest.approx((0.5 + 0.8) / 3)
    assert found.frequency_weighted_iou == pytest.approx((2 * 1 / 3 + 2 * 2 / 3 + 0) / 5)


@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_that_of_a_loop_over_pixels(seed):
    prediction, target, _ = maps(3, seed)
    found = measured(prediction, target)
    pairs = [
        (p, t)
        for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)
        if t != 255
    ]
    for c in range(CLASSES):
        hit = sum(p == t == c for p, t in pairs)
        either = sum(c in (p, t) for p, t in pairs)
        predicted, actual = sum(p == c for p, _ in pairs), sum(t == c for _, t in pairs)
        assert found.iou[c].item() == pytest.approx(hit / either)
        assert found.f1[c].item() == pytest.approx(2 * hit / (predicted + actual))
        assert found.accuracy[c].item() == pytest.approx(hit / actual)
    assert found.pixel_accuracy == pytest.approx(sum(p == t for p, t in pairs) / len(pairs))
    weights = [sum(t == c for _, t in pairs) / len(pairs) for c in range(CLASSES)]
    assert found.frequency_weighted_iou == pytest.approx(
        sum(w * v for w, v in zip(weights, found.iou.tolist(), strict=True))
    )


def test_counts_are_over_the_data_set_and_not_a_mean_of_images():
    """One image all right, a larger one all wrong: 4 of 4 + 16 pixels, where a mean of images is 1/2."""
    metric = Segmentation(2)
    metric.update(
        [torch.ones(2, 2).long(), torch.zeros(4, 4).long()],
        [torch.ones(2, 2).long(), torch.ones(4, 4).long()],
    )
    assert metric.compute().iou[1].item() == pytest.approx(4 / 20)


def test_absent_classes_follow_the_rule_that_the_result_states():
    """Class 1 is predicted and nowhere in the target, class 3 nowhere at all; class 2 is missed."""
    target = torch.tensor([[[0, 0, 2, 2]]])
    prediction = torch.tensor([[[0, 1, 0, 0]]])
    metric = Segmentation(CLASSES)
    metric.update(prediction, target)
    zero, skip = metric.compute(), metric.compute(absent="skip")
    assert (zero.absent, skip.absent) == ("zero", "skip")
    assert zero.iou[:3].tolist() == [1 / 4, 0, 0]
    assert skip.iou[0] == 1 / 4
    assert skip.iou[2] == 0
    assert skip.iou[[1, 3]].isnan().all()
    assert zero.miou == pytest.approx(1 / 12)
    assert skip.miou == pytest.approx(1 / 8)
    for found in (zero, skip):
        assert found.iou[3].isnan()
        assert found.accuracy[[1, 3]].isnan().all()
        assert torch.equal(found.f1.isnan(), found.iou.isnan())
    assert zero.boundary_f[1] == 0
    assert skip.boundary_f[1].isnan()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    owners=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    again=st.lists(st.integers(0, 5), max_size=4),
    order=st.permutations(range(3)),
    named=st.booleans(),
)
def test_any_split_into_updates_and_merges_gives_the_same_result(seed, owners, again, order, named):
    """With ids, an image that comes again, to whatever part, changes nothing."""
    prediction, target, ids = maps(6, seed)
    parts = [Segmentation(CLASSES) for _ in range(3)]
    for index, owner in [*enumerate(owners), *((index, index % 3) for index in (again if named else []))]:
        one = slice(index, index + 1)
        parts[owner].update(prediction[one], target[one], ids[one] if named else None)
    total = Segmentation(CLASSES)
    for index in order:
        total.merge(parts[index])
    check_same(total.compute(), measured(prediction, target, ids))
    if named:
        total.merge(copy.deepcopy(total))
        check_same(total.compute(), measured(prediction, target, ids))


def test_reset_forgets_and_looking_changes_nothing():
    prediction, target, ids = maps(4)
    metric = Segmentation(CLASSES)
    metric.update(*maps(2, seed=9)[:2])
    metric.update(*maps(2, seed=8))
    metric.compute()
    metric.reset()
    assert len(metric) == 0
    metric.update(prediction[:0], target[:0], [])
    metric.update(prediction, target, ids)
    metric.compute()
    check_same(metric.compute(), measured(prediction, target, ids))
    assert len(metric) == 4


def test_two_processes_agree_with_one(tmp_path: Path):
    """gloo; the sampler has padded with image 0, which both have seen."""
    script = tmp_path / "rank.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import torch
            import torch.distributed as dist
            from linsight.metrics import Segmentation

            rank = int(sys.argv[1])
            dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
            target = torch.arange(16).view(4, 2, 2) % 3
            prediction = target.clone()
            prediction[3] = 0
            mine = [0, 3] if rank else [0, 1, 2]
            metric = Segmentation(3)
            metric.update(prediction[mine], target[mine], mine)
            metric.sync()
            print(metric.compute().confusion.flatten().tolist(), len(metric))
            dist.destroy_process_group()
            """
        )
    )
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=240)[0].strip() for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    # 0 1 2 0 | 1 2 0 1 | 2 0 1 2 | 0 1 2 0, the last image called 0 throughout.
    assert outputs == ["[6, 0, 0, 1, 4, 0, 1, 0, 4] 4"] * 2


def literal_boundary(labels, valid, label):
    """The boundary pixels of a class by its definition, one pixel at a time."""
    height, width = labels.shape
    return {
        (r, c)
        for r in range(height)
        for c in range(width)
        if valid[r, c]
        and labels[r, c] == label
        and any(
            0 <= r + dr < height
            and 0 <= c + dc < width
            and valid[r + dr, c + dc]
            and labels[r + dr, c + dc] != label
            for dr, dc in ((1, 0), (-1, 0), (0, 1), (0, -1))
        )
    }  # fmt: skip


@pytest.mark.parametrize("distance", [0, 1, 2, 30])
@pytest.mark.parametrize("seed", range(3))
def test_boundary_counts_are_those_of_the_definition(distance, seed):
    target, prediction = blobs(seed), blobs(seed + 10)
    target[torch.rand(target.shape) < 0.1] = 255
    found = boundary_counts(prediction, target, CLASSES, distance=distance)
    valid = target != 255
    scores = boundary_f(found)
    for label in range(CLASSES):
        ours, truth = (literal_boundary(labels, valid, label) for labels in (prediction, target))

        def near(points, others):
            return sum(any(max(abs(r - s), abs(c - d)) <= distance for s, d in others) for r, c in points)

        expected = (len(ours), near(ours, truth), len(truth), near(truth, ours))
        assert tuple(int(column[label]) for column in found) == expected
        p, r = expected[1] / max(1, expected[0]), expected[3] / max(1, expected[2])
        if not expected[0] + expected[2]:
            assert math.isnan(scores[label])
        else:
            assert scores[label].item() == pytest.approx(2 * p * r / (p + r) if p + r else 0)


def test_a_boundary_one_pixel_off_matches_at_distance_1_alone():
    target = torch.zeros(8, 8, dtype=torch.int64)
    target[:, 4:] = 1
    moved = target.roll(1, 1)
    moved[:, 0] = 0
    for distance, expected in ((0, 0.0), (1, 1.0)):
        scores = boundary_f(boundary_counts(moved, target, 2, distance=distance))
        assert scores.tolist() == [expected, expected]


def test_a_perfect_prediction_has_1_everywhere():
    target = torch.stack([blobs(seed) for seed in range(4)])
    found = measured(target, target)
    for values in (found.iou, found.f1, found.accuracy, found.boundary_f):
        assert values[~values.isnan()].eq(1).all()
    assert (found.miou, found.pixel_accuracy, found.frequency_weighted_iou, found.mean_boundary_f) == (
        1,
        1,
        1,
        1,
    )


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (2, 3, 1)])
def test_images_of_one_row_column_or_pixel_are_measured(shape):
    target = torch.zeros(shape, dtype=torch.int64)
    found = measured(target, target)
    assert found.miou == 1
    assert found.boundary_f.isnan().all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_maps_of_any_integers_are_taken(dtype):
    prediction, target, ids = maps(3)
    check_same(measured(prediction.to(dtype), target.to(dtype), ids), measured(prediction, target, ids))


def test_what_cannot_be_counted_is_refused():
    zeros = torch.zeros(1, 2, 2, dtype=torch.int64)
    metric = Segmentation(3)
    refused = [
        (lambda: Segmentation(1), ValueError, "num_classes: expected .* >= 2, got 1"),
        (lambda: pixel_confusion(zeros, zeros, 1), ValueError, "num_classes: expected .* >= 2, got 1"),
        (lambda: Segmentation(3, ignore_index=2), ValueError, "ignore_index: expected none of the classes"),
        (lambda: Segmentation(3, distance=-1), ValueError, "distance: expected at least 0 pixels, got -1"),
        (lambda: metric.update(zeros, zeros.float()), TypeError, "target: expected class numbers"),
        (lambda: metric.update(zeros > 0, zeros), TypeError, "prediction: expected class numbers"),
        (lambda: metric.update(zeros, zeros + 3), ValueError, "target: expected 0 to 2, or 255 .* got 3"),
        (lambda: metric.update(zeros - 1, zeros), ValueError, "prediction: expected 0 to 2, got -1"),
        (lambda: metric.update(zeros[:, :1], zeros), ValueError, r"prediction: expected the target's shape"),
        (lambda: metric.update(zeros, zeros[:0]), ValueError, "expected as many of each, got 1, 0 and 0"),
        (lambda: metric.update(zeros, zeros, [1, 2]), ValueError, "expected as many of each, got 1, 1 and 2"),
        (metric.compute, ValueError, "compute: there is no valid pixel yet"),
        (lambda: metric.merge({}), TypeError, "other: expected Segmentation, got dict"),
        (lambda: metric.merge(Segmentation(4)), ValueError, "other: expected num_classes 3, as here, got 4"),
        (lambda: metric.merge(Segmentation(3, distance=2)), ValueError, "other: expected distance 1"),
    ]  # fmt: skip
    for act, error, message in refused:
        with pytest.raises(error, match=message):
            act()
    metric.update(zeros, zeros, [5])
    with pytest.raises(
        ValueError, match="image_ids: expected the same counts as before for image 5, got others"
    ):
        metric.update(zeros + 1, zeros, [5])
    with pytest.raises(ValueError, match="absent: expected 'zero' or 'skip', got 'nan'"):
        metric.compute(absent="nan")
