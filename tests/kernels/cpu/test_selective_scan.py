"""The compiled selective scan beside the laws of every kernel: its exponential, and what it keeps."""

import ctypes

import pytest
import torch
from kernel_calls import scan

from linsight import kernels
from linsight.kernels.cpu import scan as kernel

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")


@pytest.mark.parametrize("level", LEVELS)
def test_a_decay_is_that_of_a_rounded_exponent_and_exact_at_its_ends(level: str) -> None:
    """One state of 1 that is not written to: the final state is the decay itself, e^x, within two units and
    what x changes it by when it is rounded twice, by one unit of its own, as a product delta A is once."""
    x = -torch.cat([torch.logspace(-30, 1.83, 40_000, base=10.0), torch.linspace(0, 69, 40_000)])
    ends = torch.tensor([0.0, -0.0, -88.0, -1e4, -3e38, -torch.inf, torch.nan, 200.0])
    exponents = torch.cat([x, ends])
    count = len(exponents)
    zeros = torch.zeros(1, 1, 1)
    with kernels.cpu.at_level(level):
        _, state = kernels.cpu.selective_scan(
            torch.zeros(1, 1, count),
            torch.ones(1, 1, count),
            exponents[:, None],
            zeros,
            zeros,
            None,
            torch.ones(1, count, 1),
        )
    found = state.flatten()
    exact = x.double().exp()
    wrong = (found[: len(x)].double() - exact).abs() / exact
    assert (wrong <= 2.0**-23 * (2 + x.double().abs())).all()
    assert found[len(x) :].nan_to_num(7.0).tolist() == [1, 1, 0, 0, 0, 0, 7, torch.finfo(torch.float32).max]


def test_torch_takes_it_for_an_operator_of_its_own() -> None:
    """opcheck: its schema, fake tensors, autograd registration, and tracing with dynamic shapes."""
    leaves = [x.requires_grad_() for x in scan(2, 33, 18, 3).given.values()]
    torch.library.opcheck(kernel._forward, (*leaves, True))
    kept = kernel._forward(*leaves, True)[2].detach()
    tensors = [x.detach() for x in leaves[:6]]
    y, final = torch.randn(2, 33, 18), torch.randn(2, 18, 3)
    torch.library.opcheck(kernel._backward, (y, final, *tensors, kept))


def test_states_are_kept_only_where_a_gradient_is_asked_for() -> None:
    given = scan(1, 100, 16, 2).given.values()
    assert kernel._forward(*given, False)[2].numel() == 0
    assert kernel._forward(*given, True)[2].shape == (1, 1, 4, 2, 16)


def test_denormal_numbers_are_zero_inside_and_remain_outside() -> None:
    """A state that fades through the denormal range ends as 0, and the processor's mode is put back."""
    one = torch.ones(1, 300, 16)
    zeros = torch.zeros(1, 300, 1)
    rates = torch.full((16, 1), -0.5)
    _, state = kernels.cpu.selective_scan(one, one, rates, zeros, zeros, None, torch.ones(1, 16, 1))
    assert (state == 0).all()
    tiny = torch.tensor([1e-40])
    assert (tiny * 0.5).item() > 0


def test_the_structure_has_the_size_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    assert ctypes.sizeof(kernel._Scan) == 8 * len(kernel._Scan._fields_)
