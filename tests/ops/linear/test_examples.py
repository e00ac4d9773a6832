"""Examples worked by hand, through every form."""

import pytest
import torch
from linear_cases import FORMS

from linsight import ops

Q = torch.tensor([[1.0, 0.0], [0.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).view(1, 3, 1, 2)
K = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, 0.0]], dtype=torch.float64).view(1, 3, 1, 2)
V = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).view(1, 3, 1, 1)

every_form = pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), ("chunk", 2), *FORMS])


@every_form
def test_linear_attention_with_elu_plus_one(form, chunk_size):
    q, k = (torch.nn.functional.elu(x) + 1 for x in (Q, K))
    o, state = ops.linear_attention(q, k, V, normalise=True, form=form, chunk_size=chunk_size)
    torch.testing.assert_close(o.flatten(), torch.tensor([1, 1.5516, 1.9878]).double(), atol=5e-5, rtol=0)
    expected = torch.tensor([[6.4715, 3.3679], [6.7358, 3.3679]]).double()
    torch.testing.assert_close(state[0, 0], expected, atol=5e-5, rtol=0)


@every_form
def test_retention_with_gamma_one_half(form, chunk_size):
    log_decay = torch.tensor([0.5], dtype=torch.float64).log()
    o, _ = ops.linear_attention(Q, K, V, log_decay, form=form, chunk_size=chunk_size)
    torch.testing.assert_close(o.flatten(), torch.tensor([0, 1.5, 2.25]).double())


@every_form
def test_read_before_with_bonus_and_decay_by_hand(form, chunk_size):
    """k = v = 1 throughout, decay 1/2, bonus 3: S = 1, 3/2, 7/4 and o = 0 + 3, 1 + 3, 3/2 + 3."""
    ones = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    o, state = ops.linear_attention(
        ones,
        ones,
        ones,
        torch.full((1, 3, 1, 1), 0.5, dtype=torch.float64).log(),
        bonus=torch.full((1, 1), 3.0, dtype=torch.float64),
        read="before",
        form=form,
        chunk_size=chunk_size,
    )
    torch.testing.assert_close(o.flatten(), torch.tensor([3.0, 4.0, 4.5]).double())
    assert state.item() == pytest.approx(1.75)


@every_form
def test_decays_of_a_feature_a_token_and_a_head_are_one_scale(form, chunk_size):
    """A vector of equal decays is the scalar, and a constant scalar is the head's decay."""
    q, k = torch.rand(2, 2, 9, 3, 4, dtype=torch.float64).unbind(0)
    v = torch.rand(2, 9, 3, 2, dtype=torch.float64)
    head = -torch.rand(3, dtype=torch.float64)
    token = head.expand(2, 9, 3)
    feature = token.unsqueeze(-1).expand(2, 9, 3, 4)
    expected = ops.linear_attention(q, k, v, head, form="naive")
    for log_decay in (head, token, feature):
        found = ops.linear_attention(q, k, v, log_decay, form=form, chunk_size=chunk_size)
        torch.testing.assert_close(found, expected)


@every_form
def test_scale_multiplies_outputs_and_not_the_state(form, chunk_size):
    q, k = torch.rand(2, 2, 9, 3, 4, dtype=torch.float64).unbind(0)
    v = torch.rand(2, 9, 3, 2, dtype=torch.float64)
    bonus = torch.rand(3, 4, dtype=torch.float64)
    o, state = ops.linear_attention(q, k, v, bonus=bonus, read="before", form=form, chunk_size=chunk_size)
    scaled, same = ops.linear_attention(
        q, k, v, bonus=bonus, read="before", scale=0.5, form=form, chunk_size=chunk_size
    )
    torch.testing.assert_close(scaled, o / 2)
    torch.testing.assert_close(same, state)


def test_without_decay_a_permutation_of_the_past_changes_nothing():
    q, k = torch.rand(2, 2, 9, 3, 4, dtype=torch.float64).unbind(0)
    v = torch.rand(2, 9, 3, 2, dtype=torch.float64)
    order = torch.cat([torch.randperm(8), torch.tensor([8])])
    o, state = ops.linear_attention(q, k, v)
    shuffled, same = ops.linear_attention(q[:, order], k[:, order], v[:, order])
    torch.testing.assert_close(shuffled[:, -1], o[:, -1])
    torch.testing.assert_close(same, state)
