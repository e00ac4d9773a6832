"""Linear attention over the whole row is the quadratic definition, whatever the order of the tokens."""

import pytest
import torch

from linsight import ops


def tokens(length=11, dtype=torch.float64):
    q, k = torch.rand(2, 2, length, 3, 5, dtype=torch.float64).unbind(0)
    return q.to(dtype), k.to(dtype), torch.randn(2, length, 3, 4, dtype=torch.float64).to(dtype)


def definition(q, k, v, scale, normalise):
    similarities = torch.einsum("bthk,bshk->bhts", q, k) * scale
    if normalise:
        similarities = similarities / similarities.sum(-1, keepdim=True)
    return torch.einsum("bhts,bshv->bthv", similarities, v)


@pytest.mark.parametrize("normalise", [False, True])
def test_it_is_the_quadratic_form(normalise):
    q, k, v = tokens()
    o = ops.global_linear_attention(q, k, v, scale=0.3, normalise=normalise)
    torch.testing.assert_close(o, definition(q, k, v, 0.3, normalise))


@pytest.mark.parametrize("normalise", [False, True])
def test_gradcheck(normalise):
    inputs = [x.requires_grad_() for x in tokens(4)]
    function = lambda *x: ops.global_linear_attention(*x, normalise=normalise)  # noqa: E731
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


def test_reversing_the_row_reverses_the_result():
    q, k, v = tokens()
    o = ops.global_linear_attention(q, k, v, normalise=True)
    mirrored = ops.global_linear_attention(q.flip(1), k.flip(1), v.flip(1), normalise=True)
    torch.testing.assert_close(mirrored, o.flip(1))


def test_its_last_token_is_that_of_the_causal_op():
    q, k, v = tokens()
    causal, _ = ops.linear_attention(q, k, v, normalise=True)
    torch.testing.assert_close(ops.global_linear_attention(q, k, v, normalise=True)[:, -1], causal[:, -1])


def test_a_token_without_key_is_as_if_absent():
    q, k, v = tokens()
    k[:, 7:] = 0
    v[:, 7:] = 1e3
    o = ops.global_linear_attention(q, k, v, normalise=True)[:, :7]
    torch.testing.assert_close(o, ops.global_linear_attention(q[:, :7], k[:, :7], v[:, :7], normalise=True))


def test_an_all_zero_query_gives_zero():
    q, k, v = tokens()
    q[:, 3] = 0
    assert not ops.global_linear_attention(q, k, v, normalise=True)[:, 3].any()


def test_bfloat16_is_summed_in_float32_and_autocast_changes_nothing():
    q, k, v = tokens(700, torch.bfloat16)
    o = ops.global_linear_attention(q, k, v, normalise=True)
    assert o.dtype is torch.bfloat16
    # A bfloat16 output is off by up to 2^-9 of itself; a bfloat16 sum of 700 keys would be off by half.
    expected = definition(q.double(), k.double(), v.double(), 1.0, True)
    torch.testing.assert_close(o.double(), expected, rtol=2e-2, atol=2e-3)
    q, k, v = tokens(50, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = ops.global_linear_attention(q, k, v)
    assert torch.equal(under, ops.global_linear_attention(q, k, v))


@pytest.mark.parametrize("axis", range(4))
def test_any_axis_may_be_empty(axis):
    shape = [2, 3, 4, 5]
    shape[axis] = 0
    q = torch.rand(shape)
    assert ops.global_linear_attention(q, q, q, normalise=True).shape == q.shape
