"""Norms against their formulas."""

import pytest
import torch

from linsight.nn import simple_rms_norm


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
