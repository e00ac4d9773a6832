"""The token shift is a delay of one token under the split law."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linsight.nn import token_shift


def tokens(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(pieces=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_split_law(pieces):
    x, first = tokens(2, sum(pieces), 3), tokens(2, 3)
    whole, final = token_shift(x, first)
    assert torch.equal(whole, torch.cat([first[:, None], x], dim=1)[:, :-1])
    last, outputs = first, []
    for piece in x.split(pieces, dim=1):
        before, last = token_shift(piece, last)
        outputs.append(before)
    assert torch.equal(torch.cat(outputs, dim=1), whole)
    assert torch.equal(last, final)
    assert torch.equal(final, x[:, -1])


def test_the_first_token_has_zeros_before_it():
    before, _ = token_shift(tokens(2, 4, 3))
    assert not before[:, 0].any()


@pytest.mark.parametrize("lengths", [(5, 2, 0), (1, 4, 5)], ids=str)
def test_the_state_of_a_padded_row_is_its_own_last_token(lengths):
    x, first = tokens(3, 5, 2), tokens(3, 2)
    valid = torch.arange(5) < torch.tensor(lengths)[:, None]
    before, last = token_shift(torch.where(valid[..., None], x, 0), first, valid)
    for row, length in enumerate(lengths):
        if length == 0:
            assert torch.equal(last[row], first[row])
            continue
        solo, solo_last = token_shift(x[row : row + 1, :length], first[row : row + 1])
        assert torch.equal(before[row, :length], solo[0])
        assert torch.equal(last[row], solo_last[0])


def test_the_state_is_a_copy():
    """It outlives x, neither changed with it nor holding its memory."""
    x = tokens(1, 4, 2)
    _, last = token_shift(x)
    kept = last.clone()
    x.zero_()
    assert torch.equal(last, kept)
    assert last.untyped_storage().nbytes() == 2 * 8


def test_gradients_reach_tokens_and_state():
    x, first = tokens(2, 3, 2).requires_grad_(), tokens(2, 2).requires_grad_()
    valid = torch.arange(3) < torch.tensor([3, 1])[:, None]
    assert torch.autograd.gradcheck(lambda x, first: token_shift(x, first), (x, first))
    assert torch.autograd.gradcheck(lambda x, first: token_shift(x, first, valid), (x, first))
