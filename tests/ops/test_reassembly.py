"""Reassembly against its definition by unfolding, its gradients, its memory, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from linsight import ops

SHAPES = [(2, 3, 4, 5, 5, 2), (1, 2, 1, 1, 3, 3), (2, 1, 3, 1, 5, 1), (1, 4, 2, 7, 1, 2), (1, 2, 6, 4, 7, 2)]
"""Batch, channels, height, width, window, scale."""


def definition(x: Tensor, weights: Tensor, window: int, scale: int) -> Tensor:
    """Every window's copy of x, times its weights."""
    columns = F.unfold(x, window, padding=window // 2).unflatten(1, (x.shape[1], -1))
    columns = columns.unflatten(3, x.shape[2:])
    columns = columns.repeat_interleave(scale, 3).repeat_interleave(scale, 4)
    return (columns * weights[:, None]).sum(2)


def arguments(batch, channels, height, width, window, scale, dtype=torch.float64):
    x = torch.randn(batch, channels, height, width, dtype=dtype)
    return x, torch.randn(batch, window**2, scale * height, scale * width, dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_weighted_sum_over_windows_with_its_gradients(shape):
    x, weights = (one.requires_grad_() for one in arguments(*shape))
    y, want = ops.reassemble(x, weights), definition(x, weights, *shape[-2:])
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    dy = torch.randn_like(y)
    found, expected = (torch.autograd.grad(one, (x, weights), dy) for one in (y, want))
    for gradient, right in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("asked", ["x", "weights"])
def test_a_gradient_of_one_input_alone(asked):
    x, weights = arguments(1, 2, 3, 4, 3, 2)
    leaf = (x if asked == "x" else weights).requires_grad_()
    expected = torch.autograd.grad(definition(x, weights, 3, 2).sum(), leaf)[0]
    torch.testing.assert_close(torch.autograd.grad(ops.reassemble(x, weights).sum(), leaf)[0], expected)


def test_inputs_may_be_views_of_anything():
    x, weights = arguments(2, 3, 4, 5, 3, 2)
    twisted = [one.transpose(1, 3).contiguous().transpose(1, 3) for one in (x, weights)]
    torch.testing.assert_close(ops.reassemble(*twisted), ops.reassemble(x, weights))


def test_half_precision_is_summed_in_float32():
    """256 + 0.5 twenty-four times over, down a column: in bfloat16 nothing would be added."""
    x = torch.full((1, 1, 25, 1), 0.5)
    x[:, :, 0] = 256
    weights = torch.zeros(1, 625, 25, 1)
    weights[0, 12::25] = 1
    y = ops.reassemble(x.bfloat16(), weights.bfloat16())
    assert y.dtype == torch.bfloat16
    assert y[0, 0, 12, 0].item() == 268


class Largest(TorchDispatchMode):
    """The most numbers that a new tensor holds."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.numbers = max(self.numbers, out.untyped_storage().nbytes() // out.element_size())
        return out


def test_the_copies_of_every_window_are_never_made():
    """Nothing much larger than y and the weights, forward or backward; an unfolding is 25 times x."""
    x, weights = (one.requires_grad_() for one in arguments(1, 64, 16, 16, 5, 2, torch.float32))
    with Largest() as watch:
        ops.reassemble(x, weights).sum().backward()
    margin = 20**2 / 16**2
    assert watch.numbers <= 1.5 * margin * 4 * x.numel()
    assert watch.numbers < 25 * x.numel() / 2


@pytest.mark.parametrize(
    ("x", "weights", "message"),
    [
        ((1, 2, 3), (1, 9, 3, 3), "x: expected 4 axes"),
        ((1, 2, 3, 3), (1, 8, 3, 3), "weights: expected the square of an odd window on axis 1, got 8"),
        ((1, 2, 3, 3), (1, 4, 3, 3), "weights: expected the square of an odd window on axis 1, got 4"),
        ((1, 2, 3, 3), (1, 9, 6, 3), "weights: expected x's batch 1 and an integer multiple"),
        ((1, 2, 3, 3), (1, 9, 7, 7), "weights: expected x's batch 1 and an integer multiple"),
        ((1, 2, 3, 3), (2, 9, 3, 3), "weights: expected x's batch 1 and an integer multiple"),
        ((1, 2, 3, 3), (1, 9, 2, 2), "weights: expected x's batch 1 and an integer multiple"),
    ],
    ids=str,
)
def test_shapes_that_do_not_fit_are_refused(x, weights, message):
    with pytest.raises(ValueError, match=message):
        ops.reassemble(torch.zeros(x), torch.zeros(weights))


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"weights: expected floating point, got torch\.int64"):
        ops.reassemble(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int64))
