"""The low-rank state space against dense matrices of the whole LegS system, and its laws."""

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linsight import nn, ops

FORMS = (
    ("naive", None),
    ("recurrent", None),
    ("chunk", 1),
    ("chunk", 8),
    ("chunk", None),
    ("parallel", None),
    ("auto", None),
)
LENGTHS = (1, 2, 7, 8, 9, 16, 33, 64, 65, 101)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def legs(channels: int, states: int) -> ops.LowRankSystem:
    """LegS itself, at steps from 0.001 to 0.1."""
    values, P, B, _ = nn.normal_low_rank("legs", states)
    half = states // 2
    kept = (part[:half].expand(channels, -1) for part in (values, P[:, 0], B))
    C = torch.complex(draw(channels, half), draw(channels, half, seed=1))
    return ops.LowRankSystem(*kept, C, torch.logspace(-3, -1, channels, dtype=torch.float64))


def learnt(channels: int = 3, pairs: int = 3) -> ops.LowRankSystem:
    """Any system, as training may leave one."""
    parts = [
        torch.complex(draw(channels, pairs, seed=n), draw(channels, pairs, seed=9 + n)) for n in range(4)
    ]
    values = torch.complex(-parts[0].real.abs() - 0.1, 3 * parts[0].imag)
    return ops.LowRankSystem(values, *parts[1:], 0.05 + draw(channels).abs())


def dense(system: ops.LowRankSystem, channel: int):
    """A, B, C of all N states, both halves, complex; by definition."""
    values, P, B, C, _ = (part[channel].numpy() for part in system)
    full = [np.concatenate([part, part.conj()]) for part in (values, P, B, C)]
    return np.diag(full[0]) - np.outer(full[1], full[1].conj()), full[2], full[3]


def bilinear(A, B, dt):
    left = np.linalg.inv(np.eye(len(A)) - dt / 2 * A)
    return left @ (np.eye(len(A)) + dt / 2 * A), left @ B * dt


def loop(x, system, h, lengths=None):
    """Token by token with the dense complex matrix of all N states."""
    y, final = np.zeros(x.shape), h.numpy().copy()
    for d in range(x.shape[2]):
        A, B, C = dense(system, d)
        A, B = bilinear(A, B, system.dt[d].item())
        for b in range(x.shape[0]):
            state = np.concatenate([h[b, d].numpy(), h[b, d].numpy().conj()])
            for t in range(x.shape[1] if lengths is None else int(lengths[b])):
                state = A @ state + B * x[b, t, d].item()
                y[b, t, d] = (C @ state).real
            final[b, d] = state[: h.shape[-1]]
    return torch.from_numpy(y), torch.from_numpy(final)


def call(x, system, h, form, size, lengths=None):
    return ops.low_rank_space(x, system, initial_state=h, lengths=lengths, form=form, chunk_size=size)


def state(batch: int = 2, channels: int = 3, pairs: int = 3) -> Tensor:
    return torch.complex(draw(batch, channels, pairs, seed=5), draw(batch, channels, pairs, seed=6))


def test_the_kernel_of_legs_is_that_of_its_dense_matrix():
    """N = 64, L = 1,024: real matrices of LegS by scipy, multiplied out; not of the diagonalised system."""
    system, order = legs(3, 64), 64
    A, B = nn.hippo("legs", order)
    V = nn.normal_low_rank("legs", order).V
    kernel = ops.low_rank_kernel(system, 1024)
    for d in range(3):
        half = system.C[d].numpy()
        row = (np.concatenate([half, np.zeros(32)]) @ V.numpy().conj().T) * 2  # y = 2 Re C z, z = V^* x
        dense_system = (A.numpy(), B[:, None].numpy(), row.real[None], np.zeros((1, 1)))
        # scipy's output matrix is another, for its bilinear states are; A_bar and B_bar are the same.
        A_bar, B_bar, *_ = scipy.signal.cont2discrete(dense_system, system.dt[d].item(), method="bilinear")
        x, want = B_bar[:, 0], []
        for _ in range(1024):
            want.append(row.real @ x)
            x = A_bar @ x
        assert np.abs(kernel[d].numpy() - want).max() < 1e-8


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 16, 50, 97])
def test_the_kernel_at_every_kind_of_length(length):
    """Even ones have z = -1 among the roots of unity, where g = 2 (1 - z) / (1 + z) / dt is infinite."""
    system = learnt()
    kernel = ops.low_rank_kernel(system, length)
    for d in range(3):
        A, B, C = dense(system, d)
        A, B = bilinear(A, B, system.dt[d].item())
        want = [(C @ np.linalg.matrix_power(A, n) @ B).real for n in range(length)]
        np.testing.assert_allclose(kernel[d], want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", LENGTHS)
def test_every_form_is_the_dense_loop(length):
    x, system, h = draw(2, length, 3, seed=7), learnt(), state()
    want = loop(x, system, h)
    for form, size in FORMS:
        torch.testing.assert_close(call(x, system, h, form, size), want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("length", [1, 8, 9, 40, 65])
def test_rows_end_at_their_own_length_whatever_their_padding_holds(length):
    x, system, h = draw(4, length, 3, seed=7), learnt(), state(4)
    lengths = torch.tensor([0, 1, length // 2, length])
    want = loop(x, system, h, lengths)
    x = torch.where((torch.arange(length) < lengths[:, None])[..., None], x, torch.nan)
    for form, size in FORMS:
        torch.testing.assert_close(call(x, system, h, form, size, lengths), want, rtol=0, atol=1e-11)


@settings(max_examples=25)
@given(length=st.integers(2, 80), data=st.data())
def test_the_split_law(length, data):
    cut = data.draw(st.integers(1, length - 1))
    x, system, h = draw(2, length, 3, seed=7), learnt(), state()
    for form, size in FORMS:
        whole = call(x, system, h, form, size)
        first, between = call(x[:, :cut], system, h, form, size)
        second, final = call(x[:, cut:], system, between, form, size)
        torch.testing.assert_close((torch.cat([first, second], 1), final), whole, rtol=0, atol=1e-11)


def test_gradients_of_every_form_agree():
    """Of tokens, state, and all five parts of the system; with losses on outputs and on the final state."""
    for lengths in (None, torch.tensor([30, 13])):
        found = {}
        for form, size in FORMS:
            inputs = [t.clone().requires_grad_() for t in (draw(2, 30, 3, seed=7), state(), *learnt())]
            y, final = call(inputs[0], ops.LowRankSystem(*inputs[2:]), inputs[1], form, size, lengths)
            found[form, size] = torch.autograd.grad(y.sin().sum() + final.abs().square().sum(), inputs)
        for got in found.values():
            torch.testing.assert_close(got, found["naive", None], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("form", "size"), [("naive", None), ("recurrent", None), ("chunk", 4), ("parallel", None)]
)
def test_gradcheck(form, size):
    inputs = [t.requires_grad_() for t in (draw(2, 11, 2, seed=7), state(2, 2, 2), *learnt(2, 2))]
    for lengths in (None, torch.tensor([11, 4])):
        assert torch.autograd.gradcheck(
            lambda x, h, *system, lengths=lengths: call(
                x, ops.LowRankSystem(*system), h, form, size, lengths
            ),
            inputs,
            fast_mode=True,
        )


def test_no_state_grows_at_steps_of_any_size():
    """The bilinear step of a matrix with A + A^* <= 0 is a contraction: |h| of the whole never grows."""
    for dt in (1e-3, 1.0, 1e3):
        system = learnt()._replace(dt=torch.full((3,), dt, dtype=torch.float64))
        h = state()
        norm = h.abs().square().sum(-1)
        for form, size in FORMS:
            later = call(torch.zeros(2, 9, 3, dtype=torch.float64), system, h, form, size)[1]
            assert (later.abs().square().sum(-1) <= norm * (1 + 1e-12)).all()


def test_no_rows_and_no_tokens():
    for form, size in FORMS:
        y, final = call(draw(0, 20, 3), learnt(), state(0), form, size)
        assert (y.shape, final.shape) == ((0, 20, 3), (0, 3, 3))
    y, final = ops.low_rank_space(draw(2, 0, 3), learnt(), initial_state=state())
    assert y.shape == (2, 0, 3)
    assert torch.equal(final, state())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": torch.ones(2, 3)}, ValueError, r"x: expected 3 axes \(B, T, D\), got shape \(2, 3\)"),
        ({"x": torch.ones(2, 5, 3, dtype=torch.int64)}, TypeError, "x: expected a floating-point tensor"),
        ({"x": torch.ones(2, 5, 4)}, ValueError, r"system.values: expected shape \(4, 3\), got \(3, 3\)"),
        (
            {"initial_state": torch.ones(1, 3, 3) + 0j},
            ValueError,
            r"initial_state: expected shape \(2, 3, 3\)",
        ),
        ({"lengths": torch.ones(3, dtype=torch.int64)}, ValueError, "lengths: expected 2 integers"),
        ({"form": "scan"}, ValueError, "form: expected one of auto, naive, parallel, chunk, recurrent"),
        ({"chunk_size": 12}, ValueError, "chunk_size: expected a power of 2, got 12"),
    ],
)
def test_refusals_name_the_argument(change, error, words):
    with pytest.raises(error, match=words):
        ops.low_rank_space(**{"x": draw(2, 5, 3), "system": learnt(), **change})
