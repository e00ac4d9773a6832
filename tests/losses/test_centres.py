"""Targets and loss of maps of centres: cell by cell, by hand, under splits, permutations and crowds."""

import math

import pytest
import torch

from linsight.losses import centre_class_loss, centre_focal_loss, centre_targets
from linsight.ops import box_area

GRID, STRIDE, CLASSES = (7, 9), 4, 3


def objects(batch: int = 3, count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes in an image of 28 x 36 pixels and a bit beyond; about a fifth of the places are empty."""
    corners = torch.rand(batch, count, 2, dtype=torch.float64) * torch.tensor([36.0, 28.0])
    sides = 2 + 20 * torch.rand(batch, count, 2, dtype=torch.float64)
    boxes = torch.cat([corners - sides / 2, corners + sides / 2], -1)
    return boxes, torch.randint(-1, CLASSES, (batch, count)) * 1


def targets(boxes, labels, **options):
    return centre_targets(boxes, labels, classes=CLASSES, grid=GRID, stride=STRIDE, **options)


def bell(box, row: int, column: int) -> float:
    """At one cell, of one box."""
    j = min(max(math.floor((box[0] + box[2]) / 2 / STRIDE), 0), GRID[1] - 1)
    i = min(max(math.floor((box[1] + box[3]) / 2 / STRIDE), 0), GRID[0] - 1)
    wide, high = (0.54 * side / (6 * STRIDE) for side in (box[2] - box[0], box[3] - box[1]))
    return math.exp(-((row - i) ** 2) / (2 * high**2) - (column - j) ** 2 / (2 * wide**2))


def test_every_cell_says_what_the_loop_says() -> None:
    boxes, labels = objects()
    heat, owned, called, weight, ignored = targets(boxes, labels)
    assert heat.shape == (3, CLASSES, *GRID)
    assert not ignored.any()
    for b in range(3):
        there = [i for i in range(5) if labels[b, i] >= 0]
        sums, owners = dict.fromkeys(there, 0.0), {}
        for r in range(GRID[0]):
            for c in range(GRID[1]):
                bells = {i: bell(boxes[b, i].tolist(), r, c) for i in there}
                for k in range(CLASSES):
                    highest = max([bells[i] for i in there if labels[b, i] == k], default=0.0)
                    assert heat[b, k, r, c].item() == pytest.approx(highest, abs=1e-12)
                # The highest bell; of equal ones, which are at centres, the smallest box.
                best = min(there, key=lambda i: (-bells[i], box_area(boxes[b, i]).item()), default=None)
                if best is not None and bells[best] >= 0.1:
                    sums[best] += bells[best]
                    owners[r, c] = best, bells[best]
        for r in range(GRID[0]):
            for c in range(GRID[1]):
                if (r, c) not in owners:
                    assert weight[b, r, c] == 0
                    continue
                best, height = owners[r, c]
                assert owned[b, r, c].tolist() == pytest.approx(boxes[b, best].tolist())
                assert called[b, r, c] == labels[b, best]
                assert weight[b, r, c].item() == pytest.approx(height / sums[best])


def test_a_centre_is_exactly_1_in_its_cell_and_nowhere_else() -> None:
    """Box (9, 4, 17, 14): centre (13, 9), column 3, row 2."""
    heat, owned, _, weight, _ = targets(torch.tensor([[[9.0, 4.0, 17.0, 14.0]]]), torch.tensor([[1]]))
    assert (heat == 1).nonzero().tolist() == [[0, 1, 2, 3]]
    assert heat[0, 1, 2, 4].item() == pytest.approx(math.exp(-0.5 / (0.54 * 8 / 24) ** 2))
    assert owned[0, 2, 3].tolist() == [9, 4, 17, 14]
    assert weight.sum().item() == pytest.approx(1)


def test_weights_of_an_object_sum_to_1_wherever_it_owns_a_cell() -> None:
    boxes, labels = objects(8, 4)
    _, owned, _, weight, _ = targets(boxes, labels)
    for b in range(8):
        for box, label in zip(boxes[b], labels[b], strict=True):
            mine = (owned[b] == box).all(-1) & (weight[b] > 0)
            if label >= 0 and mine.any():
                assert weight[b][mine].sum().item() == pytest.approx(1)


def test_the_order_of_objects_does_not_matter() -> None:
    boxes, labels = objects()
    order = torch.tensor([3, 0, 4, 1, 2])
    for one, other in zip(targets(boxes, labels), targets(boxes[:, order], labels[:, order]), strict=True):
        torch.testing.assert_close(one, other)


def test_of_two_in_one_cell_the_smaller_is_told() -> None:
    large, small = [4.0, 4.0, 28.0, 28.0], [13.0, 13.0, 18.0, 18.0]
    for both in ([large, small], [small, large]):
        found = targets(torch.tensor([both]), torch.tensor([[0, 0]]))
        assert found.boxes[0, 3, 3].tolist() == small
        assert found.heat[0, 0, 3, 3] == 1


def test_empty_places_may_hold_anything() -> None:
    boxes, labels = objects()
    labels[:, 2] = -1
    expected = targets(boxes[:, [0, 1, 3, 4]], labels[:, [0, 1, 3, 4]])
    boxes[:, 2] = torch.nan
    for one, other in zip(targets(boxes, labels), expected, strict=True):
        torch.testing.assert_close(one, other)
    none = targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64))
    assert not any(part.any() for part in none)


def test_centres_beyond_the_grid_are_moved_to_its_border() -> None:
    boxes = torch.tensor([[[-20.0, -20.0, -10.0, -10.0], [90.0, 90.0, 99.0, 99.0]]])
    heat = targets(boxes, torch.tensor([[0, 2]])).heat
    assert (heat == 1).nonzero().tolist() == [[0, 0, 0, 0], [0, 2, 6, 8]]


def test_crowds_are_not_to_be_found_and_their_cells_are_ignored() -> None:
    """Crowd (8, 4, 16, 12): cells of middles 10 and 14, that is columns 2 and 3, and rows 1 and 2."""
    boxes = torch.tensor([[[8.0, 4.0, 16.0, 12.0], [20.0, 16.0, 32.0, 24.0]]])
    labels, crowd = torch.tensor([[1, 2]]), torch.tensor([[True, False]])
    found = targets(boxes, labels, crowd=crowd)
    assert found.ignored.nonzero().tolist() == [[0, 1, 2], [0, 1, 3], [0, 2, 2], [0, 2, 3]]
    alone = targets(boxes[:, 1:], labels[:, 1:])
    torch.testing.assert_close(found.heat, alone.heat)
    torch.testing.assert_close(found.weight, alone.weight)
    assert not targets(boxes, torch.tensor([[-1, 2]]), crowd=crowd).ignored.any()


def focal(logits, heat, alpha=2.0, beta=4.0) -> float:
    """The definition, number by number."""
    images = []
    for x, y in zip(logits.flatten(1).tolist(), heat.flatten(1).tolist(), strict=True):
        total, centres = 0.0, 0
        for logit, target in zip(x, y, strict=True):
            p = 1 / (1 + math.exp(-logit))
            if target == 1:
                centres += 1
                total -= (1 - p) ** alpha * math.log(p)
            else:
                total -= (1 - target) ** beta * p**alpha * math.log(1 - p)
        images.append(total / max(1, centres))
    return sum(images) / len(images)


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 4.0), (0.0, 0.0), (1.5, 2.0)])
def test_the_loss_is_its_definition(alpha: float, beta: float) -> None:
    heat = targets(*objects()).heat
    logits = 3 * torch.randn_like(heat)
    found = centre_focal_loss(logits, heat, alpha=alpha, beta=beta)
    assert found.item() == pytest.approx(focal(logits, heat, alpha, beta), rel=1e-12)


def test_without_leniency_it_is_the_cross_entropy() -> None:
    """alpha = beta = 0 and a heat of 0 and 1."""
    heat = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64).view(1, 1, 2, 2)
    logits = torch.randn(1, 1, 2, 2, dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, heat, reduction="sum")
    torch.testing.assert_close(centre_focal_loss(logits, heat, alpha=0, beta=0), expected)


def test_gradients_are_those_of_the_definition_and_finite_at_any_logit() -> None:
    heat = targets(*objects(2, 3)).heat
    logits = torch.randn_like(heat).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: centre_focal_loss(x, heat), (logits,))
    for far in (-1e4, -100.0, 0.0, 100.0, 1e4):
        x = torch.full(heat.shape, far, requires_grad=True)
        loss = centre_focal_loss(x, heat.float())
        loss.backward()
        assert loss.isfinite()
        assert x.grad.isfinite().all()


def test_the_mean_over_equal_parts_of_a_batch_is_that_of_the_batch() -> None:
    """Images with 5, 0 and few centres: divided by the batch's own count, parts would disagree."""
    boxes, labels = objects(6)
    labels[0] = torch.tensor([0, 1, 2, 0, 1])
    labels[1] = -1
    heat = targets(boxes, labels).heat
    logits = torch.randn_like(heat)
    parts = [centre_focal_loss(logits[i : i + 2], heat[i : i + 2]) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), centre_focal_loss(logits, heat))


def test_ignored_cells_count_as_centres_alone_and_may_hold_anything_else() -> None:
    heat = targets(*objects(2)).heat
    logits = torch.randn_like(heat)
    ignored = torch.rand(2, *GRID) < 0.5
    off = ignored[:, None] & (heat != 1)
    expected = centre_focal_loss(torch.where(off, -1e9, logits), heat)  # p = 0: no loss where no centre is
    logits = torch.where(off, torch.nan, logits).requires_grad_()
    loss = centre_focal_loss(logits, heat, ignored)
    torch.testing.assert_close(loss, expected)
    gradient = torch.autograd.grad(loss, logits)[0]
    assert gradient.isfinite().all()
    assert not gradient[off].any()
    assert gradient[(heat == 1)].all()


def test_the_loss_of_classes_is_the_cross_entropy_at_the_owned_cells() -> None:
    _, _, called, weight, _ = targets(*objects())
    logits = torch.randn(3, CLASSES, *GRID, dtype=torch.float64)
    images = []
    for b in range(3):
        total = 0.0
        for r, c in weight[b].nonzero().tolist():
            x = logits[b, :, r, c]
            total += weight[b, r, c].item() * (x.exp().sum().log() - x[called[b, r, c]]).item()
        images.append(total / max(1.0, weight[b].sum().item()))
    found = centre_class_loss(logits, called, weight)
    assert found.item() == pytest.approx(sum(images) / 3, rel=1e-12)
    # Whether something is there is not its business.
    torch.testing.assert_close(centre_class_loss(logits + torch.randn(3, 1, *GRID), called, weight), found)
    parts = [centre_class_loss(logits[b : b + 1], called[b : b + 1], weight[b : b + 1]) for b in range(3)]
    torch.testing.assert_close(torch.stack(parts).mean(), found)


def test_cells_without_weight_may_hold_anything_and_get_no_gradient() -> None:
    _, _, called, weight, _ = targets(*objects())
    logits = torch.randn(3, CLASSES, *GRID, dtype=torch.float64)
    off = weight == 0
    expected = centre_class_loss(logits, called, weight)
    logits = torch.where(off[:, None], torch.nan, logits).requires_grad_()
    loss = centre_class_loss(logits, torch.where(off, 99, called), weight)
    torch.testing.assert_close(loss, expected)
    gradient = torch.autograd.grad(loss, logits)[0]
    assert gradient.isfinite().all()
    assert torch.equal(gradient.any(1), ~off)
    none = torch.zeros(2, CLASSES, 2, 2, requires_grad=True)
    nothing = centre_class_loss(none, torch.zeros(2, 2, 2, dtype=torch.int64), torch.zeros(2, 2, 2))
    nothing.backward()
    assert nothing.item() == 0
    assert not none.grad.any()


def test_half_precision_is_computed_in_float32() -> None:
    heat = targets(*objects()).heat.float()
    logits = torch.randn_like(heat).bfloat16()
    found = centre_focal_loss(logits, heat)
    assert found.dtype == torch.float32
    assert torch.equal(found, centre_focal_loss(logits.float(), heat))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "classes: expected at least 1, got 0"),
        ({"grid": (0, 3)}, "grid: expected at least 1, got 0"),
        ({"stride": 0}, "stride: expected at least 1, got 0"),
        ({"classes": 2}, "labels: expected classes below 2, got 2"),
    ],
)
def test_targets_that_cannot_be_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        centre_targets(
            torch.zeros(1, 1, 4), torch.tensor([[2]]), **{"classes": 3, "grid": (2, 2), "stride": 4} | options
        )


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_exponents_below_0_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected at least 0, got -1"):
        centre_focal_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), **{name: -1.0})


def test_maps_of_other_shapes_are_refused() -> None:
    logits = torch.zeros(1, 2, 2, 3)
    with pytest.raises(ValueError, match=r"heat: expected logits' shape \(1, 2, 2, 3\), got \(1, 2, 2, 2\)"):
        centre_focal_loss(logits, torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match=r"labels: expected shape \(1, 2, 3\), got \(1, 3, 2\)"):
        centre_class_loss(logits, torch.zeros(1, 3, 2, dtype=torch.int64), torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match=r"weight: expected shape \(1, 2, 3\), got \(1, 3, 2\)"):
        centre_class_loss(logits, torch.zeros(1, 2, 3, dtype=torch.int64), torch.zeros(1, 3, 2))
    with pytest.raises(ValueError, match=r"ignored: expected shape \(1, 2, 3\), got \(1, 3, 2\)"):
        centre_focal_loss(logits, logits, torch.zeros(1, 3, 2, dtype=torch.bool))
