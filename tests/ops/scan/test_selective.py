"""The selective scan against its recurrence in numpy, its own forms, and the laws of its state."""

import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from allocations import Allocations
from hypothesis import given
from hypothesis import strategies as st
from linear_cases import assert_equal, relative_error

from linsight import ops

NAMES = ("u", "delta", "A", "B", "C", "D", "initial_state")
FORMS = (("naive", None), ("recurrent", None), ("chunk", 1), ("chunk", 7), ("chunk", None), ("auto", 5))


def arguments(batch, length, channels, states, *, dtype=torch.float64, seed=0):
    """Random arguments, of decays from none to strong."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        "u": normal(batch, length, channels),
        "delta": normal(batch, length, channels).abs() ** 3,
        "A": -normal(channels, states).exp(),
        "B": normal(batch, length, states),
        "C": normal(batch, length, states),
        "D": normal(channels),
        "initial_state": normal(batch, channels, states),
    }


def literal(u, delta, A, B, C, D, initial_state):
    """The recurrence one number at a time."""
    u, delta, A, B, C, D = (x.double().numpy() for x in (u, delta, A, B, C, D))
    h, y = initial_state.double().numpy().copy(), np.zeros(u.shape)
    for b, t, d in np.ndindex(u.shape):
        y[b, t, d] = D[d] * u[b, t, d]
        for n in range(A.shape[1]):
            h[b, d, n] = (
                np.exp(delta[b, t, d] * A[d, n]) * h[b, d, n] + delta[b, t, d] * B[b, t, n] * u[b, t, d]
            )
            y[b, t, d] += C[b, t, n] * h[b, d, n]
    return torch.from_numpy(y), torch.from_numpy(h)


def results(given, form="naive", chunk_size=None, *, of=(True, True), autocast=False):
    """Outputs, final state, and all gradients of a random loss on outputs, the final state, or both."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in given.items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = ops.selective_scan(**leaves, form=form, chunk_size=chunk_size)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) for x in found]
    pairs = [(x, w) for x, w, wanted in zip(found, weights, of, strict=True) if wanted]
    gradients = torch.autograd.grad(
        [x for x, _ in pairs], list(leaves.values()), [w for _, w in pairs], materialize_grads=True
    )
    named = {f"grad of {name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {"y": found[0].detach(), "final state": found[1].detach(), **named}


@pytest.mark.parametrize(("form", "chunk_size"), FORMS)
def test_worked_example(form, chunk_size):
    """One channel, N = 1, A = -1, D = 1: y = 2, 2.252419 and h = 0.5, 0.252419."""
    u, delta, B, C = torch.tensor([[1, 2], [0.5, 0.1], [1, -1], [2, 1]]).double().view(4, 1, 2, 1).unbind(0)
    one = torch.ones(1, dtype=torch.float64)
    y, h = ops.selective_scan(u, delta, -one[:, None], B, C, one, form=form, chunk_size=chunk_size)
    assert y.flatten().tolist() == pytest.approx([2, 2.252419], abs=1e-6)
    assert h.flatten().tolist() == pytest.approx([0.252419], abs=1e-6)


@pytest.mark.parametrize(("form", "chunk_size"), FORMS)
def test_every_form_is_the_recurrence(form, chunk_size):
    given = arguments(2, 9, 3, 4)
    y, h = ops.selective_scan(**given, form=form, chunk_size=chunk_size)
    expected = literal(**given)
    assert relative_error(y, expected[0]) < 1e-13
    assert relative_error(h, expected[1]) < 1e-13


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 99])
def test_forms_agree_in_values_and_all_gradients(length):
    for channels, states in ((1, 1), (15, 8), (17, 16), (2, 17)):
        single = arguments(2, length, channels, states, dtype=torch.float32)
        double = {name: x.double() for name, x in single.items()}
        expected = results(double)
        for form, chunk_size in (("recurrent", None), ("chunk", 7), ("chunk", None)):
            assert_equal(results(double, form, chunk_size), expected, 1e-12)
            assert_equal(results(single, form, chunk_size), expected, 2e-6, dtype=torch.float32)


@pytest.mark.parametrize("of", [(True, False), (False, True)])
def test_gradients_of_outputs_or_of_the_final_state_alone(of):
    given = arguments(2, 10, 3, 4)
    for form, chunk_size in (("recurrent", None), ("chunk", 4), ("chunk", None)):
        assert_equal(results(given, form, chunk_size, of=of), results(given, of=of), 1e-12)


def test_rows_that_do_not_fit_a_buffer_together_are_taken_apart(monkeypatch):
    """Every number of rows at a time, the last group smaller, is one function with one gradient."""
    given = arguments(5, 9, 3, 4)
    expected = results(given)
    for rows in (1, 2, 5):
        monkeypatch.setattr("linsight.ops.scan.chunk.CACHE", rows * 4 * 3 * 4 * 8)
        assert_equal(results(given, "chunk", 4), expected, 1e-12)


@pytest.mark.parametrize("form", ["naive", "recurrent", "chunk"])
def test_gradcheck(form):
    given = arguments(2, 5, 2, 3)
    given["delta"][1, 3:] = 0.2  # away from 0, where a step back would be negative time

    def run(*tensors):
        chunk_size = 2 if form == "chunk" else None
        return ops.selective_scan(**dict(zip(NAMES, tensors, strict=True)), form=form, chunk_size=chunk_size)

    assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in given.values()])


@given(
    pieces=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    form=st.sampled_from(FORMS),
    seed=st.integers(0, 99),
)
def test_split_law(pieces, form, seed):
    given = arguments(2, sum(pieces), 3, 2, seed=seed)
    y, final = ops.selective_scan(**given)
    state, outputs = given["initial_state"], []
    cut = {name: given[name].split(pieces, dim=1) for name in ("u", "delta", "B", "C")}
    for parts in zip(*cut.values(), strict=True):
        piece = dict(zip(cut, parts, strict=True))
        out, state = ops.selective_scan(
            **{**given, **piece, "initial_state": state}, form=form[0], chunk_size=form[1]
        )
        outputs.append(out)
    assert relative_error(torch.cat(outputs, dim=1), y) < 1e-12
    assert relative_error(state, final) < 1e-12


@pytest.mark.parametrize(("form", "chunk_size"), FORMS)
def test_a_token_of_no_time_is_as_if_absent(form, chunk_size):
    given = arguments(1, 8, 3, 2)
    given["delta"][:, 3:6] = 0
    y, final = ops.selective_scan(**given, form=form, chunk_size=chunk_size)
    keep = [0, 1, 2, 6, 7]
    fewer = {name: x[:, keep] if name in ("u", "delta", "B", "C") else x for name, x in given.items()}
    short, state = ops.selective_scan(**fewer)
    torch.testing.assert_close(y[:, keep], short)
    torch.testing.assert_close(final, state)


@pytest.mark.parametrize(("form", "chunk_size"), FORMS)
@pytest.mark.parametrize("exponent", [0.0, -1e-4, -50.0, -1000.0, float("-inf")])
def test_extreme_decays_are_finite_and_right(form, chunk_size, exponent):
    """Exponents delta A from none to a reset, here and there among mild ones; -inf by overflow."""
    given = arguments(2, 20, 3, 4, dtype=torch.float32)
    if exponent == 0:
        given["A"][:] = 0
    elif exponent == float("-inf"):
        given["A"][1] = -3e38
        given["delta"][:, ::3] = 10
    else:
        given["A"][1] = exponent
        given["delta"][:, ::3] = 1
    found = results(given, form, chunk_size)
    assert all(x.isfinite().all() for x in found.values())
    exact = results({name: x.double() for name, x in given.items()})
    for name, x in found.items():
        assert relative_error(x, exact[name]) < 2e-6, name


def test_decays_near_the_least_number_are_resets_and_not_denormal():
    """exp(-95) = 5.5e-42 in float32, with which every product is slow; exp(-60) = 8.8e-27 is kept."""
    one, zero = torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
    for exponent, kept in ((-95.0, 0.0), (-60.0, 8.756511e-27)):
        rate = torch.full((1, 1), exponent)
        _, state = ops.selective_scan(zero, one, rate, one, one, initial_state=one, form="chunk")
        assert state.item() == pytest.approx(kept, rel=1e-6, abs=0)


@pytest.mark.parametrize(("form", "chunk_size"), FORMS)
@pytest.mark.parametrize("name", ["u", "delta", "B", "C"])
def test_nan_in_gives_nan_out(form, chunk_size, name):
    given = arguments(1, 9, 3, 4)
    given[name][:, 4, 0] = float("nan")
    y, _ = ops.selective_scan(**given, form=form, chunk_size=chunk_size)
    assert not y[:, :4].isnan().any()
    assert y[:, 4].isnan().any()


def test_bfloat16_inputs_have_float32_states():
    """512 ones: a bfloat16 sum stops at 256."""
    ones = torch.ones(1, 512, 1, dtype=torch.bfloat16)
    for form, chunk_size in FORMS:
        y, h = ops.selective_scan(ones, ones, torch.zeros(1, 1), ones, ones, form=form, chunk_size=chunk_size)
        assert y.dtype is torch.bfloat16
        assert h.dtype is torch.float32
        assert h.item() == y[0, -1].item() == 512


def test_autocast_changes_nothing():
    given = arguments(1, 40, 3, 4, dtype=torch.float32)
    for form, chunk_size in FORMS:
        under = results(given, form, chunk_size, autocast=True)
        assert_equal(under, results(given, form, chunk_size), 0, dtype=torch.float32)


def test_strides_do_not_matter():
    given = arguments(2, 9, 3, 4)
    strided = {name: x.mT.contiguous().mT if x.ndim > 1 else x for name, x in given.items()}
    for form, chunk_size in FORMS:
        assert_equal(results(strided, form, chunk_size), results(given, form, chunk_size), 1e-14)


@pytest.mark.parametrize("sizes", [(0, 3, 2, 2), (2, 0, 2, 2), (2, 3, 0, 2), (2, 3, 2, 0)])
def test_sizes_of_zero(sizes):
    given = arguments(*sizes)
    for form, chunk_size in FORMS:
        y, final = ops.selective_scan(**given, form=form, chunk_size=chunk_size)
        assert y.shape == given["u"].shape
        assert torch.equal(final, given["initial_state"]) or sizes[1]
        if sizes[3] == 0:
            torch.testing.assert_close(y, given["u"] * given["D"])


def test_the_state_given_is_not_written_to():
    given = arguments(1, 9, 3, 4, dtype=torch.float32)
    before = given["initial_state"].clone()
    for form, chunk_size in FORMS:
        ops.selective_scan(**given, form=form, chunk_size=chunk_size)
        assert torch.equal(given["initial_state"], before)


@pytest.mark.parametrize("gradient", [False, True])
def test_all_states_are_never_held(gradient):
    """Less than half of [T, D, N] at any one time, backward included; a log-depth scan holds several."""
    given = arguments(1, 512, 16, 64, dtype=torch.float32)
    leaves = {name: x.requires_grad_(gradient) for name, x in given.items()}
    with Allocations(*leaves.values()) as watch:
        y, state = ops.selective_scan(**leaves)
        if gradient:
            (y.sum() + state.sum()).backward()
    assert watch.largest <= 4 * 33 * 16 * 64
    assert watch.peak < 4 * 512 * 16 * 64 / 2


def test_a_step_makes_nothing_larger_than_the_state():
    given = arguments(1, 1, 16, 16, dtype=torch.float32)
    with Allocations(*given.values()) as watch:
        ops.selective_scan(**given)
    assert watch.largest <= 4 * 16 * 16


REFUSED = [
    (ValueError, "u: expected 3 axes (batch, length, channels), got shape (2, 5)", {"u": torch.rand(2, 5)}),
    (
        TypeError,
        "u: expected a floating-point tensor, got a tensor of torch.int64",
        {"u": torch.ones(2, 5, 3).long()},
    ),
    (ValueError, "A: expected 2 axes (channels, states), got shape (3,)", {"A": torch.rand(3)}),
    (ValueError, "A: expected shape (3, 4), got (5, 4)", {"A": torch.rand(5, 4)}),
    (ValueError, "delta: expected shape (2, 5, 3), got (2, 5, 1)", {"delta": torch.rand(2, 5, 1)}),
    (ValueError, "B: expected shape (2, 5, 4), got (2, 4, 5)", {"B": torch.rand(2, 4, 5)}),
    (ValueError, "C: expected device cpu as of u, got meta", {"C": torch.zeros(2, 5, 4, device="meta")}),
    (ValueError, "D: expected shape (3,), got (4,)", {"D": torch.rand(4)}),
    (
        ValueError,
        "initial_state: expected shape (2, 3, 4), got (2, 4, 3)",
        {"initial_state": torch.rand(2, 4, 3)},
    ),
    (ValueError, "form: expected one of auto, naive, chunk, recurrent, compiled, got 'fft'", {"form": "fft"}),
    (
        ValueError,
        "chunk_size: only forms 'chunk' and 'auto' have chunks, got it with form 'naive'",
        {"form": "naive", "chunk_size": 4},
    ),
    (ValueError, "chunk_size: expected at least 1, got 0", {"chunk_size": 0}),
]


@pytest.mark.parametrize(("error", "message", "change"), REFUSED)
def test_refusals(error, message, change):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        ops.selective_scan(**{**arguments(2, 5, 3, 4), **change})


PROGRAM = """
    import torch
    from linsight import ops

    class Op(torch.nn.Module):
        def __init__(self, **options):
            super().__init__()
            self.options = options

        def forward(self, u, delta, A, B, C, D, initial_state):
            return ops.selective_scan(u, delta, A, B, C, D, initial_state=initial_state, **self.options)

    def arguments(length):
        torch.manual_seed(0)
        sizes = [(2, length, 3), (2, length, 3), (3, 4), (2, length, 4), (2, length, 4), (3,), (2, 3, 4)]
        u, delta, A, *others = (torch.rand(size) for size in sizes)
        return u, delta, -A, *others

    for length in (1, 10):
        op, args = Op(chunk_size=4), arguments(length)
        for actual, expected in zip(torch.export.export(op, args).module()(*args), op(*args), strict=True):
            torch.testing.assert_close(actual, expected)
        torch._dynamo.reset()
        compiled = torch.compile(op, backend="aot_eager", fullgraph=True)

        def gradients(function):
            leaves = [x.clone().requires_grad_() for x in args]
            y, final = function(*leaves)
            return (y, final, *torch.autograd.grad(y.sum() + final.square().sum(), leaves))

        for actual, expected in zip(gradients(compiled), gradients(op), strict=True):
            torch.testing.assert_close(actual, expected)
"""


@pytest.mark.slow
def test_traced_calls_equal_eager_ones():
    """In a process of its own: shape checks, which the suite installs, cannot be traced."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
