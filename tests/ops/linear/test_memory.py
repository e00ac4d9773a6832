"""What is never allocated: [B, T, T] or [B, T, K, V] in the chunk form, anything of length T in a step."""

import pytest
import torch
from allocations import Allocations
from linear_cases import DECAYS, READS, case


def allocations(
    length: int, decay: str, *, read: str = "after", gradient: bool, form: str = "chunk"
) -> Allocations:
    call = case(length, decay, read, dtype=torch.float32, batch=1, heads=2, features=16, values=16)
    if gradient:
        call = call.map(lambda _, x: x.requires_grad_())
    chunk_size = 8 if form == "chunk" else None
    with Allocations(*call.tensors().values()) as watch:
        o, state = call(form, chunk_size)
        if gradient:
            (o.sum() + state.sum()).backward()
    return watch


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_chunks_make_nothing_larger_than_their_input(decay, read, gradient):
    """[B, T, T] would be 8 times q here, and [B, T, K, V] 16 times."""
    length = 128
    assert allocations(length, decay, read=read, gradient=gradient).largest <= 4 * length * 2 * 16


@pytest.mark.parametrize("decay", DECAYS)
def test_chunks_without_gradients_keep_one_block_at_a_time(decay):
    """Beyond the outputs (under decay: and the blocks they are made of) memory is constant."""
    copies = 1 if decay == "none" else 2
    extra = [allocations(n, decay, gradient=False).peak - copies * 4 * n * 2 * 16 for n in (64, 256)]
    assert extra[1] < 1.1 * max(extra[0], 4 * 64 * 2 * 16)


@pytest.mark.parametrize("decay", DECAYS)
def test_chunks_with_gradients_grow_linearly(decay):
    short, long = (allocations(length, decay, gradient=True).peak for length in (64, 256))
    assert long < 4.4 * short


@pytest.mark.parametrize("decay", DECAYS)
def test_a_step_makes_nothing_larger_than_the_state(decay):
    assert allocations(1, decay, gradient=False, form="auto").largest <= 4 * 2 * 16 * 16
