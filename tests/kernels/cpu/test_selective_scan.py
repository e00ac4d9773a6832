"""The compiled selective scan: the recurrence in float64, at every level, and nothing outside its outputs."""

import ctypes
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linsight import kernels, ops
from linsight.kernels.cpu import library
from linsight.kernels.cpu import scan as kernel

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")
NAMES = ("u", "delta", "A", "B", "C", "D", "initial_state")


def arguments(batch: int, length: int, channels: int, states: int, seed: int = 0) -> dict[str, Tensor]:
    """Random arguments in float64 that are exact in float32, of decays from none to strong."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).double()

    return {
        "u": normal(batch, length, channels),
        "delta": (normal(batch, length, channels).abs() ** 3).float().double(),
        "A": -normal(channels, states).exp().float().double(),
        "B": normal(batch, length, states),
        "C": normal(batch, length, states),
        "D": normal(channels),
        "initial_state": normal(batch, channels, states),
    }


def results(given: dict[str, Tensor], form: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Outputs, final state, and the gradients of a random loss on both."""
    leaves = {name: x.to(dtype).requires_grad_() for name, x in given.items()}
    found = ops.selective_scan(**leaves, form=form)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=generator).to(dtype) for x in found]
    gradients = torch.autograd.grad(found, list(leaves.values()), weights, materialize_grads=True)
    return dict(zip(("y", "final", *leaves), (*(x.detach() for x in found), *gradients), strict=True))


def errors(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """The norm of what is wrong over the norm of what is right, of each tensor.

    The gradients of A and D are sums over tokens, and a single one may come out near 0: they are measured
    against what a sum of so many terms, as large as those of u's gradient, is typically.
    """
    sums = exact["u"].square().mean().sqrt() * exact["u"].shape[1] ** 0.5
    least = {"A": sums, "D": sums}
    return {
        name: float(
            (found[name].double() - x).norm() / x.norm().clamp_min(least.get(name, 0) * x.numel() ** 0.5)
        )
        for name, x in exact.items()
    }


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("channels", "states"), [(1, 1), (15, 8), (16, 16), (17, 17), (40, 3)])
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 63, 64, 65, 129])
def test_outputs_state_and_all_gradients_are_those_of_float64(
    level: str, length: int, channels: int, states: int
) -> None:
    """Within 1e-6, some rounding errors of float32; eager operations have up to 4e-7 on the same numbers."""
    given = arguments(2, length, channels, states)
    exact = results(given, "naive", torch.float64)
    with kernels.cpu.at_level(level):
        found = errors(results(given, "compiled", torch.float32), exact)
    assert max(found.values()) < 1e-6, found


@pytest.mark.parametrize("level", LEVELS)
def test_a_decay_is_that_of_a_rounded_exponent_and_exact_at_its_ends(level: str) -> None:
    """One state of 1 that is not written to: the final state is the decay itself, e^x, within two units and
    what x changes it by when it is rounded twice, by one unit of its own, as a product delta A is once."""
    x = -torch.cat([torch.logspace(-30, 1.83, 40_000, base=10.0), torch.linspace(0, 69, 40_000)])
    ends = torch.tensor([0.0, -0.0, -69.5, -1e4, -3e38, -torch.inf, torch.nan, 200.0])
    exponents = torch.cat([x, ends])
    count = len(exponents)
    zeros = torch.zeros(1, 1, 1)
    with kernels.cpu.at_level(level):
        _, state = kernels.cpu.selective_scan(
            torch.zeros(1, 1, count),
            torch.ones(1, 1, count),
            exponents[:, None],
            zeros,
            zeros,
            None,
            torch.ones(1, count, 1),
        )
    found = state.flatten()
    exact = x.double().exp()
    wrong = (found[: len(x)].double() - exact).abs() / exact
    assert (wrong <= 2.0**-23 * (2 + x.double().abs())).all()
    assert found[len(x) :].nan_to_num(7.0).tolist() == [1, 1, 0, 0, 0, 0, 7, torch.finfo(torch.float32).max]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", NAMES)
def test_nan_goes_in_and_comes_out(level: str, name: str) -> None:
    """At a token in the middle, NaN reaches what the reference makes NaN, and nothing else."""
    given = arguments(1, 40, 18, 3)
    at = {"A": (17, 1), "D": (17,), "initial_state": (0, 17, 1), "B": (0, 20, 1), "C": (0, 20, 1)}
    given[name][at.get(name, (0, 20, 17))] = torch.nan
    exact = results(given, "naive", torch.float64)
    with kernels.cpu.at_level(level):
        found = results(given, "compiled", torch.float32)
    for which in ("y", "final"):
        assert torch.equal(found[which].isnan(), exact[which].isnan()), which


@pytest.mark.parametrize("form", ["y", "final"])
def test_gradients_of_one_output_alone(form: str) -> None:
    given = arguments(2, 35, 20, 4)
    both = {}
    for kind, dtype in (("naive", torch.float64), ("compiled", torch.float32)):
        leaves = [x.to(dtype).requires_grad_() for x in given.values()]
        y, final = ops.selective_scan(*leaves[:6], initial_state=leaves[6], form=kind)
        loss = (y if form == "y" else final).sum()
        found = torch.autograd.grad(loss, leaves, materialize_grads=True)
        both[kind] = dict(zip(NAMES, found, strict=True))
    assert max(errors(both["compiled"], both["naive"]).values()) < 1e-6


@settings(max_examples=25)
@given(st.data())
def test_pieces_of_any_lengths_are_the_whole(data: st.DataObject) -> None:
    """The split law: states carried over any cuts give the outputs and the state of one call."""
    length = data.draw(st.integers(2, 70))
    cuts = sorted(data.draw(st.sets(st.integers(1, length - 1), max_size=4)))
    given = {name: x.float() for name, x in arguments(2, length, 19, 5).items()}
    whole, final = ops.selective_scan(**given, form="compiled")
    state, outputs = given["initial_state"], []
    for start, stop in itertools.pairwise([0, *cuts, length]):
        part = {name: given[name][:, start:stop] for name in ("u", "delta", "B", "C")}
        y, state = ops.selective_scan(
            **part, A=given["A"], D=given["D"], initial_state=state, form="compiled"
        )
        outputs.append(y)
    assert torch.equal(torch.cat(outputs, 1), whole)
    assert torch.equal(state, final)


@pytest.mark.parametrize("level", LEVELS)
def test_strides_do_not_matter(level: str) -> None:
    """Slices, transposes and broadcasts of larger tensors give the bits of contiguous ones, gradients too."""
    dense = {name: x.float() for name, x in arguments(3, 21, 18, 4).items()}
    wide = torch.randn(3, 21, 60)
    strided = dict(dense)
    strided["u"] = dense["u"].transpose(0, 1).contiguous().transpose(0, 1)
    wide[..., 5:9] = dense["B"]
    strided["B"] = wide[..., 5:9]
    strided["C"] = dense["C"].mT.contiguous().mT
    strided["delta"] = torch.cat([dense["delta"], dense["delta"]], 1)[:, :21]
    strided["A"] = dense["A"].mT.contiguous().mT
    with kernels.cpu.at_level(level):
        one, other = (results(x, "compiled", torch.float32) for x in (dense, strided))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("level", LEVELS)
def test_results_do_not_depend_on_threads(level: str, monkeypatch) -> None:
    """The same bits with 1, 2 and 5 threads, however little there is to do."""
    monkeypatch.setattr(library, "ENOUGH", 1)
    given = arguments(2, 37, 150, 3)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with kernels.cpu.at_level(level):
                found.append(results(given, "compiled", torch.float32))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 33, 17, 5), (1, 64, 32, 16), (3, 5, 47, 2)])
def test_nothing_is_written_outside_and_everything_inside(level: str, shape: tuple, monkeypatch) -> None:
    """Every output stands between guards and begins as NaN: guards stay, and no NaN is left."""
    guards: list[tuple[Tensor, int]] = []
    made = Tensor.new_empty

    def guarded(self: Tensor, *size, **options) -> Tensor:
        shape = torch.Size(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
        whole = made(self, shape.numel() + 64, **options).fill_(torch.nan)
        whole[:32] = whole[-32:] = 12345.0
        guards.append((whole, shape.numel()))
        return whole[32:-32].view(shape)

    given = {name: x.float() for name, x in arguments(*shape).items()}
    expected = results(given, "compiled", torch.float32)
    monkeypatch.setattr(Tensor, "new_empty", guarded)
    with kernels.cpu.at_level(level):
        found = results(given, "compiled", torch.float32)
    monkeypatch.undo()
    assert len(guards) == 9
    for whole, count in guards:
        assert (whole[:32] == 12345.0).all()
        assert (whole[32 + count :] == 12345.0).all()
    assert max(errors(found, {name: x.double() for name, x in expected.items()}).values()) < 1e-5
    assert not any(x.isnan().any() for x in found.values())


@pytest.mark.parametrize(
    "shape", [(0, 3, 4, 2), (2, 3, 0, 2), (2, 3, 4, 0), (2, 0, 4, 2)], ids=lambda shape: str(shape)
)
def test_empty_sizes_give_empty_results_and_gradients(shape: tuple) -> None:
    given = arguments(*shape)
    exact = results(given, "naive", torch.float64)
    found = results(given, "compiled", torch.float32)
    for name, x in exact.items():
        torch.testing.assert_close(found[name].double(), x, rtol=1e-5, atol=1e-6)


def test_torch_takes_it_for_an_operator_of_its_own() -> None:
    """opcheck: its schema, fake tensors, autograd registration, and tracing with dynamic shapes."""
    given = {name: x.float() for name, x in arguments(2, 33, 18, 3).items()}
    leaves = [x.requires_grad_() for x in given.values()]
    torch.library.opcheck(kernel._forward, (*leaves, True))
    kept = kernel._forward(*leaves, True)[2].detach()
    tensors = [x.detach() for x in leaves[:6]]
    y, final = torch.randn(2, 33, 18), torch.randn(2, 18, 3)
    torch.library.opcheck(kernel._backward, (y, final, *tensors, kept))


def test_half_precision_is_computed_in_float32() -> None:
    given = {name: x.bfloat16() for name, x in arguments(1, 20, 17, 3).items()}
    found, state = ops.selective_scan(**given, form="compiled")
    exact, final = ops.selective_scan(**{name: x.double() for name, x in given.items()}, form="naive")
    assert found.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    torch.testing.assert_close(found, exact.bfloat16(), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(state.double(), final, rtol=1e-4, atol=1e-5)


def test_states_are_kept_only_where_a_gradient_is_asked_for() -> None:
    given = [x.float() for x in arguments(1, 100, 16, 2).values()]
    assert kernel._forward(*given, False)[2].numel() == 0
    assert kernel._forward(*given, True)[2].shape == (1, 1, 4, 2, 16)


def test_denormal_numbers_are_zero_inside_and_remain_outside() -> None:
    """A state that fades through the denormal range ends as 0, and the processor's mode is put back."""
    one = torch.ones(1, 300, 16)
    zeros = torch.zeros(1, 300, 1)
    rates = torch.full((16, 1), -0.5)
    _, state = kernels.cpu.selective_scan(one, one, rates, zeros, zeros, None, torch.ones(1, 16, 1))
    assert (state == 0).all()
    tiny = torch.tensor([1e-40])
    assert (tiny * 0.5).item() > 0


def test_auto_takes_it_from_two_tokens_on_and_eager_elsewhere() -> None:
    def form(length: int, dtype: torch.dtype = torch.float32, **options) -> str:
        return ops.selective_scan_plan(torch.zeros(1, length, 4, dtype=dtype), **options).form

    assert form(2) == "compiled"
    assert form(1) == "recurrent"
    assert form(64, torch.bfloat16) == "compiled"
    assert form(64, torch.float64) == "chunk"
    assert form(64, chunk_size=8) == "chunk"
    with kernels.cpu.at_level("off"):
        assert form(64) == "chunk"


@pytest.mark.parametrize(
    ("dtype", "level", "message"),
    [
        (torch.float64, None, "form: 'compiled' does not run here: computes in float32 alone"),
        (torch.float32, "off", "form: 'compiled' does not run here: turned off"),
    ],
)
def test_asked_for_where_it_does_not_run_it_is_refused(dtype, level, message: str) -> None:
    given = {name: x.to(dtype) for name, x in arguments(1, 3, 2, 2).items()}
    with kernels.cpu.at_level(level or LEVELS[0]), pytest.raises(ValueError, match=message):
        ops.selective_scan(**given, form="compiled")


def test_exported_graphs_have_none_of_it() -> None:
    """A program for another machine holds torch's own operations alone."""

    class Scan(torch.nn.Module):
        def forward(self, u: Tensor, B: Tensor) -> Tensor:
            return ops.selective_scan(u, u.abs(), -torch.ones(4, 2), B, B)[0]

    program = torch.export.export(Scan(), (torch.randn(1, 5, 4), torch.randn(1, 5, 2)))
    assert not [node for node in program.graph.nodes if "linsight" in str(node.target)]


def test_the_structure_has_the_size_of_the_fields_in_c() -> None:
    """Eight bytes each, in one order on both sides: what is wrong there shows in every other test."""
    assert ctypes.sizeof(kernel._Scan) == 8 * len(kernel._Scan._fields_)
