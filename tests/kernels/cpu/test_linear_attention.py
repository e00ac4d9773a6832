"""The compiled linear attention: the recurrence in float64, at every level, guards around its outputs."""

import ctypes
import itertools
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_cases import DECAYS, READS, Case, case, relative_error, results
from torch import Tensor

from linsight import kernels, ops
from linsight.kernels.cpu import attention as kernel
from linsight.kernels.cpu import library

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")
SHAPES = {1: (5, 3), 2: (1, 1), 31: (17, 33), 32: (16, 16), 33: (3, 40), 65: (40, 20)}
"""Features and values by length: around a kernel's 32 steps and its 16 lanes, and apart from them."""
CLOSE = 1e-6
"""Some rounding errors of float32; twice that of decays, whose gradients are differences, and ten times that
of one decay for all tokens, which is a sum of such and may come out near 0."""


@cache
def exact(decay: str, read: str, length: int, normalise: bool) -> tuple[Case, dict[str, Tensor]]:
    """A call in float32, and its results in float64."""
    features, values = SHAPES[length]
    sizes = {"features": features, "values": values, "heads": 2}
    call = case(length, decay, read, dtype=torch.float32, scale=0.7, normalise=normalise, **sizes)
    call = call.map(lambda name, x: x - 0.6 if name in "qk" and not normalise else x)
    return call, results(call.to(torch.float64))


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = CLOSE) -> None:
    """Every tensor, relative to its own size; a gradient that nearly vanishes, to the size of the inputs'."""
    wrong = {name: relative_error(found[name], x, 0.1) for name, x in expected.items()}
    assert all(x.isfinite().all() for x in found.values())
    if (of_decay := expected.get("grad of log_decay")) is not None:
        wrong["grad of log_decay"] /= 10 if of_decay.ndim == 1 else 2
    assert max(wrong.values()) < tolerance, wrong


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_outputs_state_and_all_gradients_are_those_of_float64(level: str, decay: str, read: str) -> None:
    for length in SHAPES:
        call, expected = exact(decay, read, length, normalise=False)
        with kernels.cpu.at_level(level):
            assert_close(results(call, "compiled"), expected)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_so_are_they_when_normalised(level: str, decay: str, read: str) -> None:
    for length in (2, 33):
        call, expected = exact(decay, read, length, normalise=True)
        with kernels.cpu.at_level(level):
            assert_close(results(call, "compiled"), expected, 2 * CLOSE)


@pytest.mark.parametrize("of", ["output", "state"])
@pytest.mark.parametrize("normalise", [False, True])
def test_gradients_of_one_output_alone_and_without_a_state(of: str, normalise: bool) -> None:
    for decay, read in itertools.product(DECAYS, READS):
        call = case(33, decay, read, dtype=torch.float32, normalise=normalise, state=False)
        assert_close(results(call, "compiled", of=of), results(call.to(torch.float64), of=of), 2 * CLOSE)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS[1:])
def test_strong_decays_leave_accurate_gradients_of_their_own(decay: str, read: str) -> None:
    """Of e^-12 a token: a difference of sums over later tokens would hold nothing but their rounding."""
    call = case(35, decay, read, dtype=torch.float32)
    call.log_decay.sub_(12)
    found, expected = results(call, "compiled"), results(call.to(torch.float64))
    assert relative_error(found["grad of log_decay"], expected["grad of log_decay"]) < 2e-6


@pytest.mark.parametrize("decay", ["token", "feature"])
@pytest.mark.parametrize("read", READS)
def test_a_reset_forgets_everything_before(decay: str, read: str) -> None:
    """log_decay = -inf: what follows is the call without the tokens before, and gradients are finite."""
    call = case(50, decay, read, dtype=torch.float32)
    call.log_decay[:, 33] = -torch.inf
    found, expected = results(call, "compiled"), results(call.to(torch.float64))
    assert_close(found, expected)
    assert (found["grad of log_decay"][:, 33] == 0).all()


def test_below_the_floor_the_denominator_has_no_gradient() -> None:
    call = case(6, normalise=True, state=False, dtype=torch.float32)
    call.q[:, 3] *= 1e-9
    expected = results(call.to(torch.float64))
    assert_close(results(call, "compiled"), expected)
    assert expected["grad of q"][:, 3].abs().min() > 0


@settings(max_examples=15)
@given(st.data())
def test_pieces_of_any_lengths_are_the_whole(data: st.DataObject) -> None:
    """The split law: states carried over any cuts give the outputs and the state of one call."""
    length = data.draw(st.integers(2, 80))
    cuts = sorted(data.draw(st.sets(st.integers(1, length - 1), max_size=4)))
    decay, normalise = data.draw(st.sampled_from(DECAYS)), data.draw(st.booleans())
    call = case(length, decay, dtype=torch.float32, normalise=normalise, features=19, values=7)
    whole, final = call("compiled")
    state, outputs = call.initial_state, []
    for start, stop in itertools.pairwise([0, *cuts, length]):
        o, state = call.tokens(start, stop, initial_state=state)("compiled")
        outputs.append(o)
    assert relative_error(torch.cat(outputs, 1), whole) < CLOSE
    assert relative_error(state, final) < CLOSE


@pytest.mark.parametrize("level", LEVELS)
def test_strides_do_not_matter(level: str) -> None:
    """Transposes, slices and broadcasts of larger tensors give the bits of contiguous ones, gradients too."""
    dense = case(21, "feature", dtype=torch.float32, features=18, values=20)

    def strided(name: str, x: Tensor) -> Tensor:
        if name == "k":
            return x.transpose(0, 1).contiguous().transpose(0, 1)
        if name == "q":
            return torch.cat([x, x], 1)[:, :21]
        if name == "log_decay":
            return x.mT.contiguous().mT
        return torch.cat([x, x], -1)[..., : x.shape[-1]] if name in ("v", "initial_state") else x

    leaves = {name: strided(name, x) for name, x in dense.tensors().items()}
    with kernels.cpu.at_level(level):
        one = dense("compiled")
        other = replace(dense, **leaves)("compiled")
    assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))
    whole = torch.randn(2, 21, 3, 60, requires_grad=True)
    q, k, v = whole.split([20, 20, 20], -1)
    o, _ = ops.linear_attention(q, k, v, form="compiled")
    loss = o.transpose(1, 3).sum()
    (found,) = torch.autograd.grad(loss, whole)
    parts = [x.detach().clone().requires_grad_() for x in (q, k, v)]
    o, _ = ops.linear_attention(*parts, form="compiled")
    assert torch.equal(found, torch.cat(torch.autograd.grad(o.sum(), parts), -1))


@pytest.mark.parametrize("level", LEVELS)
def test_results_do_not_depend_on_threads(level: str, monkeypatch) -> None:
    """The same bits with 1, 2 and 5 threads, however little there is to do."""
    monkeypatch.setattr(library, "ENOUGH", 1)
    call = case(37, "token", "bonus", dtype=torch.float32, normalise=True)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with kernels.cpu.at_level(level):
                found.append(results(call, "compiled"))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (33, 17, 5), (32, 16, 16), (5, 3, 47)])
def test_nothing_is_written_outside_and_everything_inside(level, decay, sizes, monkeypatch) -> None:
    """Every output stands between guards and begins as NaN: guards stay, and no NaN is left."""
    guards: list[tuple[Tensor, int]] = []
    made = Tensor.new_empty

    def guarded(self: Tensor, *size, **options) -> Tensor:
        shape = torch.Size(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
        whole = made(self, shape.numel() + 64, **options).fill_(torch.nan)
        whole[:32] = whole[-32:] = 12345.0
        guards.append((whole, shape.numel()))
        return whole[32:-32].view(shape)

    length, features, values = sizes
    call = case(length, decay, "bonus", dtype=torch.float32, normalise=True, features=features, values=values)
    with kernels.cpu.at_level(level):
        expected = results(call, "compiled")
        monkeypatch.setattr(Tensor, "new_empty", guarded)
        found = results(call, "compiled")
    monkeypatch.undo()
    assert len(guards) == 9
    for whole, count in guards:
        assert (whole[:32] == 12345.0).all()
        assert (whole[32 + count :] == 12345.0).all()
    assert all(torch.equal(found[name], x) for name, x in expected.items())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["q", "k", "v", "log_decay", "initial_state"])
def test_nan_goes_in_and_comes_out(level: str, name: str) -> None:
    """At a token in the middle, NaN reaches what the reference makes NaN, and nothing else."""
    call = case(40, "feature", features=18, values=19)
    call.tensors()[name][(0, 1, 17, 18) if name == "initial_state" else (0, 20, 1, 17)] = torch.nan
    with kernels.cpu.at_level(level):
        found = call.to(torch.float32)("compiled")
    for got, expected in zip(found, call("naive"), strict=True):
        assert torch.equal(got.isnan(), expected.isnan())


@pytest.mark.parametrize("level", LEVELS)
def test_the_exponential_is_exact_to_two_units_and_at_its_ends(level: str) -> None:
    """States of 1 that are not written to: the final state is the decay itself."""
    x = -torch.cat([torch.logspace(-30, 1.83, 2000), torch.linspace(0, 69, 2000)])
    ends = torch.tensor([0.0, -0.0, -69.5, -1e4, -3e38, -torch.inf, torch.nan])
    decay = torch.cat([x, ends])[None, None, None]
    zeros, ones = torch.zeros_like(decay), torch.ones(1, 1, decay.shape[-1], 1)
    with kernels.cpu.at_level(level):
        _, state = ops.linear_attention(
            zeros, zeros, zeros[..., :1], decay, initial_state=ones, form="compiled"
        )
    found, exact = state.flatten(), x.double().exp()
    assert ((found[: len(x)].double() - exact).abs() <= 2 * 2.0**-23 * exact).all()
    assert found[len(x) :].nan_to_num(7.0).tolist() == [1, 1, 0, 0, 0, 0, 7]


@pytest.mark.parametrize("sizes", [(0, 3, 4, 2), (2, 3, 0, 2), (2, 3, 4, 0), (2, 0, 4, 2)])
def test_empty_sizes_give_empty_results_and_gradients(sizes: tuple) -> None:
    batch, length, features, values = sizes
    for decay in DECAYS:
        call = case(length, decay, "bonus", batch=batch, features=features, values=values)
        expected = results(call)
        found = results(call.to(torch.float32), "compiled")
        for name, x in expected.items():
            torch.testing.assert_close(found[name].double(), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [None, "feature"])
def test_torch_takes_it_for_an_operator_of_its_own(decay: str | None) -> None:
    """opcheck: its schema, fake tensors, autograd registration, tracing; with all inputs, and the fewest."""
    call = case(5, decay or "none", "bonus", dtype=torch.float32, normalise=True)
    rest = [call.log_decay, call.bonus, call.initial_state] if decay else [None] * 3
    tensors = [call.q, call.k, call.v, *rest]
    leaves = [None if x is None else x.clone().requires_grad_() for x in tensors]
    options = (0.5, True, True)
    torch.library.opcheck(kernel._forward, (*leaves, *options))
    o, final, denominators = (x.detach() for x in kernel._forward(*leaves, *options))
    for of_decay in {False, decay is not None}:
        arguments = (torch.randn_like(o), torch.randn_like(final), o, denominators, *tensors, *options)
        torch.library.opcheck(kernel._backward, (*arguments, of_decay))


def test_a_second_derivative_is_refused() -> None:
    call = case(3, dtype=torch.float32)
    q = call.q.requires_grad_()
    (dq,) = torch.autograd.grad(call("compiled")[0].square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        dq.sum().backward()


def test_half_precision_is_computed_in_float32() -> None:
    call = case(50, "token", dtype=torch.bfloat16)
    (found, state), (expected, final) = call("compiled"), call.to(torch.float64)("naive")
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())
    assert relative_error(state, final) < CLOSE


@pytest.mark.parametrize("level", LEVELS)
def test_denormal_numbers_are_zero_inside_and_remain_outside(level: str) -> None:
    """A state that fades through the denormal range ends as 0, and the processor's mode is put back."""
    zeros, decay = torch.zeros(1, 300, 1, 16), torch.full((1,), -0.5)
    with kernels.cpu.at_level(level):
        _, state = ops.linear_attention(
            zeros, zeros, zeros, decay, initial_state=torch.ones(1, 1, 16, 16), form="compiled"
        )
    assert (state == 0).all()
    assert (torch.tensor([1e-40]) * 0.5).item() > 0


@pytest.mark.parametrize(
    ("dtype", "level", "message"),
    [
        (torch.float64, None, "form: 'compiled' does not run here: computes in float32 alone"),
        (torch.float32, "off", "form: 'compiled' does not run here: turned off"),
    ],
)
def test_asked_for_where_it_does_not_run_it_is_refused(dtype, level, message: str) -> None:
    with kernels.cpu.at_level(level or LEVELS[0]), pytest.raises(ValueError, match=message):
        case(3, dtype=dtype)("compiled")


def test_the_structure_has_the_size_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    assert ctypes.sizeof(kernel._Attention) == 8 * (9 + 5 * 4 + 3 + 3 + 6)
