"""Norms against their formulas."""

import copy

import pytest
import torch
from torch import nn

from linsight.nn import GatedRMSNorm, LayerNorm, simple_rms_norm


def test_it_is_x_over_its_rms():
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0]], dtype=torch.float64)
    want = [[3 / 12.5**0.5, -4 / 12.5**0.5], [0.0, 0.0]]
    assert simple_rms_norm(x, 1e-12).tolist() == [pytest.approx(row) for row in want]


def test_eps_is_added_to_the_mean_square():
    assert simple_rms_norm(torch.tensor([3.0, 4.0]), 12.5).tolist() == pytest.approx([0.6, 0.8])


def test_squares_beyond_float16_are_summed_in_float32():
    x = torch.full((8,), 1000.0, dtype=torch.float16)
    y = simple_rms_norm(x)
    assert y.dtype == torch.float16
    assert y.tolist() == pytest.approx([1.0] * 8)


@pytest.mark.parametrize("before", [False, True])
def test_the_gate_is_normalised_too_unless_the_norm_stands_before_it(before):
    """Two groups, each with a norm of its own; by hand."""
    norm = GatedRMSNorm(4, groups=2, before_gate=before, eps=0.0).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2, 3, 4]))
    x, gate = torch.tensor([3.0, 4, 0, 1]).double(), torch.tensor([1.0, -1, 2, 0.5]).double()
    opened = gate / (1 + (-gate).exp())
    parts = (x if before else x * opened).view(2, 2)
    want = (parts / parts.square().mean(1, keepdim=True).sqrt()).flatten() * norm.weight
    torch.testing.assert_close(norm(x, gate), want * opened if before else want)


def test_a_gated_norm_is_float32_in_bfloat16():
    x = torch.full((2, 8), 100.0, dtype=torch.bfloat16)
    assert GatedRMSNorm(8).bfloat16()(x, x).dtype is torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_norms_gradients_are_summed_in_float32(dtype, bias):
    """In half precision each is float64's, rounded once: terms of one sign over 5,000 rows are the test."""
    torch.manual_seed(0)
    norm = LayerNorm(16, bias=bias)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    x, dy = torch.randn(5000, 16).to(dtype), (torch.randn(5000, 16) + 1).to(dtype)
    found = _norm_gradients(norm, x, dy)
    exact = _norm_gradients(copy.deepcopy(norm).double(), x.double(), dy.double())
    assert found[0].dtype == dtype
    for gradient, expected in zip(found, exact, strict=True):
        error = (gradient.double() - expected).norm() / expected.norm()
        assert error < torch.finfo(gradient.dtype).eps * (1 if gradient.dtype == dtype else 100)


def test_layer_norm_is_torchs_in_other_dtypes():
    """To the bit, and with its weights by name."""
    norm, theirs = LayerNorm(8), nn.LayerNorm(8)
    nn.init.normal_(theirs.weight)
    norm.load_state_dict(theirs.state_dict())
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(3, 5, 8, dtype=dtype)
        assert torch.equal(norm.to(dtype)(x), theirs.to(dtype)(x))


def _norm_gradients(norm, x, dy):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(norm(x), [x, *norm.parameters()], dy)
