"""What every test relies on: shapes are checked, fresh memory is poisoned, seeds and threads are fixed."""

import os

import numpy as np
import pytest
import torch

from linsight.nn import GatedMLP

UNCHECKED = os.environ.get("LINSIGHT_SHAPES") == "0"


@pytest.mark.skipif(UNCHECKED, reason="LINSIGHT_SHAPES=0 leaves shapes unchecked")
def test_a_wrong_shape_is_caught_by_its_annotation() -> None:
    from jaxtyping import TypeCheckError

    with pytest.raises(TypeCheckError):
        GatedMLP(4, 8)(torch.zeros(2, 3, 4, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.complex64])
def test_fresh_floating_memory_is_nan(dtype: torch.dtype) -> None:
    like = torch.ones(2, 3, dtype=dtype)
    fresh = (
        torch.empty(2, 3, dtype=dtype),
        torch.empty_like(like),
        torch.empty_strided((2, 3), (3, 1), dtype=dtype),
        like.new_empty(2, 3),
        like.new_empty_strided((2, 3), (1, 2)),
    )
    for tensor in fresh:
        assert tensor.isnan().all()
    assert (like == 1).all()


def test_fresh_whole_numbers_are_extreme() -> None:
    assert (torch.empty(3, dtype=torch.int64) == torch.iinfo(torch.int64).min).all()
    assert torch.empty(3, dtype=torch.bool).all()
    assert torch.empty(3, requires_grad=True).isnan().all()
    assert torch.empty(3, device="meta").is_meta


@pytest.mark.parametrize("again", [1, 2])
def test_every_test_begins_with_the_same_seed(again: int) -> None:
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    assert np.random.random() == np.random.RandomState(0).random_sample()


def test_one_thread() -> None:
    assert torch.get_num_threads() == 1
