"""`auto` picks a form and a block size from shapes alone, and computes the same function."""

import pytest
import torch
from linear_cases import DECAYS, case

from linsight import kernels, ops


@pytest.fixture
def _eager():
    with kernels.cpu.at_level("off"):
        yield


def plan(length, *, batch=1, heads=8, features=64, dtype=torch.float32, decay=None, device="meta", **options):
    q = torch.empty(batch, length, heads, features, dtype=dtype, device=device)
    shapes = {"head": (heads,), "token": q.shape[:3], "feature": q.shape}
    log_decay = None if decay is None else torch.empty(shapes[decay], device=device)
    return ops.linear_attention_plan(q, q, q, log_decay, **options)


@pytest.mark.usefixtures("_eager")
def test_one_token_is_a_recurrent_step_and_a_short_row_one_block():
    assert plan(1, device="cpu") == ("recurrent", None)
    assert plan(0, device="cpu") == ("recurrent", None)
    for length in (2, 64):
        assert plan(length, device="cpu") == ("parallel", None)
    assert plan(128, device="cpu") == plan(128, device="cpu", dtype=torch.bfloat16) == ("parallel", None)


@pytest.mark.usefixtures("_eager")
def test_a_long_row_is_cut_evenly_into_blocks():
    assert plan(129, device="cpu") == ("chunk", 43)
    assert plan(128, batch=3, device="cpu") == ("chunk", 64)
    assert plan(65, device="cpu", decay="token") == ("chunk", 33)
    assert plan(98, device="cpu", decay="head") == ("chunk", 49)
    assert plan(1024, device="cpu") == ("chunk", 64)
    assert plan(256, device="cpu", dtype=torch.bfloat16) == ("chunk", 128)
    assert plan(256, device="cpu", dtype=torch.bfloat16, decay="token") == ("chunk", 64)


@pytest.mark.usefixtures("_eager")
def test_blocks_of_a_large_batch_shrink_until_they_fit_the_cache():
    assert plan(98, batch=64, heads=4, features=32, device="cpu") == ("chunk", 25)
    assert plan(98, batch=64, heads=4, features=32, device="cpu", dtype=torch.bfloat16) == ("parallel", None)
    assert plan(784, batch=64, heads=4, features=32, device="cpu").chunk_size == 32


@pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")
def test_the_compiled_kernel_is_taken_from_two_tokens_on():
    for length in (2, 64, 1000):
        for dtype in (torch.float32, torch.bfloat16):
            assert plan(length, device="cpu", dtype=dtype, decay="token") == ("compiled", None)
    assert plan(1, device="cpu").form == "recurrent"
    assert plan(64, device="cpu", dtype=torch.float64).form == "parallel"
    assert plan(64, device="cpu", chunk_size=8).form == "chunk"


def test_another_device_gets_large_blocks():
    assert plan(256) == ("parallel", None)
    assert plan(1024) == ("chunk", 256)


def test_a_chunk_size_that_is_given_is_kept():
    assert plan(100, device="cpu", chunk_size=7) == ("chunk", 7)
    assert plan(100, device="cpu", chunk_size=200) == ("parallel", None)
    assert plan(100, device="cpu", form="chunk", chunk_size=200) == ("chunk", 200)


@pytest.mark.parametrize("form", ["naive", "parallel", "recurrent"])
def test_a_form_that_is_given_is_kept(form):
    assert plan(1024, form=form) == (form, None)


@pytest.mark.parametrize("decay", DECAYS)
def test_auto_is_bit_for_bit_the_form_that_it_names(decay):
    for length in (1, 40, 130):
        call = case(length, decay)
        form, chunk_size = ops.linear_attention_plan(call.q, call.k, call.v, call.log_decay)
        for auto, named in zip(call("auto"), call(form, chunk_size), strict=True):
            assert torch.equal(auto, named)
