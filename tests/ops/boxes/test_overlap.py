"""Overlaps of boxes: loops, laws, values by hand, degenerate boxes, gradients, refusals."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from literal_boxes import area, overlap

from linsight import ops

KINDS = ops.OVERLAPS
LEAST = {"iou": 0.0, "giou": -1.0, "diou": -1.0, "ciou": -1.5}

# Quarters up to 8, so that equal edges, shared corners and empty boxes are common.
PLACES = st.integers(0, 32).map(lambda quarter: quarter / 4)
BOXES = st.tuples(PLACES, PLACES, PLACES, PLACES).map(
    lambda p: [min(p[0], p[2]), min(p[1], p[3]), max(p[0], p[2]), max(p[1], p[3])]
)
SETS = st.lists(BOXES, max_size=5)


def tensor(boxes: list[list[float]]) -> torch.Tensor:
    return torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)


@pytest.mark.parametrize("kind", KINDS)
@given(one=SETS, other=SETS)
def test_every_pair_has_the_overlap_of_the_plain_loop(kind, one, other) -> None:
    found = ops.pairwise_overlap(tensor(one), tensor(other), kind)
    expected = [[overlap(a, b, kind) for b in other] for a in one]
    assert found.shape == (len(one), len(other))
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64).reshape(found.shape), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
@given(a=BOXES, b=BOXES)
def test_it_is_symmetric_and_bounded(kind, a, b) -> None:
    there, back = ops.box_overlap(tensor([a, b]), tensor([b, a]), kind).tolist()
    assert there == pytest.approx(back, abs=1e-12)
    assert LEAST[kind] - 1e-12 <= there <= 1
    assert there <= ops.box_overlap(tensor([a]), tensor([b])).item() + 1e-12


@pytest.mark.parametrize("kind", KINDS)
@given(a=BOXES, b=BOXES, scale=st.sampled_from([0.25, 3.0, 1024.0]), x=PLACES, y=PLACES)
def test_moving_and_scaling_both_boxes_changes_nothing(kind, a, b, scale, x, y) -> None:
    shift = torch.tensor([x, y, x, y], dtype=torch.float64)
    first = ops.box_overlap(tensor([a]), tensor([b]), kind)
    moved = ops.box_overlap(scale * (tensor([a]) + shift), scale * (tensor([b]) + shift), kind)
    torch.testing.assert_close(moved, first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(a=BOXES)
def test_a_box_with_itself_is_1_where_it_has_an_area(kind, a) -> None:
    # An empty box overlaps nothing; of a line the hull is all beyond the union, unless it too has no area.
    assert ops.box_overlap(tensor([a]), tensor([a]), kind).item() == (1.0 if area(a) else 0.0)


def test_values_by_hand() -> None:
    """Two squares of side 2, a corner shared: hull 16 in area, diagonal^2 32, centres 2 sqrt 2 apart."""
    a, b = tensor([[0, 0, 2, 2]]), tensor([[2, 2, 4, 4]])
    found = {kind: ops.box_overlap(a, b, kind).item() for kind in KINDS}
    assert found == {"iou": 0.0, "giou": -0.5, "diou": -0.25, "ciou": -0.25}
    # 1 x 3 in the middle of 3 x 1: iou 1 / 5, one centre; v = (4 / pi^2) (atan 3 - atan 1/3)^2.
    a, b = tensor([[1, 0, 2, 3]]), tensor([[0, 1, 3, 2]])
    v = 4 / math.pi**2 * (math.atan(3) - math.atan(1 / 3)) ** 2
    assert ops.box_overlap(a, b, "giou").item() == pytest.approx(0.2 - 4 / 9)
    assert ops.box_overlap(a, b, "diou").item() == pytest.approx(0.2)
    assert ops.box_overlap(a, b, "ciou").item() == pytest.approx(0.2 - v * v / (0.8 + v))


def test_giou_tends_to_minus_1_and_tells_how_far_boxes_without_overlap_are() -> None:
    here = tensor([[0, 0, 1, 1]])
    far = [ops.box_overlap(here, here + distance, "giou").item() for distance in (2, 8, 1e6)]
    assert far[0] > far[1] > far[2]
    assert far[2] == pytest.approx(-1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_crossed_corners_are_empty_and_keep_the_bounds(kind) -> None:
    boxes = 8 * torch.rand(200, 2, 4, dtype=torch.float64)
    found = ops.box_overlap(boxes[:, 0], boxes[:, 1], kind)
    assert found.isfinite().all()
    assert (found >= LEAST[kind] - 1e-12).all()
    assert (found <= 1).all()
    crossed = (boxes[..., 2:] <= boxes[..., :2]).any(-1).any(-1)
    assert crossed.any()
    assert not ops.box_overlap(boxes[:, 0], boxes[:, 1])[crossed].any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_definition(kind) -> None:
    """Numerical differences; alpha of ciou is held, as its authors hold it."""
    corners = torch.rand(6, 2, 2, dtype=torch.float64)
    a, b = torch.cat([corners, corners + 0.4 + torch.rand_like(corners)], -1).unbind(1)
    a, b = a.requires_grad_(), b.requires_grad_()
    if kind != "ciou":
        assert torch.autograd.gradcheck(lambda x, y: ops.box_overlap(x, y, kind), (a, b))
        return
    with torch.no_grad():
        iou = ops.box_overlap(a, b)
        v = _v(a, b)
        alpha = v / (1 - iou + v)
    expected = torch.autograd.grad((ops.box_overlap(a, b, "diou") - alpha * _v(a, b)).sum(), (a, b))
    found = torch.autograd.grad(ops.box_overlap(a, b, "ciou").sum(), (a, b))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def _v(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    first, second = ((x[..., 2] - x[..., 0]) / (x[..., 3] - x[..., 1]) for x in (a, b))
    return 4 / math.pi**2 * (first.atan() - second.atan()).square()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_gradients_are_finite_on_points_lines_equal_and_distant_boxes(kind, size) -> None:
    shapes = tensor(
        [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0], [5, 5, 6, 6], [0, 0, 1, 2]]
    )
    boxes = (size * shapes).float()
    one = boxes.clone().requires_grad_()
    found = ops.pairwise_overlap(one, boxes, kind)
    assert found.isfinite().all()
    assert torch.autograd.grad(found.sum(), one)[0].isfinite().all()


def test_half_precision_is_computed_in_float32() -> None:
    """300 x 300 overflows float16, whose greatest number is 65,504."""
    a = torch.tensor([[0.0, 0.0, 300.0, 300.0]], dtype=torch.float16)
    b = torch.tensor([[0.0, 0.0, 300.0, 150.0]], dtype=torch.float16)
    found = ops.box_overlap(a, b)
    assert found.dtype == torch.float16
    assert found.item() == 0.5
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.box_overlap(a.float(), b.float()).dtype == torch.float32


def test_shapes_are_broadcast_and_sets_may_be_empty() -> None:
    a, b = torch.rand(2, 1, 5, 4), torch.rand(3, 1, 4)
    assert ops.box_overlap(a, b).shape == (2, 3, 5)
    assert ops.pairwise_overlap(torch.rand(2, 0, 4), torch.rand(2, 3, 4)).shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.box_overlap(torch.ones(4).long(), torch.ones(4)), TypeError,
         "one: expected floating point, got torch.int64"),
        (lambda: ops.box_overlap(torch.ones(4), torch.ones(2, 3)), ValueError,
         r"other: expected 4 numbers on the last axis, got shape \(2, 3\)"),
        (lambda: ops.box_overlap(torch.ones(2, 4), torch.ones(3, 4)), ValueError,
         r"one, other: expected shapes that can be broadcast, got \(2, 4\) and \(3, 4\)"),
        (lambda: ops.box_overlap(torch.ones(4), torch.ones(4), "eiou"), ValueError,
         "kind: expected one of iou, giou, diou, ciou, got 'eiou'"),
        (lambda: ops.pairwise_overlap(torch.ones(2, 4), torch.ones(4)), ValueError,
         r"other: expected axes \(boxes, 4\), got shape \(4,\)"),
    ],
)  # fmt: skip
def test_what_is_no_box_is_refused(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
