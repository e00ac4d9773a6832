"""Max-unpooling: every value back where it was, at any size, and indices of another size found out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linsight.nn.upsampling import IndexedMaxPool, MaxUnpool


@settings(max_examples=40)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), scale=st.integers(1, 3), ceil=st.booleans())
def test_pooling_undoes_unpooling_of_positive_maps(rows: int, columns: int, scale: int, ceil: bool) -> None:
    if not ceil and min(rows, columns) < scale:
        return
    x = 1 + torch.rand(2, 3, rows, columns)
    pool, up = IndexedMaxPool(scale, ceil_mode=ceil), MaxUnpool(3, scale=scale)
    y, indices, size = pool(x)
    back = up(y, size, indices=indices)
    assert size == (rows, columns)
    assert back.shape == x.shape
    assert torch.equal(pool(back).y, y)
    assert ((back == 0) | (back == x)).all()
    assert (back != 0).sum() == y.numel()


def test_an_odd_map_needs_its_size() -> None:
    """The trap of torch's layer: pooled 5 x 5 to 2 x 2, unpooled to 4 x 4, where 18 is beyond the end."""
    x = torch.arange(25.0).view(1, 1, 5, 5)
    y, indices, size = IndexedMaxPool(2)(x)
    up = MaxUnpool(1)
    back = up(y, size, indices=indices)
    assert {i: v for i, v in enumerate(back.flatten().tolist()) if v} == {6: 6.0, 8: 8.0, 16: 16.0, 18: 18.0}
    with pytest.raises(ValueError, match=r"a 4 x 4 map in windows of 2, 2 apart, got 6 elsewhere; pass"):
        up(y, indices=indices)
    with pytest.raises(ValueError, match="a pooling of a 5 x 6 map"):
        up(y, (5, 6), indices=indices)


def test_indices_that_do_not_exist_are_found_out() -> None:
    up = MaxUnpool(1)
    y = torch.ones(1, 1, 2, 2)
    good = torch.tensor([[[[0, 2], [8, 10]]]])
    assert up(y, indices=good).sum() == 4
    for cell, wrong in ((0, -1), (0, 16), (0, 3), (0, 8), (3, 2), (3, 9)):
        bad = good.clone()
        bad.view(-1)[cell] = wrong
        with pytest.raises(ValueError, match=f"indices: expected those of a pooling .*got {wrong} elsewhere"):
            up(y, indices=bad)


def test_the_gradient_is_a_gather() -> None:
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    y, indices, size = IndexedMaxPool(2)(x)
    y.requires_grad_()
    dy = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    (found,) = torch.autograd.grad(MaxUnpool(3)(y, size, indices=indices), y, dy)
    assert torch.equal(found, dy.flatten(2).gather(2, indices.flatten(2)).view_as(y))


def test_overlapping_windows_keep_the_last_of_the_values_of_one_place() -> None:
    """3 x 3 windows, 1 apart, on 7 x 7: 25 values and fewer places; each place has its last value."""
    x = torch.randn(1, 2, 7, 7, dtype=torch.float64)
    _, indices, size = IndexedMaxPool(1, 3)(x)
    assert indices.unique().numel() < 25
    values = torch.randn(1, 2, 5, 5, dtype=torch.float64).requires_grad_()
    up = MaxUnpool(2, scale=1, kernel_size=3, overlap="last")
    back = up(values, size, indices=indices)
    want = torch.zeros(2, 49, dtype=torch.float64)
    for c in range(2):
        for place, value in zip(
            indices[0, c].flatten().tolist(), values[0, c].flatten().tolist(), strict=True
        ):
            want[c, place] = value
    assert torch.equal(back.flatten(2)[0], want)
    assert torch.autograd.gradcheck(lambda v: up(v, size, indices=indices), values)


def test_a_projection_comes_before_the_indices() -> None:
    x = torch.randn(1, 4, 6, 6)
    _, indices, size = IndexedMaxPool(2)(x)
    up = MaxUnpool(7, 4)
    coarse = torch.randn(1, 7, 3, 3)
    back = up(coarse, size, indices=indices)
    assert torch.equal(back.flatten(2).gather(2, indices.flatten(2)).view(1, 4, 3, 3), up.project(coarse))


def test_what_does_not_fit_is_refused() -> None:
    y = torch.ones(1, 2, 2, 2)
    with pytest.raises(TypeError, match="indices: expected where the pooling found its maxima"):
        MaxUnpool(2)(y)
    for wrong in (torch.zeros(1, 1, 2, 2).long(), torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 3, 2).long()):
        with pytest.raises(ValueError, match=r"indices: expected int64 of shape \(1, 2, 2, 2\), got"):
            MaxUnpool(2)(y, indices=wrong)
    with pytest.raises(ValueError, match="kernel_size: expected at most scale 2, got 3: windows overlap"):
        MaxUnpool(2, kernel_size=3)
    with pytest.raises(ValueError, match="overlap: expected None or 'last', got 'sum'"):
        MaxUnpool(2, overlap="sum")
    with pytest.raises(ValueError, match="scale: expected at least 1, got 0"):
        IndexedMaxPool(0)
