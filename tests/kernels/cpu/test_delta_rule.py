"""The compiled delta rules beside the laws of every kernel: strong decays, resets, what they keep."""

import ctypes

import pytest
import torch
from kernel_calls import delta, results, wrong

from linsight import kernels, ops
from linsight.kernels.cpu import delta as kernel

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")
RULES = ("delta", "dplr")


@pytest.mark.parametrize("decay", ["token", "feature"])
@pytest.mark.parametrize("rule", RULES)
def test_strong_decays_leave_accurate_gradients_of_their_own(rule: str, decay: str) -> None:
    """Of e^-12 a token: a difference of sums over later tokens would hold nothing but their rounding."""
    call = delta(rule, decay, 2, 35, 5, 4)
    call.given["log_decay"].sub_(12)
    found, expected = results(call, "compiled"), results(call.to(torch.float64))
    of_decay = expected["grad of log_decay"]
    assert (found["grad of log_decay"] - of_decay).norm() < 2e-6 * of_decay.norm()


@pytest.mark.parametrize("decay", ["token", "feature"])
@pytest.mark.parametrize("rule", RULES)
def test_a_reset_leaves_finite_gradients_and_none_of_its_own(rule: str, decay: str) -> None:
    call = delta(rule, decay, 2, 50, 5, 4)
    call.given["log_decay"][:, 33] = -torch.inf
    found, expected = results(call, "compiled"), results(call.to(torch.float64))
    assert max(wrong(call, found, expected).values()) < 1e-6
    assert (found["grad of log_decay"][:, 33] == 0).all()


@pytest.mark.parametrize("level", LEVELS)
def test_denormal_numbers_are_zero_inside_and_remain_outside(level: str) -> None:
    """A state that fades through the denormal range ends as 0, and the processor's mode is put back."""
    zeros, decay, ones = torch.zeros(1, 300, 1, 16), torch.full((1, 300, 1), -0.5), torch.ones(1, 1, 16, 16)
    with kernels.cpu.at_level(level):
        _, state = ops.delta_rule(
            zeros, zeros, zeros, decay.abs(), decay, initial_state=ones, form="compiled"
        )
    assert (state == 0).all()
    assert (torch.tensor([1e-40]) * 0.5).item() > 0


@pytest.mark.parametrize(("rule", "decay"), [("delta", "token"), ("dplr", "feature"), ("dplr", "none")])
def test_torch_takes_it_for_an_operator_of_its_own(rule: str, decay: str) -> None:
    """opcheck: its schema, fake tensors, autograd registration, tracing; with all inputs, and the fewest."""
    call = delta(rule, decay, 2, 33, 5, 4)
    if decay == "none":
        call.given.pop("initial_state")
    names = ("q", "k", "v", "a", "b", "beta", "log_decay", "initial_state")
    tensors = [call.given.get(name) for name in names]
    leaves = [None if x is None else x.clone().requires_grad_() for x in tensors]
    torch.library.opcheck(kernel._forward, (*leaves, 0.5, True))
    o, final, corrections, checkpoints = (x.detach() for x in kernel._forward(*leaves, 0.5, True))
    given = (torch.randn_like(o), torch.randn_like(final), corrections, checkpoints, *tensors[:7], 0.5)
    for asked in {False, decay != "none"}:
        torch.library.opcheck(kernel._backward, (*given, asked, asked))


def test_states_are_kept_only_where_a_gradient_is_asked_for() -> None:
    given = delta("delta", "token", 1, 100, 20, 3).given
    names = ("q", "k", "v", "a", "b", "beta", "log_decay", "initial_state")
    tensors = [given.get(name) for name in names]
    assert [x.numel() for x in kernel._forward(*tensors, 1.0, False)[2:]] == [0, 0]
    _, _, corrections, checkpoints = kernel._forward(*tensors, 1.0, True)
    assert (corrections.shape, checkpoints.shape) == ((1, 100, 2, 3), (1, 2, 4, 32, 16))


def test_the_structure_has_the_size_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    assert ctypes.sizeof(kernel._Delta) == ctypes.sizeof(kernel.Attention) + 8 * (1 + 3 * 5 + 5)
