"""The compiled linear attention beside the laws of every kernel: all its variants, and what decays do."""

import ctypes
from dataclasses import replace
from functools import cache

import pytest
import torch
from linear_cases import DECAYS, READS, Case, case, relative_error, results
from torch import Tensor

from linsight import kernels, ops
from linsight.kernels.cpu import attention as kernel

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


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rounded", ["qkv", "q", "k", "v"])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("feature_map", ["identity", "elu1"])
def test_bfloat16_is_widened_where_it_is_read_and_rounded_once(
    level: str, feature_map: str, normalise: bool, rounded: str
) -> None:
    """To the bit what float32 gives of the same numbers; gradients of a quotient read o, which is rounded."""
    call = case(70, "feature", "before", dtype=torch.float32, features=17, values=33, normalise=normalise)
    call = replace(call, options=call.options | {"feature_map": feature_map})
    half = call.map(lambda name, x: x.bfloat16() if name in rounded else x)
    wide = half.map(lambda _, x: x.float())
    with kernels.cpu.at_level(level):
        found, expected = _of_bfloat16(half), _of_bfloat16(wide)
    for name in ("o", "final state", "grad of v"):
        assert torch.equal(found[name], expected[name].to(found[name].dtype)), name
    for name, x in expected.items():
        if normalise:
            assert relative_error(found[name], x, 0.1) < 1e-2, name
        else:
            assert torch.equal(found[name], x.to(found[name].dtype)), name


def _of_bfloat16(call: Case) -> dict[str, Tensor]:
    """Results whose gradients begin with numbers of bfloat16, in the dtype of the outputs."""
    call = call.map(lambda _, x: x.clone().requires_grad_())
    o, state = call("compiled")
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=generator).bfloat16().to(x.dtype) for x in (o, state)]
    gradients = torch.autograd.grad([o, state], list(call.tensors().values()), weights)
    named = {f"grad of {name}": x for name, x in zip(call.tensors(), gradients, strict=True)}
    return {"o": o.detach(), "final state": state.detach(), **named}


@pytest.mark.parametrize("level", LEVELS)
def test_a_nan_of_any_bits_in_a_float32_state_is_one_in_bfloat16(level: str) -> None:
    """Rounded as a number, 0x7f800001 would be infinity and 0x7fffffff -0."""
    x = torch.ones(1, 3, 1, 16, dtype=torch.bfloat16)
    for bits in (0x7FC00000, 0x7F800001, 0x7FFFFFFF, -1):
        nan = torch.tensor(bits, dtype=torch.int32).view(torch.float32)
        state = nan.expand(1, 1, 16, 16)
        with kernels.cpu.at_level(level):
            o, _ = ops.linear_attention(x, x, x, initial_state=state, form="compiled")
        assert o.isnan().all()


@pytest.mark.parametrize("level", LEVELS)
def test_heads_that_take_turns_do_not_know_of_one_another(level: str, monkeypatch) -> None:
    """One by one, in twos and a rest, or all of a row: the same bits, in the memory that so many need."""
    call = case(70, "feature", "before", dtype=torch.float32, heads=5, features=17, values=33)
    state, made, found = 32 * 48, torch.empty, []
    guards: list[Tensor] = []

    def empty(*shape: int, **options) -> Tensor:
        edge = 5 * state
        whole = made(torch.Size(shape).numel() + 2 * edge, **options)
        whole[:edge] = whole[-edge:] = 12345
        guards.extend((whole[:edge], whole[-edge:]))
        return whole[edge:-edge].view(shape)

    for together in (1, 2, 5):
        monkeypatch.setattr(kernel, "CACHED", together * state)
        with kernels.cpu.at_level(level), monkeypatch.context() as patch:
            patch.setattr(torch, "empty", empty)
            found.append(call("compiled"))
    assert len(guards) == 6
    assert all((guard == 12345).all() for guard in guards)
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


@pytest.mark.parametrize("level", LEVELS)
def test_a_key_of_minus_infinity_is_a_token_that_is_absent(level: str) -> None:
    """Of elu(x) + 1 it leaves 0, and no gradient; NaN remains NaN."""
    call = case(40, normalise=True, dtype=torch.float32)
    call = replace(call, options=call.options | {"feature_map": "elu1"})
    call.k[:, 5] = -torch.inf
    with kernels.cpu.at_level(level):
        found = results(call, "compiled")
    assert_close(found, results(call.to(torch.float64)), 2 * CLOSE)
    assert (found["grad of k"][:, 5] == 0).all()
    call.q[:, 7] = torch.nan
    with kernels.cpu.at_level(level):
        spoilt, _ = call("compiled")
    assert spoilt[:, 7].isnan().all()
    assert spoilt[:, 8:].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("decay", [None, "feature"])
def test_torch_takes_it_for_an_operator_of_its_own(decay: str | None, dtype: torch.dtype) -> None:
    """opcheck: its schema, fake tensors, autograd registration, tracing; with all inputs, and the fewest."""
    call = case(5, decay or "none", "bonus", dtype=torch.float32, normalise=True)
    bonus = call.bonus if dtype == torch.float32 else None
    rest = [call.log_decay, bonus, call.initial_state] if decay else [None] * 3
    tensors = [*(x.to(dtype) for x in (call.q, call.k, call.v)), *rest]
    leaves = [None if x is None else x.clone().requires_grad_() for x in tensors]
    options = (0.5, True, True, decay is None)
    torch.library.opcheck(kernel._forward, (*leaves, *options))
    o, final, denominators = (x.detach() for x in kernel._forward(*leaves, *options))
    for of_decay in {False, decay is not None}:
        arguments = (torch.randn_like(o), torch.randn_like(final), o, denominators, *tensors, *options)
        torch.library.opcheck(kernel._backward, (*arguments, of_decay))


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


def test_the_structure_has_the_size_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    assert ctypes.sizeof(kernel.Attention) == 8 * (11 + 5 * 5 + 3 + 3 + 6)
