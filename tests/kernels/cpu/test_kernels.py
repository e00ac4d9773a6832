"""The laws of every compiled kernel, at every level: as in float64, and nothing outside its outputs."""

import itertools
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import CALLS, GUARD, Call, guarded, parts, results, wrong
from linear_cases import relative_error
from torch import Tensor

from linsight import kernels, ops
from linsight.kernels.cpu import library

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")
SIZES = ((2, 1, 5, 3), (1, 2, 1, 1), (2, 31, 17, 33), (1, 32, 16, 16), (2, 33, 3, 47), (1, 65, 40, 20))
"""Batch, length, and two widths: around a kernel's 32 tokens and its 16 lanes, and apart from them."""
CLOSE = 1e-6
"""Some rounding errors of float32."""

every_call = pytest.mark.parametrize("name", CALLS)
every_level = pytest.mark.parametrize("level", LEVELS)


@cache
def exact(name: str, sizes: tuple[int, int, int, int], of: str = "both") -> tuple[Call, dict[str, Tensor]]:
    """A call in float32, and its results in float64."""
    call = CALLS[name](*sizes)
    return call, results(call.to(torch.float64), of=of)


def assert_close(name: str, call: Call, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Some rounding errors; twice that of what is divided, and of decays, whose gradients are differences."""
    errors = wrong(call, found, expected)
    if "grad of log_decay" in errors:
        errors["grad of log_decay"] /= 2
    assert max(errors.values()) < CLOSE * (2 if "divided" in name else 1), errors


@every_level
@every_call
def test_outputs_state_and_all_gradients_are_those_of_float64(level: str, name: str) -> None:
    for sizes in SIZES:
        call, expected = exact(name, sizes)
        with kernels.cpu.at_level(level):
            assert_close(name, call, results(call, "compiled"), expected)


@every_call
@pytest.mark.parametrize("of", ["output", "state"])
def test_gradients_of_one_output_alone_and_without_a_state(name: str, of: str) -> None:
    call = CALLS[name](2, 35, 20, 4)
    call.given.pop("initial_state")
    expected = results(call.to(torch.float64), of=of)
    assert_close(name, call, results(call, "compiled", of=of), expected)


@settings(max_examples=60)
@given(st.data())
def test_pieces_of_any_lengths_are_the_whole(data: st.DataObject) -> None:
    """The split law: states carried over any cuts give the bits of one call, its state too."""
    name = data.draw(st.sampled_from(list(CALLS)))
    length = data.draw(st.integers(2, 80))
    cuts = sorted(data.draw(st.sets(st.integers(1, length - 1), max_size=4)))
    call = CALLS[name](2, length, 19, 7)
    whole, final = call("compiled")
    state, outputs = call.given["initial_state"], []
    for start, stop in itertools.pairwise([0, *cuts, length]):
        o, state = call.tokens(start, stop, state)("compiled")
        outputs.append(o)
    # Some decays are rounded by what rounding left at tokens before, which a cut forgets.
    close = CLOSE if "of a head" in name or "token" in name or name in ("space", "recurrence") else 0.0
    assert relative_error(parts(torch.cat(outputs, 1)), parts(whole)) <= close, name
    assert relative_error(parts(state), parts(final)) <= close, name


@every_level
@every_call
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strides_do_not_matter(level: str, name: str, dtype: torch.dtype) -> None:
    """Transposes and slices of larger tensors give the bits of contiguous ones, gradients too."""
    dense = CALLS[name](2, 21, 18, 20).to(dtype)
    ways = (
        lambda x: x.mT.contiguous().mT if x.ndim > 1 else x,
        lambda x: x.transpose(0, 1).contiguous().transpose(0, 1) if x.ndim > 1 else x,
        lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
        lambda x: torch.cat([x, x], min(1, x.ndim - 1)).narrow(
            min(1, x.ndim - 1), 0, x.shape[min(1, x.ndim - 1)]
        ),
    )
    with kernels.cpu.at_level(level):
        expected = results(dense, "compiled")
        for way in ways:
            found = results(dense.map(lambda _, x, way=way: way(x)), "compiled")
            assert all(torch.equal(found[which], x) for which, x in expected.items())


@every_call
def test_strides_of_gradients_do_not_matter(name: str) -> None:
    """Those that come in by other axes, or broadcast, give the bits of contiguous ones."""

    def gradients(weight: Tensor) -> tuple[Tensor, ...]:
        leaves = CALLS[name](2, 21, 18, 20).map(lambda _, x: x.requires_grad_())
        return torch.autograd.grad(leaves("compiled")[0], list(leaves.given.values()), weight)

    o = CALLS[name](2, 21, 18, 20)("compiled")[0]
    one = torch.ones((), dtype=o.dtype).expand(o.shape)
    random = torch.randn(o.shape[::-1], dtype=o.dtype).permute(*reversed(range(o.ndim)))
    for weight in (one, random):
        for found, expected in zip(gradients(weight), gradients(weight.contiguous()), strict=True):
            assert torch.equal(found, expected)


@every_level
@every_call
def test_results_do_not_depend_on_threads(level: str, name: str, monkeypatch) -> None:
    """The same bits with 1, 2 and 5 threads, however little there is to do."""
    monkeypatch.setattr(library, "ENOUGH", 1)
    call = CALLS[name](2, 37, 70, 5)
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


@every_level
@every_call
def test_nothing_is_written_outside_and_everything_inside(level: str, name: str, monkeypatch) -> None:
    """Every output stands between guards and begins as NaN: guards stay, and no NaN is left."""
    guards: list[tuple[Tensor, int]] = []

    for sizes in ((1, 1, 1, 1), (2, 33, 17, 5), (1, 64, 32, 16), (2, 5, 3, 47)):
        call = CALLS[name](*sizes)
        with kernels.cpu.at_level(level):
            expected = results(call, "compiled")
            with monkeypatch.context() as patch:
                patch.setattr(Tensor, "new_empty", guarded(guards))
                found = results(call, "compiled")
        assert all(torch.equal(found[which], x) for which, x in expected.items())
    assert len(guards) >= 4 * (1 + len(call.given))
    for whole, count in guards:
        assert (whole[:32] == GUARD).all()
        assert (whole[32 + count :] == GUARD).all()


@every_level
@every_call
def test_nan_goes_in_and_comes_out(level: str, name: str) -> None:
    """At a token in the middle, NaN reaches what the reference makes NaN, and nothing else."""
    for which in CALLS[name](1, 40, 18, 19).given:
        call = CALLS[name](1, 40, 18, 19)
        x = call.given[which]
        x[(0, 20, *(size - 1 for size in x.shape[2:])) if call.by_token(which) else (0,) * x.ndim] = torch.nan
        with kernels.cpu.at_level(level):
            found = call("compiled")
        for got, expected in zip(found, call.to(torch.float64)("naive"), strict=True):
            assert torch.equal(got.isnan(), expected.isnan()), which


@every_call
@pytest.mark.parametrize("sizes", [(0, 3, 4, 2), (2, 3, 0, 2), (2, 3, 4, 0), (2, 0, 4, 2)], ids=str)
def test_empty_sizes_give_empty_results_and_gradients(name: str, sizes: tuple[int, int, int, int]) -> None:
    call, expected = exact(name, sizes)
    for which, x in results(call, "compiled").items():
        torch.testing.assert_close(x.double(), expected[which], rtol=1e-5, atol=1e-6)


@every_call
def test_a_second_derivative_is_refused(name: str) -> None:
    call = CALLS[name](1, 3, 2, 2)
    first = next(iter(call.given.values())).requires_grad_()
    loss = parts(call("compiled")[0]).square().sum()
    (gradient,) = torch.autograd.grad(loss, first, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        parts(gradient).sum().backward()


@every_call
def test_half_precision_is_computed_in_float32(name: str) -> None:
    call = CALLS[name](2, 40, 17, 5).to(torch.bfloat16)
    (found, state), (expected, final) = call("compiled"), call.to(torch.float64)("naive")
    assert (found.dtype, state.dtype) == tuple(x.dtype for x in call("naive"))
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-2, atol=1e-6)
    assert relative_error(parts(state), parts(final)) < CLOSE


@every_call
@pytest.mark.parametrize(
    ("dtype", "level", "message"),
    [
        (torch.float64, None, "form: 'compiled' does not run here: computes in float32 alone"),
        (torch.float32, "off", "form: 'compiled' does not run here: turned off"),
    ],
)
def test_asked_for_where_it_does_not_run_it_is_refused(name: str, dtype, level, message: str) -> None:
    with kernels.cpu.at_level(level or LEVELS[0]), pytest.raises(ValueError, match=message):
        CALLS[name](1, 3, 2, 2).to(dtype)("compiled")


@pytest.mark.parametrize("name", {make(1, 1, 1, 1).op: name for name, make in CALLS.items()}.values())
def test_exported_graphs_have_none_of_it(name: str) -> None:
    """A program for another machine holds torch's own operations alone."""
    call = CALLS[name](1, 5, 4, 2)

    class Op(torch.nn.Module):
        def forward(self, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            return call.computed("auto", **given)

    program = torch.export.export(Op(), (call.given,))
    assert not [node for node in program.graph.nodes if "linsight" in str(node.target)]


def _plan(op: str, length: int, dtype: torch.dtype, **options) -> str:
    if op == "diagonal_recurrence":
        return ops.diagonal_recurrence_plan(
            torch.zeros(1, length, 4, dtype=dtype.to_complex()), **options
        ).form
    if op == "delta_rule":
        return ops.delta_rule_plan(*torch.zeros(3, 1, length, 2, 4, dtype=dtype), **options).form
    plan = {"selective_scan": ops.selective_scan_plan, "diagonal_space": ops.diagonal_space_plan}[op]
    return plan(torch.zeros(1, length, 4, dtype=dtype), **options).form


@pytest.mark.parametrize("op", ["delta_rule", "selective_scan", "diagonal_space", "diagonal_recurrence"])
def test_auto_takes_it_from_two_tokens_on_and_eager_elsewhere(op: str) -> None:
    assert _plan(op, 2, torch.float32) == "compiled"
    assert _plan(op, 1, torch.float32) == "recurrent"
    assert _plan(op, 64, torch.float64) == "chunk"
    assert _plan(op, 64, torch.float32, chunk_size=8) == "chunk"
    if op != "diagonal_recurrence":  # there are no complex numbers of bfloat16
        assert _plan(op, 64, torch.bfloat16) == "compiled"
    with kernels.cpu.at_level("off"):
        assert _plan(op, 64, torch.float32) == "chunk"
