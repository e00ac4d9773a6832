"""Losses of boxes: by hand, against loops, under splits of the batch, with places that do not count."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linsight.losses import BOX_LOSSES, box_loss, mean_of_images
from linsight.ops import box_overlap


def pairs(batch: int = 4, count: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Found, truth, and how often each counts: often not at all."""
    corners = torch.rand(2, batch, count, 2, dtype=torch.float64)
    boxes = torch.cat([corners, corners + 0.2 + torch.rand_like(corners)], -1)
    weight = torch.rand(batch, count, dtype=torch.float64) * torch.randint(2, (batch, count))
    return boxes[0], boxes[1], weight


@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_it_is_the_loop_over_images_and_boxes(kind: str) -> None:
    found, truth, weight = pairs()
    images = []
    for f, t, w in zip(found, truth, weight, strict=True):
        total = 0.0
        for i in range(len(w)):
            lost = (f[i] - t[i]).abs().mean() if kind == "l1" else 1 - box_overlap(f[i], t[i], kind)
            total += (w[i] * lost).item()
        images.append(total / max(1.0, w.sum().item()))
    assert box_loss(found, truth, weight, kind).item() == pytest.approx(sum(images) / len(images), rel=1e-12)


def test_values_by_hand() -> None:
    """Image 1: two boxes of giou 1 and -1/2, of weights 1 and 3; image 2: one of 1/2, a quarter of one."""
    square = torch.tensor([0.0, 0.0, 2.0, 2.0])
    truth = square.expand(2, 2, 4)
    found = torch.stack(
        [torch.stack([square, square + 2]), torch.stack([square / torch.tensor([1, 1, 2, 1])] * 2)]
    )
    weight = torch.tensor([[1.0, 3.0], [0.25, 0.0]])
    assert box_loss(found, truth, weight).item() == pytest.approx(((0 + 3 * 1.5) / 4 + 0.25 * 0.5 / 1) / 2)
    assert box_loss(found, truth, weight, "l1").item() == pytest.approx((3 * 2 / 4 + 0.25 * 0.25) / 2)


@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_the_mean_over_equal_parts_of_a_batch_is_that_of_the_batch(kind: str) -> None:
    found, truth, weight = pairs(6)
    weight[0] = 0
    parts = [box_loss(*(x[i : i + 2] for x in (found, truth, weight)), kind) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), box_loss(found, truth, weight, kind))


@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_places_without_weight_may_hold_anything_and_get_no_gradient(kind: str) -> None:
    found, truth, weight = pairs()
    weight[:, 0] = 0
    expected = box_loss(found[:, 1:], truth[:, 1:], weight[:, 1:], kind)
    found[:, 0], truth[:, 0] = torch.nan, torch.inf
    found.requires_grad_()
    loss = box_loss(found, truth, weight, kind)
    torch.testing.assert_close(loss, expected)
    gradient = torch.autograd.grad(loss, found)[0]
    assert gradient.isfinite().all()
    assert not gradient[weight == 0].any()
    assert kind == "iou" or gradient[weight > 0].any(-1).all()  # iou is flat where boxes are apart


@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_no_boxes_at_all_is_a_loss_of_0_that_can_be_derived(kind: str) -> None:
    for count in (0, 3):
        found = torch.rand(2, count, 4, requires_grad=True)
        loss = box_loss(found, torch.rand(2, count, 4), torch.zeros(2, count), kind)
        loss.backward()
        assert loss.item() == 0
        assert not found.grad.any()


@pytest.mark.parametrize("kind", [kind for kind in BOX_LOSSES if kind != "l1"])
def test_overlaps_do_not_know_the_unit_of_the_boxes(kind: str) -> None:
    found, truth, weight = pairs()
    torch.testing.assert_close(
        box_loss(32 * found, 32 * truth, weight, kind), box_loss(found, truth, weight, kind)
    )


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou", "l1"])
def test_a_step_along_the_gradient_brings_distant_boxes_closer(kind: str) -> None:
    """Which iou alone does not: it is flat where boxes are apart."""
    found = torch.tensor([[[6.0, 6.0, 8.0, 8.0]]], requires_grad=True)
    truth = torch.tensor([[[0.0, 0.0, 2.0, 2.0]]])
    gradient = torch.autograd.grad(box_loss(found, truth, torch.ones(1, 1), kind), found)[0]
    assert (gradient[0, 0, :2] + gradient[0, 0, 2:] > 0).all()
    flat = torch.autograd.grad(box_loss(found, truth, torch.ones(1, 1), "iou"), found)[0]
    assert not flat.any()


def test_places_may_be_cells_of_a_grid() -> None:
    found, truth, weight = pairs(2, 6)
    grid = box_loss(found.unflatten(1, (2, 3)), truth.unflatten(1, (2, 3)), weight.unflatten(1, (2, 3)))
    torch.testing.assert_close(grid, box_loss(found, truth, weight))


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_each_image_is_divided_by_its_own_count(counts) -> None:
    weight = torch.zeros(len(counts), 4)
    for row, count in zip(weight, counts, strict=True):
        row[:count] = 1
    expected = sum(count > 0 for count in counts) / len(counts)
    assert mean_of_images(torch.ones_like(weight), weight).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "weight", "kind", "message"),
    [
        ((2, 3, 4), (2, 3), "l2", "kind: expected one of l1, iou, giou, diou, ciou, got 'l2'"),
        (
            (2, 2, 4),
            (2, 3),
            "l1",
            r"found, truth, weight: expected .*, got \(2, 2, 4\), \(2, 3, 4\) and \(2, 3\)",
        ),
        ((2, 3, 4), (2, 1), "l1", r"twice and \(batch, boxes\), got \(2, 3, 4\), \(2, 3, 4\) and \(2, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(found, weight, kind, message) -> None:
    with pytest.raises(ValueError, match=message):
        box_loss(torch.ones(found), torch.ones(2, 3, 4), torch.ones(weight), kind)
