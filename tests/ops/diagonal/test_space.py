"""The diagonal state space: every form against a literal loop, and the laws of a recurrence."""

import cmath
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linsight import ops

FORMS = (
    ("naive", None),
    ("parallel", None),
    ("chunk", 1),
    ("chunk", 9),
    ("chunk", None),
    ("recurrent", None),
)
LENGTHS = (1, 2, 8, 9, 10, 30, 63, 64, 65, 101)


def system(channels: int = 3, states: int = 4, batch: int = 2, seed: int = 0):
    """Decays, weights and a state, in complex128."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    log_decay = torch.complex(-0.3 * draw(channels, states).abs(), 2 * draw(channels, states))
    read = torch.complex(draw(channels, states), draw(channels, states))
    return log_decay, read, torch.complex(draw(batch, channels, states), draw(batch, channels, states))


def tokens(batch: int, length: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, length, channels, generator=generator, dtype=torch.float64)


def loop(x, log_decay, read, h, lengths=None):
    """Number by number in Python: the definition."""
    y, final = np.zeros(x.shape), np.array(h.tolist())
    for b, d in np.ndindex(x.shape[0], x.shape[2]):
        for t in range(x.shape[1] if lengths is None else int(lengths[b])):
            for n in range(log_decay.shape[1]):
                final[b, d, n] = cmath.exp(complex(log_decay[d, n])) * final[b, d, n] + float(x[b, t, d])
                y[b, t, d] += (complex(read[d, n]) * final[b, d, n]).real
    return torch.from_numpy(y), torch.from_numpy(final)


def call(x, log_decay, read, h, form, size, lengths=None):
    return ops.diagonal_space(
        x, log_decay, read, initial_state=h, lengths=lengths, form=form, chunk_size=size
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_every_form_is_the_loop(length):
    x, (log_decay, read, h) = tokens(2, length), system()
    want = loop(x, log_decay, read, h)
    for form, size in (*FORMS, ("auto", None)):
        torch.testing.assert_close(call(x, log_decay, read, h, form, size), want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("length", [1, 9, 30, 65])
def test_rows_end_at_their_own_length_whatever_their_padding_holds(length):
    """A decay that goes on over the padding would leave another state."""
    x, (log_decay, read, h) = tokens(4, length), system(batch=4)
    lengths = torch.tensor([0, 1, length // 2, length])
    want = loop(x, log_decay, read, h, lengths)
    x = torch.where((torch.arange(length) < lengths[:, None])[..., None], x, math.nan)
    for form, size in FORMS:
        torch.testing.assert_close(call(x, log_decay, read, h, form, size, lengths), want, rtol=0, atol=1e-11)


@settings(max_examples=40)
@given(length=st.integers(2, 90), data=st.data())
def test_the_split_law(length, data):
    cut = data.draw(st.integers(1, length - 1))
    x, (log_decay, read, h) = tokens(2, length), system()
    for form, size in FORMS:
        whole = call(x, log_decay, read, h, form, size)
        first, state = call(x[:, :cut], log_decay, read, h, form, size)
        second, state = call(x[:, cut:], log_decay, read, state, form, size)
        torch.testing.assert_close((torch.cat([first, second], 1), state), whole, rtol=0, atol=1e-11)


@pytest.mark.parametrize("of", ["y", "state", "both"])
def test_gradients_of_every_form_agree(of):
    """Of everything that goes in, for losses on outputs, on the final state, and on both."""
    length, lengths = 30, torch.tensor([30, 13])
    for ragged in (None, lengths):
        found = {}
        for form, size in FORMS:
            inputs = [t.clone().requires_grad_() for t in (tokens(2, length), *system())]
            y, state = call(*inputs, form, size, ragged)
            loss = (y.sin().sum() if of != "state" else 0) + (state.abs().sum() if of != "y" else 0)
            found[form, size] = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
        for got in found.values():
            torch.testing.assert_close(got, found["naive", None], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("form", "size"), [f for f in FORMS if f[1] != 1])
def test_gradcheck(form, size):
    inputs = [t.requires_grad_() for t in (tokens(2, 11, 2), *system(2, 2))]
    lengths = torch.tensor([11, 4])
    for ragged in (None, lengths):
        assert torch.autograd.gradcheck(
            lambda *given, ragged=ragged: call(*given, form, size, ragged), inputs, fast_mode=True
        )


@pytest.mark.parametrize("decay", [0.0, -1e-4, -50.0, -1000.0, -math.inf])
def test_extreme_decays_are_finite_and_equal_in_all_forms(decay):
    """0 * -inf is NaN where a power 0 is formed without care; -inf forgets at once."""
    x, (log_decay, read, h) = tokens(2, 23), system()
    log_decay = torch.complex(torch.full_like(log_decay.real, decay), log_decay.imag)
    for lengths in (None, torch.tensor([23, 5])):
        results = []
        for form, size in FORMS:
            inputs = [t.clone().requires_grad_() for t in (x, log_decay, read, h)]
            y, state = call(*inputs, form, size, lengths)
            gradients = torch.autograd.grad(y.sum() + state.abs().square().sum(), inputs)
            assert all(
                torch.view_as_real(g).isfinite().all() if g.is_complex() else g.isfinite().all()
                for g in gradients
            )
            results.append((y.detach(), state.detach()))
        for got in results:
            torch.testing.assert_close(got, results[0], rtol=1e-10, atol=1e-10)
    if decay == -math.inf:
        torch.testing.assert_close(results[0][1][0], x[0, 22, :, None].expand(3, 4).to(torch.complex128))


def test_sums_are_wide_whatever_the_tokens():
    """1,000 ones in bfloat16 without decay are 1,000, and not the 256 of a bfloat16 sum."""
    log_decay = torch.zeros(1, 1, dtype=torch.complex64)
    for form, size in FORMS:
        x = torch.ones(1, 1000, 1, dtype=torch.bfloat16)
        y, state = ops.diagonal_space(x, log_decay, torch.ones_like(log_decay), form=form, chunk_size=size)
        assert (y.dtype, state.dtype) == (torch.bfloat16, torch.complex64)
        assert state.item().real == pytest.approx(1000, rel=1e-5)
        assert y[0, -1].item() == 1000


def test_half_precision_autocast_changes_nothing():
    x, (log_decay, read, h) = tokens(2, 40).float(), system()
    h = h.to(torch.complex64)
    for form, size in FORMS:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = call(x, log_decay, read, h, form, size)
        torch.testing.assert_close(got, call(x, log_decay, read, h, form, size))


def test_no_tokens_give_the_state_back():
    log_decay, read, h = system()
    y, state = ops.diagonal_space(tokens(2, 0), log_decay, read, initial_state=h)
    assert y.shape == (2, 0, 3)
    assert torch.equal(state, h)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": torch.ones(2, 3)}, ValueError, r"x: expected 3 axes \(B, T, D\), got shape \(2, 3\)"),
        ({"x": torch.ones(2, 5, 3, dtype=torch.int64)}, TypeError, "x: expected a floating-point tensor"),
        ({"log_decay": torch.ones(3, 4)}, TypeError, "log_decay: expected a complex tensor, got a tensor of"),
        ({"read": torch.ones(3, 5) + 0j}, ValueError, r"read: expected shape \(3, 4\), got \(3, 5\)"),
        (
            {"initial_state": torch.ones(1, 3, 4) + 0j},
            ValueError,
            r"initial_state: expected shape \(2, 3, 4\)",
        ),
        (
            {"lengths": torch.ones(3, dtype=torch.int64)},
            ValueError,
            "lengths: expected 2 integers, got shape",
        ),
        (
            {"form": "scan"},
            ValueError,
            "form: expected one of auto, naive, parallel, chunk, recurrent, compiled",
        ),
        ({"chunk_size": 0}, ValueError, "chunk_size: expected at least 1, got 0"),
        ({"form": "parallel", "chunk_size": 8}, ValueError, "chunk_size: only forms 'chunk' and 'auto'"),
    ],
)
def test_refusals_name_the_argument(change, error, words):
    log_decay, read, _ = system()
    given = {"x": tokens(2, 5), "log_decay": log_decay, "read": read, **change}
    with pytest.raises(error, match=words):
        ops.diagonal_space(**given)


def test_no_rows_give_no_rows():
    for form, size in FORMS:
        x, (log_decay, read, h) = tokens(0, 20), system(batch=0)
        for lengths in (None, torch.ones(0, dtype=torch.int64)):
            y, state = call(x, log_decay, read, h, form, size, lengths)
            assert (y.shape, state.shape) == ((0, 20, 3), (0, 3, 4))


def test_the_plan_takes_larger_blocks_the_more_tokens_share_them():
    def plan(batch, length, **options):
        return tuple(ops.diagonal_space_plan(torch.empty(batch, length, 3).double(), **options))

    assert plan(9, 1) == ("recurrent", None)
    assert plan(1, 784) == ("chunk", 16)
    assert plan(1, 4096) == ("chunk", 32)
    assert plan(32, 784) == ("chunk", 64)
    assert plan(32, 784, chunk_size=7) == ("chunk", 7)
    assert plan(32, 784, form="parallel") == ("parallel", None)


def test_long_rows_in_float32_keep_their_phase():
    """A decay rounded to float32 alone turns wrong at each of 4,000 tokens: 1.2e-5."""
    log_decay, read, h = system()
    log_decay = torch.complex(torch.full_like(log_decay.real, -1e-3), log_decay.imag)
    x = tokens(1, 4000)
    with torch.no_grad():
        want = call(x, log_decay, read, h[:1], "naive", None)[0]
        for form in ("recurrent", "parallel", "chunk"):
            y = call(x.float(), log_decay, read, h[:1].to(torch.complex64), form, None)[0]
            assert ((y - want).norm() / want.norm()).item() < 6e-6, form
