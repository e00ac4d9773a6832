"""Norms against their formulas."""

import pytest
import torch

from linsight.nn import GatedRMSNorm, simple_rms_norm


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
