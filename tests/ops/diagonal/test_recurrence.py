"""The elementwise recurrence: both ways against a literal loop, and its laws."""

import cmath
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linsight import ops

FORMS = (("naive", None), ("chunk", 1), ("chunk", 9), ("chunk", None), ("recurrent", None), ("auto", None))


def system(length: int, batch: int = 3, states: int = 4):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = torch.complex(draw(batch, length, states), draw(batch, length, states))
    log_decay = torch.complex(-0.2 * draw(states).abs(), 2 * draw(states))
    return x, log_decay, torch.complex(draw(batch, states), draw(batch, states))


def loop(x, log_decay, h, lengths):
    found, final = np.zeros(x.shape, complex), np.array(h.tolist())
    for b, n in np.ndindex(*final.shape):
        for t in range(int(lengths[b])):
            final[b, n] = cmath.exp(complex(log_decay[n])) * final[b, n] + complex(x[b, t, n])
            found[b, t, n] = final[b, n]
    return torch.from_numpy(found), torch.from_numpy(final)


def call(x, log_decay, h, form, size, lengths=None):
    return ops.diagonal_recurrence(x, log_decay, initial_state=h, lengths=lengths, form=form, chunk_size=size)


@pytest.mark.parametrize("length", [1, 2, 8, 9, 10, 31, 32, 33, 101])
def test_every_form_is_the_loop_with_and_without_padding(length):
    x, log_decay, h = system(length)
    for lengths in (None, torch.tensor([0, length // 2, length])):
        want = loop(x, log_decay, h, [length] * 3 if lengths is None else lengths)
        padded = x
        if lengths is not None:
            padded = torch.where((torch.arange(length) < lengths[:, None])[..., None], x, math.nan)
        for form, size in FORMS:
            torch.testing.assert_close(
                call(padded, log_decay, h, form, size, lengths), want, rtol=0, atol=1e-11
            )


@given(length=st.integers(2, 80), data=st.data())
def test_the_split_law(length, data):
    cut = data.draw(st.integers(1, length - 1))
    x, log_decay, h = system(length)
    for form, size in FORMS:
        first, state = call(x[:, :cut], log_decay, h, form, size)
        second, state = call(x[:, cut:], log_decay, state, form, size)
        whole = call(x, log_decay, h, form, size)
        torch.testing.assert_close((torch.cat([first, second], 1), state), whole, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("form", "size"), FORMS)
def test_gradcheck(form, size):
    inputs = [t.requires_grad_() for t in system(11)]
    for lengths in (None, torch.tensor([11, 4, 0])):
        assert torch.autograd.gradcheck(
            lambda *given, lengths=lengths: call(*given, form, size, lengths), inputs, fast_mode=True
        )


@pytest.mark.parametrize("decay", [0.0, -50.0, -1000.0, -math.inf])
def test_extreme_decays_are_finite_and_equal_in_all_forms(decay):
    x, log_decay, h = system(23)
    log_decay = torch.complex(torch.full_like(log_decay.real, decay), log_decay.imag)
    for lengths in (None, torch.tensor([23, 5, 0])):
        want = None
        for form, size in FORMS:
            inputs = [t.clone().requires_grad_() for t in (x, log_decay, h)]
            found, state = call(*inputs, form, size, lengths)
            gradients = torch.autograd.grad(found.abs().sum() + state.abs().square().sum(), inputs)
            assert all(torch.view_as_real(g).isfinite().all() for g in gradients)
            want = want or (found, state)
            torch.testing.assert_close((found, state), want, rtol=1e-10, atol=1e-10)


def test_what_does_not_fit_is_refused():
    x, log_decay, h = system(5)
    for change, error, words in (
        ({"x": x[0]}, ValueError, r"x: expected 3 axes \(B, T, N\)"),
        ({"x": x.real}, TypeError, "x: expected a complex tensor, got a tensor of torch.float64"),
        ({"log_decay": log_decay[:3]}, ValueError, r"log_decay: expected shape \(4,\), got \(3,\)"),
        ({"initial_state": h[:2]}, ValueError, r"initial_state: expected shape \(3, 4\), got \(2, 4\)"),
        ({"form": "parallel"}, ValueError, "form: expected one of auto, naive, chunk, recurrent"),
    ):
        with pytest.raises(error, match=words):
            ops.diagonal_recurrence(**{"x": x, "log_decay": log_decay, **change})


def test_no_tokens_give_the_state_back():
    x, log_decay, h = system(5)
    found, state = ops.diagonal_recurrence(x[:, :0], log_decay, initial_state=h)
    assert found.shape == (3, 0, 4)
    assert torch.equal(state, h)


def test_no_rows_give_no_rows():
    for form, size in FORMS:
        x, log_decay, h = system(20, batch=0)
        for lengths in (None, torch.ones(0, dtype=torch.int64)):
            found, state = call(x, log_decay, h, form, size, lengths)
            assert (found.shape, state.shape) == ((0, 20, 4), (0, 4))
