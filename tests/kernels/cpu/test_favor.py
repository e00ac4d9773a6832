"""The compiled FAVOR+ beside the laws of every kernel: shapes, absent tokens, the running peak."""

from functools import partial

import pytest
import torch
from favor_cases import HEADS, defined, drawn, found
from linear_cases import relative_error

from linsight import kernels, ops
from linsight.kernels.cpu import favor as kernel

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")
every_level = pytest.mark.parametrize("level", LEVELS)
SHAPES = (
    *((1, 1, 1), (2, 15, 16), (63, 16, 68), (64, 17, 1)),
    *((65, 266, 16), (129, 266, 68), (129, 15, 1), (65, 17, 68)),
)
"""Length, features and values: around 32 tokens and 16 lanes, and apart from them."""


@every_level
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_outputs_state_peak_and_all_gradients_are_those_of_float64(level: str, sizes) -> None:
    given = drawn(*sizes, dtype=torch.float32)
    leaves = {name: x.double().requires_grad_() for name, x in given.items()}
    want = defined(leaves)
    cotangents = [torch.randn_like(x) for x in want]
    gradients = torch.autograd.grad(want, list(leaves.values()), cotangents)
    single = {name: x.requires_grad_() for name, x in given.items()}
    with kernels.cpu.at_level(level):
        got = found(single, "compiled")
        others = torch.autograd.grad(got, list(single.values()), [x.float() for x in cotangents])
    assert max(errors := [relative_error(x, y) for x, y in zip(got, want, strict=True)]) < 1e-6, errors
    # Those of logarithms are differences: what is common to features cancels.
    errors = [relative_error(x, y, 0.1) for x, y in zip(others, gradients, strict=True)]
    assert max(errors) < 2e-6, errors


@every_level
def test_growing_keys_change_no_bit_of_the_past(level: str) -> None:
    """The peak rises at every token, at one in the middle of a chunk, or never, after the same past."""
    given = drawn(80, 20, 20, dtype=torch.float32)
    with kernels.cpu.at_level(level):
        want, *_ = found(given, "compiled")
        for start in (1, 32, 45):
            rising = torch.arange(0.0, 80 - start)[:, None].expand(2, 80 - start, HEADS)
            for after in (10 * rising, torch.full_like(rising, 50.0), -50 - rising):
                weights = torch.cat([given["log_weights"][:, :start], after], 1)
                got, *_ = found({**given, "log_weights": weights}, "compiled")
                assert torch.equal(got[:, :start], want[:, :start])


@every_level
def test_keys_that_are_not_there_leave_zeros_and_finite_gradients(level: str) -> None:
    """From nothing seen: o is 0 up to the first key, the state what it was, and gradients are numbers."""
    given = drawn(40, 18, 5, dtype=torch.float32)
    inputs = [given[name] for name in ("q", "k", "v", "log_weights")]
    inputs[3][0, :36], inputs[3][1] = -torch.inf, -torch.inf
    leaves = [x.requires_grad_() for x in inputs]
    with kernels.cpu.at_level(level):
        o, (memory, peak) = ops.favor_attention(*leaves, form="compiled")
        gradients = torch.autograd.grad(o.sum() + memory.sum() + peak.sum(), leaves)
    assert not o[0, :36].any()
    assert o[0, 36:].all()
    assert not o[1].any()
    assert not memory[1].any()
    assert (peak[1] < -1e29).all()
    assert all(x.isfinite().all() for x in gradients)
    assert not any(x[0, :36].any() or x[1].any() for x in gradients)


@every_level
def test_a_query_that_meets_no_key_reads_zero_without_a_gradient(level: str) -> None:
    """Parts of e^-80 are none; of e^-30 both, o is still the mean of the values."""
    apart = torch.tensor([[0.0, -80.0], [0.0, -30.0]])[None, :, None].repeat(2, 1, 1, 1)
    leaves = [x.clone().requires_grad_() for x in (apart, apart.flip(-1), torch.full((2, 2, 1, 3), 4.0))]
    with kernels.cpu.at_level(level):
        o, _ = ops.favor_attention(*leaves, torch.zeros(2, 2, 1), form="compiled")
        gradients = torch.autograd.grad(o.sum(), leaves)
    assert not o[:, 0].any()
    torch.testing.assert_close(o[:, 1], torch.full((2, 1, 3), 4.0))
    assert not gradients[0][:, 0].any()
    assert all(x.isfinite().all() for x in gradients)


@every_level
def test_sums_whose_terms_are_no_normal_numbers_are_none(level: str) -> None:
    """Beside keys of e^30 that are forgotten: of parts of e^-50 both, o is 0; of e^-30, the mean still."""
    apart = torch.tensor([[0.0, -50.0], [0.0, -30.0]])[:, None, None]
    leaves = [x.clone().requires_grad_() for x in (apart, apart.flip(-1), torch.full((2, 1, 1, 3), 4.0))]
    q, k, v = leaves
    nothing = torch.zeros(2, 1, 2, 4), torch.full((2, 1), 30.0)
    read = partial(ops.favor_attention, q, k, v, torch.zeros(2, 1, 1), initial_state=nothing)
    with kernels.cpu.at_level(level):
        o, _ = read(form="compiled")
        gradients = torch.autograd.grad(o.sum(), leaves)
    assert not o[0].any()
    torch.testing.assert_close(o[1], torch.full((1, 1, 3), 4.0))
    assert not any(x[0].any() for x in gradients)
    torch.testing.assert_close(o, read(form="recurrent")[0])


def test_large_logarithms_keep_the_accuracy_that_they_are_given_with() -> None:
    """What is common to a key's features is 256 and more, and cancels but for a rounding error of 256 eps."""
    given = drawn(70, 40, 20, dtype=torch.float32)
    common = 256 * torch.randn(2, 70, HEADS)
    given["q"], given["k"] = given["q"] + common[..., None], given["k"] + common[..., None]
    given["log_weights"] = given["log_weights"] - common
    want = defined({name: x.double() for name, x in given.items()})
    for got, expected in zip(found(given, "compiled"), want, strict=True):
        assert relative_error(got, expected) < 1e-4


def test_torch_takes_it_for_an_operator_of_its_own() -> None:
    """opcheck: its schema, fake tensors, autograd registration, tracing, forward and backward."""
    given = drawn(5, 6, 3, dtype=torch.float32)
    leaves = [x.clone().requires_grad_() for x in given.values()]
    torch.library.opcheck(kernel._forward, tuple(leaves))
    o, memory, peak, *kept = (x.detach() for x in kernel._forward(*leaves))
    gradients = [torch.randn_like(x) for x in (o, memory, peak)]
    torch.library.opcheck(kernel._backward, (*gradients, o, *kept, *given.values()))
    torch.library.opcheck(kernel._backward, (gradients[0], None, None, o, *kept, *given.values()))
