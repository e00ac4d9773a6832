"""Non-maximum suppression: the plain loop, its laws, ties, classes, batches, blocks, refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from literal_boxes import overlap, suppress

from linsight import ops
from linsight.ops.boxes import suppression

PLACES = st.integers(0, 8)
BOXES = st.tuples(PLACES, PLACES, PLACES, PLACES).map(
    lambda p: [min(p[0], p[2]), min(p[1], p[3]), max(p[0], p[2]), max(p[1], p[3])]
)
# Few scores, so that ties are common, and thresholds that overlaps of small whole boxes meet exactly.
FOUND = st.lists(st.tuples(BOXES, st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 1)), max_size=12)
THRESHOLDS = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def columns(found):
    boxes = torch.tensor([row[0] for row in found], dtype=torch.float64).reshape(-1, 4)
    scores = torch.tensor([row[1] for row in found], dtype=torch.float64)
    return boxes, scores, torch.tensor([row[2] for row in found], dtype=torch.int64)


@given(found=FOUND, threshold=THRESHOLDS)
def test_the_boxes_that_stay_are_those_of_the_plain_loop_in_its_order(found, threshold) -> None:
    kept = ops.nms(*columns(found), threshold=threshold)
    assert kept.tolist() == suppress(*(column.tolist() for column in columns(found)), threshold)


@given(found=FOUND, threshold=THRESHOLDS)
def test_no_two_that_stay_overlap_and_each_that_goes_is_covered(found, threshold) -> None:
    kept = ops.nms(*columns(found), threshold=threshold).tolist()
    for i, (box, score, label) in enumerate(found):
        over = [
            j
            for j in kept
            if j != i and found[j][2] == label and overlap(box, found[j][0], "iou") > threshold
        ]
        if i in kept:
            assert not over
        else:
            assert any(found[j][1] > score or (found[j][1] == score and j < i) for j in over)


@given(found=FOUND, threshold=THRESHOLDS)
def test_what_stays_stays_when_asked_again(found, threshold) -> None:
    boxes, scores, labels = columns(found)
    kept = ops.nms(boxes, scores, labels, threshold=threshold)
    again = ops.nms(boxes[kept], scores[kept], labels[kept], threshold=threshold)
    assert again.tolist() == list(range(len(kept)))


@given(found=FOUND, threshold=THRESHOLDS)
def test_classes_are_left_alone_by_one_another(found, threshold) -> None:
    boxes, scores, labels = columns(found)
    together = ops.nms_mask(boxes, scores, labels, threshold=threshold)
    for label in (0, 1):
        mine = labels == label
        assert torch.equal(ops.nms_mask(boxes[mine], scores[mine], threshold=threshold), together[mine])


def crowd(count: int, *batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    corners = 20 * torch.rand(*batch, count, 2)
    boxes = torch.cat([corners, corners + 2 + 6 * torch.rand(*batch, count, 2)], -1)
    return boxes, torch.rand(*batch, count), torch.randint(2, (*batch, count))


def test_any_order_of_boxes_with_scores_of_their_own_gives_the_same() -> None:
    boxes, scores, labels = crowd(60)
    order = torch.randperm(60)
    first = ops.nms_mask(boxes, scores, labels)
    assert 0 < first.sum() < 60
    assert torch.equal(ops.nms_mask(boxes[order], scores[order], labels[order]), first[order])


def test_equal_scores_keep_the_order_given() -> None:
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).repeat(40, 1)
    assert ops.nms(boxes, torch.ones(40)).tolist() == [0]


def test_images_of_a_batch_do_not_know_each_other() -> None:
    boxes, scores, labels = crowd(30, 2, 3)
    found = ops.nms_mask(boxes, scores, labels, threshold=0.3)
    assert found.shape == (2, 3, 30)
    for i in range(2):
        for j in range(3):
            alone = ops.nms_mask(boxes[i, j], scores[i, j], labels[i, j], threshold=0.3)
            assert torch.equal(found[i, j], alone)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_change_nothing(monkeypatch, block: int) -> None:
    boxes, scores, labels = crowd(70)
    whole = ops.nms_mask(boxes, scores, labels, threshold=0.2)
    monkeypatch.setattr(suppression, "_BLOCK", block)
    assert torch.equal(ops.nms_mask(boxes, scores, labels, threshold=0.2), whole)


def test_a_chain_in_which_each_covers_the_next_alternates() -> None:
    """The first stays, so the second goes, so the third stays: as many rounds as boxes."""
    left = torch.arange(50.0)
    boxes = torch.stack([3 * left, torch.zeros(50), 3 * left + 4, torch.ones(50)], 1)
    kept = ops.nms(boxes, torch.linspace(1, 0.1, 50), threshold=0.1)
    assert kept.tolist() == list(range(0, 50, 2))


def test_an_overlap_of_exactly_the_threshold_stays_and_empty_boxes_do() -> None:
    boxes = torch.tensor(
        [[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 2.0], [1.0, 1.0, 1.0, 3.0], [1.0, 1.0, 1.0, 3.0]]
    )
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert ops.nms(boxes, scores, threshold=0.5).tolist() == [0, 1, 2, 3]
    assert ops.nms(boxes, scores, threshold=0.49).tolist() == [0, 2, 3]


def test_nothing_in_nothing_out_and_no_gradient() -> None:
    assert ops.nms(torch.zeros(0, 4), torch.zeros(0)).tolist() == []
    assert ops.nms_mask(torch.zeros(2, 0, 4), torch.zeros(2, 0)).shape == (2, 0)
    boxes, scores, _ = crowd(5)
    assert not ops.nms_mask(boxes.requires_grad_(), scores.requires_grad_()).requires_grad


ONE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
SURE, FIRST = torch.ones(1), torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "threshold", "error", "message"),
    [
        ((ONE.long(), SURE), 0.5, TypeError, "boxes: expected floating point, got torch.int64"),
        ((ONE, FIRST), 0.5, TypeError, "scores: expected floating point, got torch.int64"),
        ((ONE, SURE, SURE), 0.5, TypeError, "labels: expected integers, got torch.float32"),
        (
            (ONE, torch.ones(2)),
            0.5,
            ValueError,
            r"scores: expected shape \(1,\), one for each box, got \(2,\)",
        ),
        (
            (ONE, SURE, FIRST[:0]),
            0.5,
            ValueError,
            r"labels: expected shape \(1,\), one for each box, got \(0,",
        ),
        ((ONE, torch.nan * SURE), 0.5, ValueError, "scores: expected numbers, got NaN"),
        ((ONE * torch.nan, SURE), 0.5, ValueError, "boxes: expected numbers, got NaN"),
        ((ONE, SURE), 1.5, ValueError, "threshold: expected a number from 0 to 1, got 1.5"),
        (
            (ONE[None], SURE[None]),
            0.5,
            ValueError,
            r"boxes: expected axes \(boxes, 4\), got shape \(1, 1, 4\)",
        ),
    ],
)
def test_what_cannot_be_suppressed_is_refused(arguments, threshold, error, message) -> None:
    with pytest.raises(error, match=message):
        ops.nms(*arguments, threshold=threshold)


def test_a_lone_box_is_no_set_of_boxes() -> None:
    with pytest.raises(ValueError, match=r"boxes: expected axes \(boxes, 4\), got shape \(4,\)"):
        ops.nms_mask(ONE[0], torch.tensor(1.0))
