"""Rotary positions: a rotation by an angle that is linear in the position, exact far from the origin."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from linsight.nn import rotary

PLACES = st.integers(min_value=0, max_value=5000)


def _definition(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    """Feature i and i + dim/2 as one complex number, times exp(j position base^(-2 i / dim)); float64."""
    half = x.shape[-1] // 2
    pairs = torch.complex(x[..., :half].double(), x[..., half:].double())
    turned = torch.empty_like(pairs)
    for row in range(x.shape[0]):
        for step in range(x.shape[1]):
            for i in range(half):
                angle = positions[row, step].item() * base ** (-2 * i / x.shape[-1])
                turned[row, step, :, i] = pairs[row, step, :, i] * complex(math.cos(angle), math.sin(angle))
    return torch.cat([turned.real, turned.imag], dim=-1)


@pytest.mark.parametrize("base", [10_000.0, 100.0])
@pytest.mark.parametrize("dim", [2, 6, 8])
def test_rotary_is_its_definition_with_each_rows_own_positions(dim: int, base: float) -> None:
    x = torch.randn(2, 5, 3, dim, dtype=torch.float64)
    positions = torch.tensor([[0, 1, 2, 3, 4], [7, 1000, 8, 2, 99]])
    torch.testing.assert_close(
        rotary(x, positions, base), _definition(x, positions, base), rtol=1e-11, atol=1e-11
    )


def test_lengths_of_vectors_are_kept_and_position_0_changes_no_bit() -> None:
    x = torch.randn(1, 6, 2, 8, dtype=torch.float64)
    positions = torch.tensor([[0, 1, 17, 300, 4096, 100_000]])
    turned = rotary(x, positions)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), rtol=1e-13, atol=0)
    assert torch.equal(turned[:, 0], x[:, 0])
    assert not torch.equal(turned[:, 1:], x[:, 1:])


@given(query=PLACES, key=PLACES, shift=PLACES)
def test_inner_products_depend_on_the_difference_of_positions_alone(query: int, key: int, shift: int) -> None:
    q, k = torch.randn(2, 1, 1, 2, 8, dtype=torch.float64)

    def similarity(first: int, second: int) -> Tensor:
        return (rotary(q, torch.tensor([[first]])) * rotary(k, torch.tensor([[second]]))).sum(-1)

    torch.testing.assert_close(
        similarity(query, key), similarity(query + shift, key + shift), rtol=0, atol=1e-10
    )


@given(first=PLACES, second=PLACES)
def test_turning_twice_is_turning_by_the_sum(first: int, second: int) -> None:
    """So keys cached at their own places need no second turn when a later call begins at an offset."""
    x = torch.randn(1, 1, 2, 6, dtype=torch.float64)
    twice = rotary(rotary(x, torch.tensor([[first]])), torch.tensor([[second]]))
    torch.testing.assert_close(twice, rotary(x, torch.tensor([[first + second]])), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-2), (torch.bfloat16, 2e-2)])
def test_low_precision_is_accurate_at_position_100000(dtype: torch.dtype, tolerance: float) -> None:
    """Values of about 1, of which bfloat16 keeps 0.004; angles in bfloat16 would be whole turns off."""
    x = torch.randn(1, 3, 2, 16).to(dtype)
    positions = torch.tensor([[99_999, 100_000, 99_001]])
    found = rotary(x, positions)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), _definition(x, positions), rtol=0, atol=tolerance)


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="rotary positions need an even head dimension, got 5"):
        rotary(torch.randn(1, 2, 1, 5), torch.zeros(1, 2, dtype=torch.int64))
