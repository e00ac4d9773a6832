"""Pieces of rows are affine maps of states, and compose as the tokens follow one another."""

from collections.abc import Callable
from functools import partial, reduce

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linsight import ops
from linsight.nn import ShortConvolution

B, H, K, V = 2, 2, 3, 4


def _pieces(decays: str, seed: int, number: int) -> tuple[list[ops.Piece], Tensor]:
    draw = partial(torch.randn, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    made = {
        "none": lambda: ops.Piece(draw(B, K, V)),
        "numbers": lambda: ops.Piece(draw(B, K, V), draw(B, K, 1)),
        "complex": lambda: ops.Piece(
            torch.complex(draw(B, K, V), draw(B, K, V)), torch.complex(draw(K, V), draw(K, V))
        ),
        "matrix": lambda: ops.Piece(draw(B, K, V), draw(B, K, K), matrix=True),
    }
    return [made[decays]() for _ in range(number)], draw(B, K, V)


@given(st.sampled_from(["none", "numbers", "complex", "matrix"]), st.integers(0, 99), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_composition_is_associative_and_is_one_piece_after_another(decays, seed, number) -> None:
    pieces, state = _pieces(decays, seed, number)
    forwards = reduce(ops.Piece.then, pieces)
    backwards = reduce(lambda later, one: one.then(later), reversed(pieces))
    expected = reduce(lambda s, piece: piece(s), pieces, state)
    for whole in (forwards, backwards):
        torch.testing.assert_close(whole(state), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(forwards(None), reduce(lambda s, piece: piece(s), pieces, 0 * state))


def test_a_matrix_after_numbers_is_refused() -> None:
    numbers, matrix = _pieces("numbers", 0, 1)[0][0], _pieces("matrix", 0, 1)[0][0]
    with pytest.raises(ValueError, match="same recurrence"):
        numbers.then(matrix)


def _linear(decay: str, normalise: bool, x: dict[str, Tensor]) -> tuple[Callable, Callable]:
    g = {"none": None, "head": -x["beta"][0, 0], "token": -x["beta"], "feature": -x["k"].abs() * 40}[decay]
    g = g if decay not in ("token", "feature") else torch.where(x["reset"], -torch.inf, g)  # pyright: ignore[reportArgumentType]

    def cut(s: slice) -> Tensor | None:
        return g if g is None or g.ndim == 1 else g[:, s]

    def op(s, state):
        k, v = x["k"][:, s], x["v"][:, s]
        form = "naive"
        return ops.linear_attention(k, k, v, cut(s), initial_state=state, normalise=normalise, form=form)[1]

    def piece(s):
        return ops.linear_attention_piece(x["k"][:, s], x["v"][:, s], cut(s), normalise=normalise)

    return op, piece


def _delta(decay: str, x: dict[str, Tensor]) -> tuple[Callable, Callable]:
    g = {"none": None, "token": -x["beta"], "feature": -x["k"].abs()}[decay]

    def op(s, state):
        k, v, beta = x["k"][:, s], x["v"][:, s], x["beta"][:, s]
        return ops.delta_rule(k, k, v, beta, g if g is None else g[:, s], initial_state=state, form="naive")[
            1
        ]

    def piece(s):
        return ops.delta_rule_piece(x["k"][:, s], x["v"][:, s], x["beta"][:, s], g if g is None else g[:, s])

    return op, piece


def _scan(x: dict[str, Tensor]) -> tuple[Callable, Callable]:
    u, delta, A = x["u"], x["u"].abs(), -x["A"].abs()
    b = x["k"][:, :, 0, :2]

    def op(s, state):
        return ops.selective_scan(
            u[:, s], delta[:, s], A, b[:, s], b[:, s], initial_state=state, form="naive"
        )[1]

    return op, lambda s: ops.selective_scan_piece(u[:, s], delta[:, s], A, b[:, s])


def _space(x: dict[str, Tensor]) -> tuple[Callable, Callable]:
    log_decay = torch.complex(-x["A"].abs(), 3 * x["A"])

    def op(s, state):
        return ops.diagonal_space(x["u"][:, s], log_decay, log_decay, initial_state=state, form="naive")[1]

    return op, lambda s: ops.diagonal_space_piece(x["u"][:, s], log_decay)


def _window(x: dict[str, Tensor]) -> tuple[Callable, Callable]:
    convolution = ShortConvolution(K, taps=4).double()
    return lambda s, state: convolution(x["u"][:, s], state)[1], lambda s: convolution.piece(x["u"][:, s])


SUBJECTS: dict[str, Callable[[dict[str, Tensor]], tuple[Callable, Callable]]] = {
    "linear": partial(_linear, "none", False),
    "linear normalised": partial(_linear, "none", True),
    "linear by head": partial(_linear, "head", False),
    "linear by token": partial(_linear, "token", True),
    "linear by feature": partial(_linear, "feature", False),
    "delta": partial(_delta, "none"),
    "delta by token": partial(_delta, "token"),
    "delta by feature": partial(_delta, "feature"),
    "scan": _scan,
    "space": _space,
    "window": _window,
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_piece_does_to_any_state_what_its_tokens_do(name) -> None:
    """State and gradients against the definition, from any state; whole, and in cuts that compose."""
    length = 9
    draw = partial(torch.randn, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    x = {"k": draw(B, length, H, K), "v": draw(B, length, H, V), "u": draw(B, length, K), "A": draw(K, 2)}
    x["k"] = x["k"] / x["k"].norm(dim=-1, keepdim=True)
    x["beta"] = torch.sigmoid(draw(B, length, H))
    leaves = [tensor.requires_grad_() for tensor in x.values() if tensor.is_leaf]
    axes = (B, length, H, K) if "feature" in name else (B, length, H)
    x["reset"] = torch.zeros(axes, dtype=torch.bool)
    x["reset"][0, 4] = True
    op, piece = SUBJECTS[name](x)
    start = torch.randn_like(op(slice(0, length), None)).requires_grad_()
    expected = op(slice(0, length), start)
    goal = torch.randn_like(expected)
    cuts = [slice(0, 1), slice(1, 3), slice(3, 9)]
    for found in (piece(slice(0, length))(start), reduce(ops.Piece.then, map(piece, cuts))(start)):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        pair = (
            torch.autograd.grad(
                (value * goal.conj()).real.sum(), [*leaves, start], retain_graph=True, materialize_grads=True
            )
            for value in (found, expected)
        )
        for got, wanted in zip(*pair, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("taps", [1, 2, 5])
def test_the_window_of_padded_pieces_is_that_of_the_whole_row(taps) -> None:
    """Rows of 0, 1 and all tokens in pieces shorter than the window."""
    convolution = ShortConvolution(2, taps=taps, bias=False).double()
    counts = [torch.tensor([2, 2, 0]), torch.tensor([1, 2, 0]), torch.tensor([0, 2, 1])]
    state = torch.randn(3, taps - 1, 2, dtype=torch.float64)
    expected, pieces = state, []
    for count in counts:
        x = torch.randn(3, 2, 2, dtype=torch.float64)
        valid = torch.arange(2) < count[:, None]
        pieces.append(convolution.piece(x, valid))
        expected = convolution(x, expected, valid)[1]
    assert torch.equal(reduce(ops.Piece.then, pieces)(state), expected)


def test_padded_rows_of_a_diagonal_space_have_pieces_of_their_own_length() -> None:
    x = torch.randn(3, 6, 2, dtype=torch.float64)
    log_decay = torch.complex(-torch.rand(2, 3, dtype=torch.float64), torch.rand(2, 3, dtype=torch.float64))
    state = torch.randn(3, 2, 3, dtype=torch.complex128)
    lengths = torch.tensor([6, 0, 2])
    expected = ops.diagonal_space(
        x, log_decay, log_decay, initial_state=state, lengths=lengths, form="naive"
    )[1]
    torch.testing.assert_close(ops.diagonal_space_piece(x, log_decay, lengths=lengths)(state), expected)
