"""Dtypes: float32 sums under everything, stated budgets for bfloat16, autocast disregarded."""

import pytest
import torch
from linear_cases import DECAYS, FORMS, READS, case, relative_error, results

from linsight import ops

OUTPUT_BUDGET, GRADIENT_BUDGET = 5e-3, 1e-2


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_bfloat16_stays_within_its_budget(decay, read, normalise):
    """Against the float64 definition on the same rounded inputs; the state is as good as float32's."""
    options = {"normalise": normalise, "features": 32, "values": 32, "seed": 5}
    call = case(98, decay, read, dtype=torch.bfloat16, **options)
    expected = results(call.to(torch.float64))
    for form, chunk_size in (("naive", None), *FORMS):
        found = results(call, form, chunk_size)
        assert found["o"].dtype is torch.bfloat16
        assert found["final state"].dtype is torch.float32
        assert relative_error(found["o"], expected["o"]) < OUTPUT_BUDGET
        assert relative_error(found["final state"], expected["final state"]) < 1e-6
        for name, gradient in found.items():
            if name.startswith("grad of"):
                assert gradient.dtype is torch.bfloat16
                assert relative_error(gradient, expected[name]) < GRADIENT_BUDGET, name


def test_the_normalised_gradient_of_q_is_not_drowned_by_the_rounding_of_the_denominator():
    """With values and cotangents of one sign it is a small difference; errors common to a row add up.

    Rounding the denominator, or its gradient, to bfloat16 gives 0.19; torch's softmax has 0.036 here.
    """
    q, k, v, do = torch.rand(4, 8, 98, 4, 32).bfloat16().unbind(0)

    def gradient(form, chunk_size, *x):
        leaf = x[0].detach().requires_grad_()
        o, _ = ops.linear_attention(leaf, *x[1:], normalise=True, form=form, chunk_size=chunk_size)
        return torch.autograd.grad(o, leaf, do.to(o.dtype))[0]

    expected = gradient("parallel", None, q.double(), k.double(), v.double())
    for form, chunk_size in (("parallel", None), ("chunk", 32)):
        assert relative_error(gradient(form, chunk_size, q, k, v), expected) < 0.05


@pytest.mark.parametrize("form", ["naive", "parallel", "chunk"])
def test_a_bfloat16_sum_of_ones_does_not_stop_at_256(form):
    ones = torch.ones(1, 700, 1, 1, dtype=torch.bfloat16)
    _, state = ops.linear_attention(ones, ones, ones, form=form, normalise=True)
    assert (state == 700).all()


@pytest.mark.parametrize("form", ["naive", "recurrent", "parallel", "chunk"])
def test_float16_is_summed_in_float32(form):
    """An unnormalised sum of similarities passes float16's largest number here; their quotient does not."""
    q = torch.full((1, 600, 1, 4), 12.0, dtype=torch.float16)
    v = torch.rand(1, 600, 1, 2).half()
    o, state = ops.linear_attention(q, q, v, form=form, normalise=True)
    assert o.dtype is torch.float16
    assert relative_error(o, v.double().cumsum(1) / torch.arange(1, 601).view(1, -1, 1, 1)) < 1e-3
    assert state.dtype is torch.float32


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("decay", DECAYS)
def test_autocast_changes_nothing(decay, form, chunk_size):
    """A forward under autocast, and its backward, are bit for bit those without it."""
    for normalise in (False, True):
        call = case(20, decay, dtype=torch.float32, normalise=normalise)
        expected = results(call, form, chunk_size)
        found = results(call, form, chunk_size, context=torch.autocast("cpu", dtype=torch.bfloat16))
        for name, x in expected.items():
            assert torch.equal(found[name], x), name


@pytest.mark.parametrize("form", ["parallel", "chunk"])
def test_the_backward_written_out_disregards_autocast_too(form):
    for normalise in (False, True):
        call = case(20, dtype=torch.float32, normalise=normalise)
        expected = results(call, form)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = results(call, form)
        for name, x in expected.items():
            assert torch.equal(found[name], x), name


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
def test_mixed_dtypes_take_the_widest_and_return_that_of_v(form, chunk_size):
    q, k = torch.rand(2, 1, 9, 2, 4).unbind(0)
    v = torch.rand(1, 9, 2, 3, dtype=torch.bfloat16)
    o, state = ops.linear_attention(q, k, v, form=form, chunk_size=chunk_size)
    assert o.dtype is torch.bfloat16
    assert state.dtype is torch.float32
    o, state = ops.linear_attention(q.double(), k, v, form=form, chunk_size=chunk_size)
    assert o.dtype is torch.bfloat16
    assert state.dtype is torch.float64


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
def test_a_state_of_another_dtype_is_widened(form, chunk_size):
    call = case(9, dtype=torch.float32)
    rounded = call.map(lambda name, x: x.bfloat16() if name == "initial_state" else x)
    again = rounded.map(lambda name, x: x.float())
    assert all(
        torch.equal(a, b) for a, b in zip(rounded(form, chunk_size), again(form, chunk_size), strict=True)
    )
