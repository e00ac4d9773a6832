"""Notations, areas and clipping of boxes."""

import itertools

import pytest
import torch

from linsight import ops


def test_notations_by_hand() -> None:
    same = {"xyxy": [1.0, 2.0, 4.0, 8.0], "xywh": [1.0, 2.0, 3.0, 6.0], "cxcywh": [2.5, 5.0, 3.0, 6.0]}
    for source, target in itertools.product(ops.NOTATIONS, repeat=2):
        assert ops.box_convert(torch.tensor(same[source]), source, target).tolist() == same[target]


def test_there_and_back_is_the_same_box() -> None:
    boxes = torch.rand(2, 5, 4, dtype=torch.float64)
    for source, target in itertools.product(ops.NOTATIONS, repeat=2):
        back = ops.box_convert(ops.box_convert(boxes, source, target), target, source)
        torch.testing.assert_close(back, boxes, rtol=1e-14, atol=1e-14)


def test_the_area_of_crossed_corners_is_0() -> None:
    boxes = torch.tensor(
        [[0.0, 0.0, 3.0, 2.0], [3.0, 0.0, 0.0, 2.0], [3.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 5.0]]
    )
    assert ops.box_area(boxes).tolist() == [6, 0, 0, 0]
    assert ops.box_area(torch.zeros(2, 0, 4)).shape == (2, 0)


def test_clipping_keeps_what_is_inside_and_leaves_no_area_outside() -> None:
    """In an image of 4 rows and 10 columns; again clipped, nothing changes."""
    boxes = torch.tensor(
        [[-3.0, 1.0, 5.0, 9.0], [2.0, 1.0, 9.5, 3.0], [11.0, 0.0, 14.0, 4.0], [-2.0, -2.0, -1.0, -1.0]]
    )
    found = ops.box_clip(boxes, (4, 10))
    assert found.tolist() == [[0, 1, 5, 4], [2, 1, 9.5, 3], [10, 0, 10, 4], [0, 0, 0, 0]]
    assert ops.box_area(found).tolist() == [15, 15, 0, 0]
    assert torch.equal(ops.box_clip(found, (4, 10)), found)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.box_area(torch.ones(3, 5)), ValueError,
         r"boxes: expected 4 numbers on the last axis, got shape \(3, 5\)"),
        (lambda: ops.box_area(torch.tensor(1.0)), ValueError, r"on the last axis, got shape \(\)"),
        (lambda: ops.box_convert(torch.ones(4).int(), "xyxy", "xywh"), TypeError,
         "boxes: expected floating point, got torch.int32"),
        (lambda: ops.box_convert(torch.ones(4), "yxyx", "xywh"), ValueError,
         "source: expected one of xyxy, xywh, cxcywh, got 'yxyx'"),
        (lambda: ops.box_convert(torch.ones(4), "xyxy", "yxhw"), ValueError,
         "target: expected one of xyxy, xywh, cxcywh, got 'yxhw'"),
        (lambda: ops.box_clip(torch.ones(4), (3, -1)), ValueError,
         r"size: expected a height and width of at least 0, got \(3, -1\)"),
    ],
)  # fmt: skip
def test_what_is_no_box_is_refused(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
