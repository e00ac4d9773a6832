"""The laws of the compiled gate at every level: as in float64, rounded once, nothing outside its outputs."""

import ctypes
from collections.abc import Callable

import pytest
import torch
from kernel_calls import GUARD, guarded
from linear_cases import relative_error
from torch import Tensor

from linsight import kernels, ops
from linsight.kernels.cpu import gating, library
from linsight.ops.gated_silu import ENOUGH

LEVELS = kernels.cpu.levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason=f"no library: {kernels.cpu.why_not()}")
SHAPES = [(rows, width) for rows in (1, 2, 63) for width in (1, 15, 16, 17, 128, 266)]
"""Around the 16 lanes and the 16 rows of a unit, and apart from them."""

every_level = pytest.mark.parametrize("level", LEVELS)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def case(rows: int, width: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """x, of gates from closed to open, and y's gradient."""
    x, dy = 4 * torch.randn(rows, 2 * width), torch.randn(rows, width)
    return x.to(dtype), dy.to(dtype)


def results(x: Tensor, dy: Tensor, form: str = "compiled") -> tuple[Tensor, Tensor]:
    """y and x's gradient."""
    x = x.detach().requires_grad_()
    y = ops.gated_silu(x, form=form)
    return y.detach(), torch.autograd.grad(y, x, dy)[0]


@every_level
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_and_gradients_are_those_of_float64(level: str, shape: tuple[int, int]) -> None:
    given = case(*shape)
    exact = results(*(x.double() for x in given), form="naive")
    with kernels.cpu.at_level(level):
        for found, expected in zip(results(*given), exact, strict=True):
            assert relative_error(found, expected) < 3e-7  # some roundings of 6e-8, of sigmoid and products


@every_level
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bfloat16_is_rounded_once(level: str, shape: tuple[int, int]) -> None:
    """Within half a unit in the last place, 2^-8 of a number, of float64 on the same inputs."""
    given = case(*shape, torch.bfloat16)
    exact = results(*(x.double() for x in given), form="naive")
    with kernels.cpu.at_level(level):
        for found, expected in zip(results(*given), exact, strict=True):
            assert found.dtype == torch.bfloat16
            torch.testing.assert_close(found.double(), expected, rtol=2**-8 * 1.001, atol=1e-6)


@every_level
def test_rounding_to_bfloat16_is_that_of_torch(level: str) -> None:
    """A product of two bfloat16 is a float, and that is y of an open gate: every tie goes to the even one.

    To the bit: -0 is another number than 0.
    """
    significands = 1 + torch.arange(128) / 128
    values = torch.cat([significands, -significands, torch.tensor([0.0, -0.0])])
    gate, value = torch.cartesian_prod(64 * significands, values).mT.bfloat16()
    # At 64 and above 1 + exp(-z) is 1 in float32.
    with kernels.cpu.at_level(level):
        found = ops.gated_silu(torch.stack([gate, value], -1), form="compiled")[:, 0]
    expected = (gate.float() * value.float()).bfloat16()
    assert torch.equal(found.view(torch.int16), expected.view(torch.int16))


@every_level
def test_gates_far_open_and_far_closed(level: str) -> None:
    gate = torch.tensor([-1e30, -200.0, -89.0, 0.0, 89.0, 200.0, 1e30])
    x = torch.stack([gate, torch.full_like(gate, 2.0)], -1)
    with kernels.cpu.at_level(level):
        y, dx = results(x, torch.ones(7, 1))
    expected = torch.tensor([0.0, 0.0, 0.0, 0.0, 178.0, 400.0, 2e30])
    torch.testing.assert_close(y[:, 0], expected, rtol=1e-6, atol=1e-36)
    torch.testing.assert_close(dx[:, 0], torch.tensor([0.0, 0, 0, 1, 2, 2, 2]), rtol=1e-6, atol=1e-36)


@every_level
@every_dtype
def test_nothing_is_written_outside_and_everything_inside(level: str, dtype, monkeypatch) -> None:
    """Every output stands between guards and begins as NaN: guards stay, and no NaN is left."""
    for shape in SHAPES:
        given = case(*shape, dtype)
        guards: list[tuple[Tensor, int]] = []
        with kernels.cpu.at_level(level):
            expected = results(*given)
            with monkeypatch.context() as patch:
                patch.setattr(Tensor, "new_empty", guarded(guards))
                found = results(*given)
        assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
        assert len(guards) == 2
        for whole, count in guards:
            assert (whole[:32] == GUARD).all()
            assert (whole[32 + count :] == GUARD).all()


@every_level
@every_dtype
def test_nan_goes_in_and_comes_out(level: str, dtype) -> None:
    """Of any bits, at a gate, a value or a gradient, it reaches what the reference makes NaN, no more."""
    bits = torch.tensor([0x7FC00000, 0x7FFFFFFF, -1, -0x400000], dtype=torch.int32).view(torch.float32)
    for nan in bits.to(dtype) if dtype == torch.float32 else bits.view(torch.bfloat16)[1::2]:
        for place in range(3):
            x, dy = case(2, 18, dtype)
            (x[1, :18], x[1, 18:], dy[1])[place][17] = nan
            with kernels.cpu.at_level(level):
                found = results(x, dy)
            for got, expected in zip(found, results(x.double(), dy.double(), "naive"), strict=True):
                assert torch.equal(got.isnan(), expected.isnan())


@every_level
@every_dtype
def test_results_do_not_depend_on_threads(level: str, dtype, monkeypatch) -> None:
    monkeypatch.setattr(library, "ENOUGH", 1)
    given, before, found = case(63, 17, dtype), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with kernels.cpu.at_level(level):
                found.append(results(*given))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], other, strict=True))


@every_dtype
@pytest.mark.parametrize(
    "way",
    [
        lambda x: x.mT.contiguous().mT,
        lambda x: torch.cat([x, x], -1)[:, : x.shape[1]],
        lambda x: x[:1].expand(x.shape),
    ],
)
def test_strides_do_not_matter(dtype, way: Callable[[Tensor], Tensor]) -> None:
    """Transposed, cut out or broadcast, x and y's gradient give the bits of contiguous ones."""
    x, dy = (way(y) for y in case(20, 18, dtype))
    dense = results(x.contiguous(), dy.contiguous())
    assert all(torch.equal(a, b) for a, b in zip(results(x, dy), dense, strict=True))


@pytest.mark.parametrize("shape", [(0, 8), (3, 0), (2, 0, 8), (0,)], ids=str)
def test_empty_sizes_give_empty_results(shape: tuple[int, ...]) -> None:
    y, dx = results(torch.zeros(shape), torch.zeros(*shape[:-1], shape[-1] // 2))
    assert y.shape == (*shape[:-1], shape[-1] // 2)
    assert dx.shape == shape


def test_any_axes_are_rows() -> None:
    x = torch.randn(2, 3, 5, 12)
    flat = ops.gated_silu(x.flatten(0, 2), form="compiled")
    assert torch.equal(ops.gated_silu(x, form="compiled").flatten(0, 2), flat)
    assert torch.equal(ops.gated_silu(x[0, 0, 0], form="compiled"), flat[0])


@every_dtype
def test_torch_takes_it_for_an_operator_of_its_own(dtype) -> None:
    """opcheck: its schema, fake tensors, autograd registration, tracing."""
    x, dy = case(3, 18, dtype)
    torch.library.opcheck(gating._forward, (x.clone().requires_grad_(),))
    torch.library.opcheck(gating._backward, (dy, x))


def test_a_second_derivative_is_refused() -> None:
    x = torch.randn(2, 8, requires_grad=True)
    (dx,) = torch.autograd.grad(ops.gated_silu(x, form="compiled").square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        dx.sum().backward()


@pytest.mark.parametrize(
    ("dtype", "level", "message"),
    [
        (torch.float64, None, "form: 'compiled' does not run here: computes in float32 alone"),
        (torch.float32, "off", "form: 'compiled' does not run here: turned off"),
    ],
)
def test_asked_for_where_it_does_not_run_it_is_refused(dtype, level, message: str) -> None:
    with kernels.cpu.at_level(level or LEVELS[0]), pytest.raises(ValueError, match=message):
        ops.gated_silu(torch.zeros(2, 8, dtype=dtype), form="compiled")


def test_exported_graphs_have_none_of_it() -> None:
    class Gate(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ops.gated_silu(x)

    program = torch.export.export(Gate(), (torch.zeros(1, ENOUGH),))
    assert not [node for node in program.graph.nodes if "linsight" in str(node.target)]


def test_auto_takes_it_for_large_inputs_and_eager_elsewhere(monkeypatch) -> None:
    taken = []

    def compiled(x):
        taken.append((x.numel(), x.dtype))
        return x[..., ::2]

    monkeypatch.setattr(kernels.cpu, "gated_silu", compiled)
    for size, dtype in ((ENOUGH - 2, torch.float32), (ENOUGH, torch.float32), (ENOUGH, torch.bfloat16)):
        ops.gated_silu(torch.zeros(size, dtype=dtype))
    ops.gated_silu(torch.zeros(ENOUGH, dtype=torch.float64))
    with kernels.cpu.at_level("off"):
        ops.gated_silu(torch.zeros(ENOUGH))
    assert taken == [(ENOUGH, torch.float32), (ENOUGH, torch.bfloat16)]


def test_the_structure_has_the_size_of_the_fields_in_c() -> None:
    assert ctypes.sizeof(gating._GatedSilu) == 8 * len(gating._GatedSilu._fields_) == 8 * 8
