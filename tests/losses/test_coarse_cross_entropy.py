"""Cross entropy of a coarse grid: that of its logits, repeated for all pixels that each stands for."""

import pytest
import torch

from linsight.losses import coarse_cross_entropy, mask_loss


def repeated(logits, stride, height, width):
    grown = logits.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    return grown[:, :, :height, :width]


def scene(stride, height, width, classes=4, batch=3):
    generator = torch.Generator().manual_seed(stride)
    size = (batch, classes, -(-height // stride), -(-width // stride))
    logits = torch.randn(size, generator=generator, dtype=torch.float64)
    target = torch.randint(classes, (batch, height, width), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    return logits, target


@pytest.mark.parametrize("weights", [None, torch.tensor([0.2, 1.0, 0.0, 3.0])])
@pytest.mark.parametrize(("stride", "height", "width"), [(1, 3, 5), (2, 4, 6), (4, 9, 7), (8, 1, 17)])
def test_it_is_the_cross_entropy_of_repeated_logits(stride, height, width, weights):
    """In value and gradient, cells at the edge with fewer pixels included."""
    logits, target = scene(stride, height, width)
    first, second = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = coarse_cross_entropy(first, target, stride=stride, class_weights=weights)
    expected = mask_loss("ce", repeated(second, stride, height, width), target, class_weights=weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    (ours,), (theirs,) = torch.autograd.grad(found, first), torch.autograd.grad(expected, second)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_ignored_pixels_and_images_have_no_gradient():
    logits, target = scene(4, 8, 8)
    target[0] = 255
    target[1, :4, :4] = 255
    logits.requires_grad_()
    coarse_cross_entropy(logits, target, stride=4).backward()
    assert (logits.grad[0] == 0).all()
    assert (logits.grad[1, :, 0, 0] == 0).all()
    assert (logits.grad[2] != 0).all()


def test_half_precision_is_summed_in_float32():
    logits, target = scene(2, 8, 8)
    half = logits.bfloat16()
    found = coarse_cross_entropy(half, target, stride=2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, coarse_cross_entropy(half.float(), target, stride=2))


def test_a_grid_of_another_size_is_refused():
    logits, target = scene(4, 9, 9)
    with pytest.raises(ValueError, match=r"logits: expected 5 x 5 cells of stride 2 .* got 3 x 3"):
        coarse_cross_entropy(logits, target, stride=2)
