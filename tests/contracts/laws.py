"""The laws of the mixer contract (spec/mixers.md, 2): functions that raise AssertionError on a breach.

A law sees a mixer only through its public call, so the same functions judge the planted faults of `faults`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

State = Any  # a NamedTuple of tensors, batch first
Contract = (
    Any  # any module called as `y, state = mixer(x, state, lengths)`, with the attributes of `faults.Honest`
)


def relative_rms(got: Tensor, want: Tensor) -> float:
    """RMS of the difference over the RMS of `want` (over 1 where `want` is zero throughout)."""
    if want.numel() == 0:
        return 0.0
    error = (got.double() - want.double()).square().mean().sqrt()
    scale = want.double().square().mean().sqrt()
    return (error / scale if scale > 0 else error).item()


def assert_close(got: Tensor, want: Tensor, tolerance: float, what: str) -> None:
    """Shape, dtype and value; whole numbers exactly, NaN never."""
    assert got.shape == want.shape, f"{what}: shape {tuple(got.shape)}, expected {tuple(want.shape)}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    if not want.is_floating_point():
        assert torch.equal(got, want), f"{what}: {got.tolist()}, expected {want.tolist()}"
        return
    error = relative_rms(got, want)
    assert error <= tolerance, f"{what}: relative RMS error {error:.3g} above {tolerance:.0e}"


def assert_states(got: State, want: State, tolerance: float, what: str) -> None:
    """Two states agree tensor by tensor, and are of one type."""
    assert type(got) is type(want), f"{what}: {type(got).__name__}, expected {type(want).__name__}"
    assert len(got) == len(want)
    for index, (one, other) in enumerate(zip(got, want, strict=True)):
        assert_close(one, other, tolerance, f"{what}, state tensor {index}")


def rows(state: State, index: Sequence[int]) -> State:
    """The state of some sequences of the batch, in the order named."""
    return type(state)(*(tensor[list(index)] for tensor in state))


def assert_same_sequences(got: State, want: State, tolerance: float, what: str) -> None:
    """As `assert_states`, but the room of a cache may differ as the batches did: unused room is 0."""

    def roomy(tensor: Tensor, other: Tensor) -> Tensor:
        grown = tensor.new_zeros([max(sizes) for sizes in zip(tensor.shape, other.shape, strict=True)])
        grown[tuple(slice(size) for size in tensor.shape)] = tensor
        return grown

    assert len(got) == len(want), f"{what}: {len(got)} rows, expected {len(want)}"
    pairs = list(zip(got, want, strict=True))
    got, want = (
        type(got)(*(roomy(*pair) for pair in pairs)),
        type(want)(*(roomy(*pair[::-1]) for pair in pairs)),
    )
    assert_states(got, want, tolerance, what)


def copied(state: State) -> State:
    """The same state in other memory."""
    return type(state)(*(tensor.detach().clone() for tensor in state))


def in_pieces(
    mixer: Contract, x: Tensor, sizes: Sequence[int], state: State | None = None
) -> tuple[Tensor, State]:
    """`mixer` called piece after piece with the state carried."""
    assert sum(sizes) == x.shape[1]
    outputs = []
    for piece in x.split(list(sizes), dim=1):
        y, state = mixer(piece, state)
        outputs.append(y)
    assert state is not None
    return torch.cat(outputs, dim=1), state


@contextmanager
def in_form(mixer: Contract, form: str) -> Iterator[Contract]:
    """`mixer` computing in `form`."""
    before = mixer.form
    mixer.form = form
    try:
        yield mixer
    finally:
        mixer.form = before


def split_law(
    mixer: Contract, x: Tensor, sizes: Sequence[int], tolerance: float, state: State | None = None
) -> None:
    """1, 12: pieces with the state carried equal the whole call, in output and final state."""
    whole, final = mixer(x, state)
    assert whole.shape == x.shape, f"y is {tuple(whole.shape)}, x {tuple(x.shape)}"
    y, carried = in_pieces(mixer, x, sizes, state)
    assert_close(y, whole, tolerance, f"y in pieces {tuple(sizes)}")
    assert_states(carried, final, tolerance, f"pieces {tuple(sizes)}")


def form_law(
    mixer: Contract, x: Tensor, tolerance: float, state: State | None = None, lengths: Tensor | None = None
) -> None:
    """2, 17: every form computes what `naive` computes, and `last_form` says which form it was."""
    with in_form(mixer, "naive"):
        want, final = mixer(x, state, lengths)
        assert mixer.last_form == "naive"
    for form in (*mixer.forms, "auto"):
        with in_form(mixer, form):
            y, got = mixer(x, state, lengths)
            assert_close(y, want, tolerance, f"form {form}")
            if final is None:
                assert got is None
            else:
                assert_states(got, final, tolerance, f"form {form}")
            chosen = mixer.last_form
            assert chosen in mixer.forms, f"last_form {chosen!r} is none of {mixer.forms}"
            assert form in ("auto", chosen), f"form {form!r} was asked for, last_form says {chosen!r}"


def causality_law(mixer: Contract, x: Tensor, start: int) -> None:
    """3: whatever happens at `start` and later, earlier outputs keep every bit."""
    want = mixer(x)[0][:, :start]
    for change in (lambda z: 5 * z, lambda z: 20 * z, lambda z: z + 7, lambda z: -z.flip(1)):
        other = torch.cat([x[:, :start], change(x[:, start:])], dim=1)
        y = mixer(other)[0]
        assert torch.equal(y[:, :start], want), f"outputs before {start} change with inputs from {start}"
        assert not torch.equal(y[:, start:], mixer(x)[0][:, start:]), "the perturbation has no effect at all"


def prefix_law(mixer: Contract, x: Tensor, start: int, tolerance: float) -> None:
    """3: the outputs of a prefix are the prefix of the outputs (no normaliser that knows the length)."""
    assert_close(mixer(x[:, :start])[0], mixer(x)[0][:, :start], tolerance, f"outputs of the first {start}")


def memory_law(mixer: Contract, x: Tensor) -> None:
    """No law is vacuous: the last output depends on the first input, outputs differ along time and batch."""
    other = x.clone()
    other[:, 0] += 1
    y = mixer(x)[0]
    assert (mixer(other)[0][:, -1] - y[:, -1]).abs().max() > 1e-6
    assert y.std(dim=0).min() > 1e-6
    assert y.std(dim=1).min() > 1e-6


def batch_law(mixer: Contract, x: Tensor, tolerance: float) -> None:
    """5: order, presence and content of other rows change no row; a state is a batch of states."""
    batch, half = x.shape[0], x.shape[1] // 2
    y, final = mixer(x)
    order = list(reversed(range(batch)))
    for index in (order, [0], [batch - 1, 0, 0]):
        part, state = mixer(x[index])
        assert_close(part, y[index], tolerance, f"rows {index}")
        assert (state is None) == (final is None)
        if final is not None:
            assert_same_sequences(state, rows(final, index), tolerance, f"rows {index}")
    for filler in (50.0, float("nan")):
        other = x.clone()
        other[0] = filler
        assert_close(mixer(other)[0][1:], y[1:], tolerance, f"rows beside one of {filler}")
    if final is None:
        return
    middle = mixer(x[:, :half])[1]
    for index in (order, [batch - 1, 0, 0]):
        rest, state = mixer(x[index, half:], rows(middle, index))
        assert_close(rest, y[index, half:], tolerance, f"continued rows {index}")
        assert_same_sequences(state, rows(final, index), tolerance, f"continued rows {index}")


def fork_law(mixer: Contract, x: Tensor) -> None:
    """A state may be continued twice: no continuation changes it, nor each other's results."""
    _, state = mixer(x)
    kept = copied(state)
    for size in (1, 2, x.shape[1]):
        first, after_first = mixer(x[:, :size], state)
        kept_first = copied(after_first)
        mixer(-x[:, :size], state)
        again, after_again = mixer(x[:, :size], state)
        mixer(x, after_again)
        assert_states(state, kept, 0.0, "a state continued twice")
        assert_states(after_first, kept_first, 0.0, "the first continuation after a second")
        assert torch.equal(first, again), "the same continuation twice gives two results"


def state_law(mixer: Contract, x: Tensor, accumulator: torch.dtype) -> None:
    """6: batch first, accumulators in `accumulator`, whole numbers int64; None is the initial state."""
    batch = x.shape[0]
    initial = mixer.initial_state(batch)
    for state in (initial, mixer(x)[1], mixer(x[:, :1], mixer(x)[1])[1]):
        assert hasattr(state, "_fields"), f"a state is a NamedTuple, not {type(state).__name__}"
        for name, tensor in zip(state._fields, state, strict=True):
            want = accumulator if tensor.is_floating_point() else torch.int64
            assert tensor.dtype == want, f"state.{name} is {tensor.dtype}, expected {want}"
            assert tensor.shape[0] == batch, f"state.{name}: {tuple(tensor.shape)} is not batch first"
    for got, want in zip(mixer(x, initial), mixer(x, None), strict=True):
        if isinstance(got, Tensor):
            assert torch.equal(got, want)
        else:
            assert_states(got, want, 0.0, "initial_state() against None")


def accumulation_law(mixer: Contract, first: Tensor, second: Tensor, half: int, tolerance: float) -> None:
    """6: after `half` steps of one token and `half` of another the running sums still count both.

    A sum kept in bfloat16 stops at 256 equal terms, and the outputs stay at the first token's.
    """
    x = torch.cat([first.expand(half, -1), second.expand(half, -1)])[None]
    with in_form(mixer, "naive"):
        want = mixer(x)[0][:, -1]
    state, y = None, want
    for token in x[0]:
        y, state = mixer(token[None, None], state)
    assert relative_rms(y[:, 0], want) <= tolerance, (
        f"the last of {2 * half} steps is {relative_rms(y[:, 0], want):.3g} off"
    )


def size_law(mixer: Contract, x: Tensor) -> None:
    """12: `state_size(length)` is what the tensors of a state after `length` tokens weigh, per sequence."""
    for length in (1, 2, 7, 64, 65, x.shape[1]):
        state = mixer(x[:, :length])[1]
        real = sum(tensor.numel() * tensor.element_size() for tensor in state)
        said = mixer.state_size(length)
        assert said * len(x) == real, (
            f"state_size({length}) says {said} bytes, the tensors hold {real / len(x):.1f}"
        )


class _Largest(TorchDispatchMode):
    """Remembers the most elements any operation has returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def largest_tensor(call: Callable[[], object]) -> int:
    """Elements of the largest tensor any operation returns during `call`."""
    with _Largest() as mode:
        call()
    return mode.elements
