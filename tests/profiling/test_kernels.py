"""What the compiled ops are measured against: each line's two sides, and the check before it."""

import sys
import types
from functools import partial

import pytest
from torch import Tensor

from linsight import kernels, profiling
from linsight.profiling import kernels as measuring
from linsight.profiling.ratios import largest_error

needs_library = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")


def equal(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> bool:
    return largest_error(found, exact) < 2e-6


def test_every_compiled_op_is_checked_and_measured() -> None:
    compiled = {op for op, engines in kernels.OPS.items() if "compiled" in engines}
    assert compiled - {"decode"} == measuring.CASES.keys() == measuring.SMALL.keys()
    assert compiled - {"decode"} == {case.line.op for case in measuring.kernel_cases()}


@needs_library
@pytest.mark.parametrize("op", measuring.SMALL)
def test_compiled_ops_equal_their_definitions(op: str) -> None:
    assert profiling.self_check(op) < 2e-6


def test_without_a_library_the_eager_blocks_alone_are_measured(monkeypatch) -> None:
    monkeypatch.setattr(measuring, "_eager", lambda length: "made")
    with kernels.cpu.at_level("off"):
        off = kernels.cpu.why_not()
        first, *others = measuring.kernel_cases()
        assert first.make() == "made"
        for case in others:
            with pytest.raises(profiling.Unmeasured, match=str(off)):
                case.make()


def test_the_eager_blocks_equal_a_step_a_token() -> None:
    calls = measuring._eager(70)
    assert equal(calls.ours(), calls.exact())


@needs_library
def test_performers_sums_are_ours(monkeypatch) -> None:
    """Its published formula, of (B, H, T, K): sums of all tokens so far, over the sum of the weights."""

    def sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = (q @ k.mT).tril()
        return weights @ v / (weights.sum(-1, keepdim=True) + 1e-6 * q.sum(-1, keepdim=True))

    attention = types.SimpleNamespace(causal_linear_fn=sums)
    monkeypatch.setattr(measuring, "peer", lambda *_, **__: types.SimpleNamespace(fast_attention=attention))
    calls = measuring._beside_performer(70)
    assert equal(calls.ours(), calls.exact())
    assert equal(calls.other(), calls.exact())


@needs_library
@pytest.mark.parametrize("run", [measuring.forward, measuring.gradients])
def test_the_product_of_fast_transformers_is_ours(monkeypatch, run) -> None:
    """Its documented function of (B, H, T, K)."""
    module = types.ModuleType("fast_transformers.causal_product")
    module.causal_dot_product = lambda q, k, v: (q @ k.mT).tril() @ v
    monkeypatch.setitem(sys.modules, "fast_transformers", types.ModuleType("fast_transformers"))
    monkeypatch.setitem(sys.modules, "fast_transformers.causal_product", module)
    calls = measuring._beside_fast_transformers(run, 70)
    assert equal(calls.ours(), calls.exact())
    assert equal(calls.other(), calls.exact())


def test_the_loop_over_tokens_computes_the_scan() -> None:
    call, inputs = measuring.SMALL["selective_scan"]()
    exact = call(*(x.double() for x in inputs[:5]), form="naive")
    assert equal((measuring._prepared_scan(*inputs[:5]),), (exact,))


def test_complex_powers_are_the_convolution_kernel() -> None:
    calls = measuring._beside_powers(9)
    assert equal(calls.ours(), calls.exact())
    assert equal(calls.other(), calls.exact())


def test_the_products_are_as_much_work_as_they_are_asked_for() -> None:
    """512^3 each, and a narrow one for what is left."""
    whole = measuring._product(2 * 512**3 * 2.25)()
    assert sum(2 * 512 * 512 * x.shape[1] for x in whole) == 2 * 512**3 * 2.25


@needs_library
def test_a_wrong_kernel_is_not_measured(monkeypatch) -> None:
    right = kernels.cpu.linear_attention

    def wrong(*args, **options):
        o, state = right(*args, **options)
        return o * 1.001, state

    monkeypatch.setattr(kernels.cpu, "linear_attention", wrong)
    check = partial(profiling.check_kernel, "linear_attention")
    with pytest.raises(profiling.Unmeasured, match="its self-check is red: relative error 1e-03"):
        check()
    monkeypatch.undo()
    assert check() is None
