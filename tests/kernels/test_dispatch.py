"""The dispatcher names the engine that runs and, for every faster one, why it does not."""

import pytest
import torch

from linsight import kernels, ops


@pytest.mark.parametrize("op", kernels.OPS)
@pytest.mark.parametrize("device", ["cpu", "cuda", torch.device("cuda", 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_op_has_an_engine_everywhere_and_a_reason_for_each_faster_one(op, device, dtype):
    choice = kernels.choose(op, device, dtype)
    faster = ("triton", "compiled", "eager")
    assert set(choice.passed_over) == set(faster[: faster.index(choice.engine)])
    assert all(choice.passed_over.values())


def test_compiled_kernels_run_on_the_cpu_in_float32_where_there_is_a_library():
    def engine(device, dtype):
        return kernels.choose("selective_scan", device, dtype).engine

    here = "compiled" if kernels.cpu.levels() else "eager"
    assert engine("cpu", torch.float32) == engine("cpu", torch.bfloat16) == here
    assert engine("cpu", torch.float64) == engine("cuda", torch.float32) == "eager"
    assert kernels.choose("decode", "cpu", torch.float32).engine == here
    assert kernels.choose("decode", "cpu", torch.bfloat16).engine == "eager"


def test_reasons_tell_a_missing_kernel_from_another_device():
    reasons = kernels.choose("low_rank_space", "cpu", torch.float32).passed_over
    assert reasons == {
        "triton": "runs on cuda alone",
        "compiled": "linsight has no compiled kernel of low_rank_space yet",
    }


def test_a_faster_engine_is_chosen_once_the_op_has_it(monkeypatch):
    if not kernels.cpu.levels():
        pytest.skip(f"no library: {kernels.cpu.why_not()}")
    monkeypatch.setitem(kernels.OPS, "low_rank_space", ("compiled", "eager"))
    assert kernels.choose("low_rank_space", "cpu", torch.float32).engine == "compiled"
    assert kernels.choose("low_rank_space", "cuda", torch.float32).engine == "eager"


def test_the_table_names_public_ops_and_a_models_step():
    assert all(callable(getattr(ops, op)) for op in kernels.OPS if op != "decode")


def test_unknown_ops_and_integers_are_refused():
    with pytest.raises(
        ValueError, match=r"op: expected one of linear_attention, delta_rule, .*, got 'attention'"
    ):
        kernels.choose("attention", "cpu", torch.float32)
    with pytest.raises(TypeError, match=r"dtype: expected a floating-point dtype, got torch\.int64"):
        kernels.choose("linear_attention", "cpu", torch.int64)
