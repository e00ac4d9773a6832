"""The compiled diagonal kernels beside the laws of all kernels: row lengths, long and short memories."""

import ctypes
from collections.abc import Callable
from functools import partial

import pytest
import torch
from kernel_calls import Call, recurrence, results, space, wrong

from linsight import kernels, ops
from linsight.kernels.cpu import diagonal as kernel
from linsight.kernels.cpu import recurrence as recurrence_kernel

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")


def of_lengths(call: Call, lengths: torch.Tensor) -> Call:
    """The call with padded rows."""
    return Call(call.op, call.given, partial(call.computed, lengths=lengths))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("make", [space, recurrence])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_padded_rows_are_as_alone(level: str, make: Callable[..., Call], dtype: torch.dtype) -> None:
    """Of no tokens, of some, of whole chunks, of all: outputs, states and gradients are those of float64."""
    call = of_lengths(make(5, 70, 18, 5), torch.tensor([0, 1, 37, 64, 70], dtype=dtype))
    expected = results(call.to(torch.float64))
    call.given["x"][1, 1:] = torch.nan  # padding is not read
    with kernels.cpu.at_level(level):
        found = results(call, "compiled")
    assert max(wrong(call, found, expected).values()) < 1e-6
    assert (found["output"][2, 37:] == 0).all()
    assert (found["grad of x"][2, 37:] == 0).all()


@pytest.mark.parametrize("level", LEVELS)
def test_a_long_memory_keeps_its_angle(level: str) -> None:
    """2,000 tokens of decays near 1: roundings of a decay, alike at every token, would add up to 5e-5."""
    rates = torch.complex(-torch.logspace(-5, -2, 40), torch.linspace(0.01, 3, 40)).expand(2, -1)
    read, x = torch.ones_like(rates), torch.randn(1, 2000, 2)
    exact, last = ops.diagonal_space(x.double(), rates, read, form="parallel")
    with kernels.cpu.at_level(level):
        y, state = ops.diagonal_space(x, rates, read, form="compiled")
        taken = (x[..., :1] + 0j).expand(-1, -1, 40)
        _, other = ops.diagonal_recurrence(taken, rates[0], form="compiled")
    assert (y - exact).norm() < 2e-6 * exact.norm()
    assert (state - last).norm() < 3e-6 * last.norm()
    assert (other - last[:, 0]).norm() < 3e-6 * last.norm()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("make", [space, recurrence])
def test_a_state_that_forgets_at_once_has_finite_gradients(level: str, make: Callable[..., Call]) -> None:
    call = make(1, 40, 5, 4)
    call.given["rates"].real[..., 1] = -torch.inf
    call.given["rates"].real[..., 2] = -80
    expected = results(call.to(torch.float64))
    with kernels.cpu.at_level(level):
        found = results(call, "compiled")
    assert max(wrong(call, found, expected).values()) < 1e-6
    assert (found["grad of rates"][..., 1, :] == 0).all()


@pytest.mark.parametrize("whole", [True, False])
def test_torch_takes_it_for_an_operator_of_its_own(whole: bool) -> None:
    """opcheck: its schema, fake tensors, autograd registration, tracing; with row lengths and without."""
    leaves = [x.requires_grad_() for x in space(2, 35, 18, 3).given.values()]
    lengths = torch.tensor([3, 35]) if whole else None
    torch.library.opcheck(kernel._forward, (*leaves, lengths, True))
    y, final, kept = (x.detach() for x in kernel._forward(*leaves, lengths, True))
    tensors = [x.detach() for x in leaves[:3]]
    gradients = torch.randn_like(y), torch.randn_like(final)
    torch.library.opcheck(kernel._backward, (*gradients, *tensors, lengths, kept))


@pytest.mark.parametrize("whole", [True, False])
def test_torch_takes_the_recurrence_for_one_too(whole: bool) -> None:
    leaves = [x.requires_grad_() for x in recurrence(2, 35, 18, 3).given.values()]
    lengths = torch.tensor([3, 35]) if whole else None
    torch.library.opcheck(recurrence_kernel._forward, (*leaves, lengths))
    h, final = (x.detach() for x in recurrence_kernel._forward(*leaves, lengths))
    tensors = [x.detach() for x in leaves]
    gradients = torch.randn_like(h), torch.randn_like(final) if whole else None
    torch.library.opcheck(recurrence_kernel._backward, (*gradients, h, *tensors, lengths))


def test_states_are_kept_only_where_a_gradient_is_asked_for() -> None:
    given = space(1, 100, 16, 2).given.values()
    assert kernel._forward(*given, None, False)[2].numel() == 0
    assert kernel._forward(*given, None, True)[2].shape == (1, 1, 4, 2, 32)


def test_the_structure_has_the_size_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    assert ctypes.sizeof(kernel._Diagonal) == 8 * len(kernel._Diagonal._fields_) == 8 * 21
    theirs = recurrence_kernel._Recurrence
    assert ctypes.sizeof(theirs) == 8 * len(theirs._fields_) == 8 * 18
