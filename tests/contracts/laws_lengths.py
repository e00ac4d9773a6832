"""Law 4 of the mixer contract, lengths: a padded row is its own solo run (spec/mixers.md, section 2)."""

from collections.abc import Sequence

import torch
from laws import Contract, State, assert_close, assert_same_sequences, assert_states, rows
from torch import Tensor

NAN = float("nan")


def padding(lengths: Tensor, length: int) -> Tensor:
    """True at the padded positions, `(batch, length)`."""
    return torch.arange(length) >= lengths[:, None]


def padded(x: Tensor, lengths: Tensor, filler: float) -> Tensor:
    """`x` with `filler` in the padded positions."""
    return torch.where(padding(lengths, x.shape[1])[..., None], torch.full_like(x, filler), x)


def solo(
    mixer: Contract, x: Tensor, lengths: Tensor, state: State | None, row: int
) -> tuple[Tensor, State | None]:
    """Row `row` alone, without its padding; a row of length 0 keeps the state it had."""
    own = None if state is None else rows(state, [row])
    size = int(lengths[row])
    if size == 0:
        return x[row : row + 1, :0], mixer.initial_state(1) if own is None and mixer.causal else own
    return mixer(x[row : row + 1, :size], own)


def lengths_law(
    mixer: Contract, x: Tensor, lengths: Tensor, tolerance: float, state: State | None = None
) -> None:
    """Every row equals its solo run, `y` is 0 at padding, and the padding (NaN too) does not matter."""
    results = [mixer(padded(x, lengths, filler), state, lengths) for filler in (0.0, 1e3, NAN)]
    y, final = results[0]
    assert y.shape == x.shape
    assert (y[padding(lengths, x.shape[1])] == 0).all(), "y is not 0 at padded positions"
    for filler, (other, other_final) in zip((1e3, NAN), results[1:], strict=True):
        assert torch.equal(other, y), f"padding of {filler} changes the outputs"
        if final is not None:
            assert_states(other_final, final, 0.0, f"padding of {filler}")
    for row, size in enumerate(lengths.tolist()):
        want, want_final = solo(mixer, x, lengths, state, row)
        assert_close(y[row : row + 1, :size], want, tolerance, f"row {row} of length {size}")
        assert (final is None) == (want_final is None)
        if final is not None and want_final is not None:
            assert_same_sequences(rows(final, [row]), want_final, tolerance, f"row {row} of length {size}")


def ragged_law(mixer: Contract, x: Tensor, pieces: Sequence[Tensor], tolerance: float) -> None:
    """Ragged pieces with the state carried: each row goes on from its own position.

    `pieces` holds the lengths `(batch,)` of each; piece p takes the next `max(pieces[p])` columns of `x`.
    """
    state, start = None, 0
    taken: list[list[Tensor]] = [[] for _ in x]
    got: list[list[Tensor]] = [[] for _ in x]
    for lengths in pieces:
        width = int(lengths.max())
        piece = x[:, start : start + width]
        y, state = mixer(padded(piece, lengths, NAN), state, lengths)
        for row, size in enumerate(lengths.tolist()):
            taken[row].append(piece[row, :size])
            got[row].append(y[row, :size])
        start += width
    for row in range(len(x)):
        want, final = mixer(torch.cat(taken[row])[None])
        assert_close(torch.cat(got[row])[None], want, tolerance, f"row {row} in ragged pieces")
        assert_same_sequences(rows(state, [row]), final, tolerance, f"row {row} in ragged pieces")


def padding_gradient_law(mixer: Contract, x: Tensor, lengths: Tensor, tolerance: float) -> None:
    """Padding, NaN too, reaches no gradient: 0 there, the solo runs' elsewhere, their sum for parameters."""
    parameters = list(mixer.parameters())
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)

    def loss(y: Tensor, final: State | None, weight: Tensor) -> Tensor:
        total = (y * weight).sum()
        for tensor in final or ():
            total = total + tensor.square().sum() if tensor.is_floating_point() else total
        return total

    hidden = padding(lengths, x.shape[1])
    fillers = (3.0, NAN)
    found = []
    for filler in fillers:
        leaf = padded(x, lengths, filler).requires_grad_()
        found.append(torch.autograd.grad(loss(*mixer(leaf, None, lengths), weights), [leaf, *parameters]))
    want = torch.zeros_like(x)
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for row, size in enumerate(lengths.tolist()):
        if size == 0:
            continue
        alone = x[row : row + 1, :size].clone().requires_grad_()
        parts = torch.autograd.grad(loss(*mixer(alone), weights[row : row + 1, :size]), [alone, *parameters])
        want[row, :size] = parts[0][0]
        sums = [total + part for total, part in zip(sums, parts[1:], strict=True)]
    for filler, grads in zip(fillers, found, strict=True):
        assert (grads[0][hidden] == 0).all(), f"positions padded with {filler} receive a gradient"
        assert_close(grads[0], want, tolerance, f"gradient of x padded with {filler}")
        for (name, _), got, total in zip(mixer.named_parameters(), grads[1:], sums, strict=True):
            assert_close(got, total, tolerance, f"gradient of {name} with padding of {filler}")
