"""Focal loss: its definition, its limits, and places that do not count."""

import math

import pytest
import torch
import torch.nn.functional as F

from linsight.losses import focal_loss


def case(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(2, 3, *shape, dtype=torch.float64)
    target = torch.randint(0, 3, (2, *shape))
    return logits, target


@pytest.mark.parametrize("shape", [(), (5,), (4, 7)])
def test_without_focus_it_is_cross_entropy(shape: tuple[int, ...]) -> None:
    logits, target = case(*shape)
    got = focal_loss(logits, target, gamma=0.0)
    torch.testing.assert_close(got, F.cross_entropy(logits, target), rtol=1e-12, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_it_is_its_definition_place_by_place(gamma: float) -> None:
    logits, target = case(3, 2)
    total = 0.0
    for b in range(2):
        for i in range(3):
            for j in range(2):
                row = [math.exp(value) for value in logits[b, :, i, j].tolist()]
                p = row[int(target[b, i, j])] / sum(row)
                total += -0.25 * (1 - p) ** gamma * math.log(p)
    got = focal_loss(logits, target, gamma=gamma, alpha=0.25)
    assert got.item() == pytest.approx(total / 12, rel=1e-12)


def test_ignored_places_touch_neither_value_nor_gradient() -> None:
    logits, target = case(6)
    target[0, 2] = target[1, 5] = 255
    poisoned = logits.clone()
    poisoned[0, :, 2], poisoned[1, :, 5] = float("nan"), float("inf")
    values, gradients = [], []
    for given in (logits, poisoned):
        leaf = given.clone().requires_grad_()
        loss = focal_loss(leaf, target)
        loss.backward()
        values.append(loss.detach())
        gradients.append(leaf.grad)
    assert values[0] == values[1]
    assert torch.equal(*gradients)
    assert (gradients[0][0, :, 2] == 0).all()


def test_no_valid_place_gives_zero_and_zero_gradients() -> None:
    logits = torch.full((2, 3, 4), float("nan"), requires_grad=True)
    loss = focal_loss(logits, torch.full((2, 4), 255))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [0.0, 50.0, 1e4])
def test_it_is_finite_for_huge_logits_right_and_wrong(gamma: float, size: float) -> None:
    logits = torch.tensor([[size, -size], [-size, size]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0, 0]), gamma=gamma)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    logits, target = case(3)
    target[0, 1] = 255
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, target, gamma=1.5), logits.requires_grad_())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": -1.0}, "gamma: expected at least 0, got -1"),
        ({"alpha": 0.0}, "alpha: expected above 0, got 0"),
        ({"target": torch.zeros(2, 5, dtype=torch.int64)}, r"target: expected shape .* got \(2, 5\)"),
        ({"target": torch.full((2, 4), 3)}, "target: expected 0 to 2 or 255, got 3 to 3"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, message: str) -> None:
    given = {"target": torch.zeros(2, 4, dtype=torch.int64)} | change
    with pytest.raises(ValueError, match=message):
        focal_loss(torch.zeros(2, 3, 4), **given)
