"""The compiled short convolution beside the laws of every kernel: torch takes it for its own."""

import ctypes

import pytest
import torch
from kernel_calls import convolution

from linsight import kernels, ops
from linsight.kernels.cpu import convolution as kernel

pytestmark = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")


@pytest.mark.parametrize("whole", [True, False])
def test_torch_takes_it_for_an_operator_of_its_own(whole: bool) -> None:
    """opcheck: its schema, fake tensors, autograd registration, tracing; with all inputs, and the fewest."""
    x, weight, *rest = (y.requires_grad_() for y in convolution(2, 70, 18, 3).given.values())
    torch.library.opcheck(kernel._forward, (x, weight, *(rest if whole else (None, None))))
    state = rest[1].detach() if whole else None
    tensors = (torch.randn(2, 70, 18), x.detach(), weight.detach(), state)
    for of_state in {False, whole}:
        torch.library.opcheck(kernel._backward, (*tensors, of_state))


def test_auto_takes_it_from_two_tokens_on_and_eager_elsewhere(monkeypatch) -> None:
    lengths = []

    def compiled(x, *rest):
        lengths.append(x.shape[1])
        return x

    monkeypatch.setattr(kernels.cpu, "short_convolution", compiled)
    for length in (0, 1, 2, 70):
        ops.short_convolution(torch.randn(1, length, 3), torch.randn(3, 4))
    ops.short_convolution(torch.randn(1, 9, 3).double(), torch.randn(3, 4))
    with kernels.cpu.at_level("off"):
        ops.short_convolution(torch.randn(1, 9, 3), torch.randn(3, 4))
    assert lengths == [2, 70]


def test_the_structure_has_the_size_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    assert ctypes.sizeof(kernel._Convolution) == 8 * len(kernel._Convolution._fields_) == 8 * 19
