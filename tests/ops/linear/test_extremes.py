"""Decays from none to a reset: finite results and gradients, at full accuracy."""

import pytest
import torch
from linear_cases import FORMS, READS, Case, assert_equal, case, relative_error, results

EXTREMES = (0.0, -1e-4, -50.0, -1000.0, float("-inf"))


def with_decay(decay: str, values: torch.Tensor, **options) -> Case:
    """A call whose log decays are `values`, repeated in random order."""
    call = case(24, decay, **options)
    count = call.log_decay.numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(3))
    flat = values.repeat(-(-count // len(values)))[order]
    return Case(**{**vars(call), "log_decay": flat.view(call.log_decay.shape).to(call.q.dtype)})


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", ["head", "token", "feature"])
def test_every_single_extreme_is_finite_in_outputs_and_gradients(decay, read, form, chunk_size):
    for extreme in EXTREMES:
        call = with_decay(decay, torch.tensor([extreme]), read=read, dtype=torch.float32)
        found = results(call, form, chunk_size)
        assert all(x.isfinite().all() for x in found.values())
        if form != "naive":
            assert_equal(found, results(call), 1e-5, least=0.1, dtype=torch.float32)


@pytest.mark.parametrize(("form", "chunk_size"), FORMS)
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", ["head", "token", "feature"])
def test_extremes_side_by_side_are_finite_and_accurate(decay, read, form, chunk_size):
    """A sum over a segment must not pass through the huge decays outside it: float32 stays within 1e-5."""
    for rare in (-1000.0, float("-inf")):
        values = torch.tensor([rare] + 9 * [-0.01] + [0.0, -1e-4])
        call = with_decay(decay, values, read=read, dtype=torch.float32)
        found = results(call, form, chunk_size)
        assert_equal(found, results(call.to(torch.float64)), 1e-5, least=0.1, dtype=torch.float32)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("decay", ["token", "feature"])
def test_minus_infinity_is_a_reset(decay, form, chunk_size):
    """From a log decay of -inf on, the op is a fresh one, and sends no gradient to what was before."""
    call = case(20, decay)
    call.log_decay[:, 8] = float("-inf")
    leaves = call.map(lambda _, x: x.requires_grad_())
    o, state = leaves(form, chunk_size)
    fresh_o, fresh_state = call.tokens(8, 20, initial_state=None)(form, chunk_size)
    torch.testing.assert_close(o[:, 8:], fresh_o)
    torch.testing.assert_close(state, fresh_state)
    grad_k, grad_state = torch.autograd.grad(o[:, 8:].sum() + state.sum(), [leaves.k, leaves.initial_state])
    assert not grad_k[:, :8].any()
    assert not grad_state.any()


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("decay", ["token", "feature"])
def test_read_before_sees_the_state_not_yet_decayed_by_its_own_token(decay, form, chunk_size):
    """RWKV-6's order: a reset at token t is felt by the reads from t + 1 on."""
    call = case(5, decay, "before", state=False)
    call.log_decay[:] = 0
    call.log_decay[:, 2] = float("-inf")
    o, _ = call(form, chunk_size)
    seen = torch.einsum("bhk,bshk,bshv->bhv", call.q[:, 2], call.k[:, :2], call.v[:, :2])
    torch.testing.assert_close(o[:, 2], seen)
    seen = torch.einsum("bhk,bhk,bhv->bhv", call.q[:, 3], call.k[:, 2], call.v[:, 2])
    torch.testing.assert_close(o[:, 3], seen)


@pytest.mark.parametrize("decay", ["head", "token", "feature"])
def test_a_long_row_under_strong_decay_does_not_overflow(decay):
    """Factors q exp(G) and k exp(-G) over a whole row would pass float32's largest number after 89 nats."""
    call = with_decay(decay, torch.tensor([-3.0]), dtype=torch.float32)
    for form, chunk_size in FORMS:
        found = results(call, form, chunk_size)
        assert all(x.isfinite().all() for x in found.values())
        assert relative_error(found["o"], call.to(torch.float64)()[0]) < 1e-6
