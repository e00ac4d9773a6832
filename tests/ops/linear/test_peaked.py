"""Attention to keys of any weight against its sum, written out token by token."""

import pytest
import torch

from linsight.ops.linear.peaked import peaked_attention


def written(q, k, v, logs, state, peak):
    """o relative to the largest weight so far, of tokens and of the state, and the sums after the block."""
    outputs = []
    for t in range(q.shape[1]):
        known = torch.cat([peak[:, None], logs[:, : t + 1]], 1)
        shares = (known - known.amax(1, keepdim=True)).exp()
        similar = torch.einsum("bhk,bjhk->bjh", q[:, t], k[:, : t + 1])
        old = torch.einsum("bhk,bhkv->bhv", q[:, t], state) * shares[:, 0, :, None]
        outputs.append(old + torch.einsum("bjh,bjhv->bhv", similar * shares[:, 1:], v[:, : t + 1]))
    sums = torch.einsum("bjh,bjhk,bjhv->bhkv", shares[:, 1:], k, v)
    return torch.stack(outputs, 1), state * shares[:, 0, :, None, None] + sums, known.amax(1)


def drawn(length, spread):
    torch.manual_seed(length)
    q, k, v = (torch.randn(2, length, 3, width, dtype=torch.float64) for width in (5, 5, 4))
    logs = spread * torch.randn(2, length, 3, dtype=torch.float64)
    state = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    return [t.requires_grad_() for t in (q, k, v, logs, state, torch.randn(2, 3, dtype=torch.float64))]


@pytest.mark.parametrize("spread", [0.1, 3.0, 2000.0])
@pytest.mark.parametrize("length", [1, 2, 17])
def test_outputs_sums_and_gradients_are_those_of_the_sum(length, spread):
    """At a spread of 2,000 the weights are 0 or infinite as numbers; relative to the largest they are not."""
    inputs = drawn(length, spread)
    got, want = peaked_attention(*inputs), written(*inputs)
    for actual, expected in zip(got, want, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    cotangents = [torch.randn_like(t) for t in want]
    gradients = [
        torch.autograd.grad(outputs, inputs, cotangents, retain_graph=True) for outputs in (got, want)
    ]
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_a_weight_of_zero_is_no_token():
    """Outputs, sums and every gradient, where a weight is 0 before anything was seen and among others."""
    q, k, v, logs, state, peak = (t.detach() for t in drawn(4, 1.0))
    nothing, unseen = torch.zeros_like(state), torch.full_like(peak, -1e30)
    there = [1, 3]
    gone = logs.clone()
    gone[:, [0, 2]] = -torch.inf
    got = peaked_attention(*(inputs := [t.requires_grad_() for t in (q, k, v, gone, nothing)]), unseen)
    want = peaked_attention(q[:, there], k[:, there], v[:, there], logs[:, there], nothing, unseen)
    torch.testing.assert_close(got[0][:, there], want[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got[1:], want[1:], rtol=1e-12, atol=1e-12)
    assert not got[0][:, 0].any()
    found = torch.autograd.grad(sum(t.sum() for t in got), inputs)
    assert all(gradient.isfinite().all() for gradient in found)
    assert not found[1][:, [0, 2]].any()
    assert not found[2][:, [0, 2]].any()
