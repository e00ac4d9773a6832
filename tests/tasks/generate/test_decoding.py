"""What a compiled decoding step is measured against: the same logits, and the same draws."""

import sys
import types
from dataclasses import replace

import pytest
import torch

from linsight import kernels
from linsight.mixers import config
from linsight.models.sequence import ImageDensityConfig, SequenceConfig
from linsight.profiling import Unmeasured, measure_ratio
from linsight.profiling.ratios import largest_error
from linsight.tasks.generate import decoding

needs_library = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")
TINY = ImageDensityConfig(
    height=4, width=6, patch=(1, 1), sequence=SequenceConfig(dim=16, layers=2, mlp_dim=24)
)


def equal(found, exact) -> bool:
    return largest_error(found, exact) < 1e-6


@needs_library
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("other", [decoding._beside_own, decoding._beside_prefix])
def test_other_ways_to_the_next_token_have_the_same_logits(other, batch: int) -> None:
    """The four after the middle; a walk goes on from there."""
    calls = decoding._steps(TINY, batch, other)
    exact = calls.exact()
    assert [x.shape for x in exact] == [(batch, 12)] * 4
    assert equal(calls.ours(), exact)
    assert equal(calls.other(), exact)
    assert equal(calls.ours(), calls.exact())
    assert not equal(calls.ours(), exact)


@needs_library
def test_a_cache_is_that_of_the_same_model_with_softmax() -> None:
    calls = decoding._steps(TINY, 2, decoding._beside_cache)
    assert equal(calls.ours(), calls.exact())
    first, second = calls.other(), calls.other()
    assert [x.shape for x in first] == [(2, 12)] * 4
    assert calls.other.state.layers[0].position.tolist() == [20, 20]
    assert not equal(first, second)


@needs_library
def test_bfloat16_steps_are_those_of_the_rounded_model() -> None:
    calls = decoding._steps(TINY, 1, decoding._beside_cache, half=True)
    whole = decoding._steps(TINY, 1, decoding._beside_cache)
    exact = calls.exact()
    assert equal(calls.ours(), exact)
    assert not equal(whole.ours(), exact)


def test_all_lines_have_a_network_of_their_own(monkeypatch) -> None:
    """The bfloat16 one is large enough that its weights are read from memory at every step: 25 MB."""
    asked = []
    monkeypatch.setattr(decoding, "_steps", lambda *args, half=False: asked.append((args[:2], half)))
    monkeypatch.setattr(decoding, "_sequences", lambda *args: asked.append((args, None)))
    lines = [(case.make(), case.line)[1] for case in decoding.decode_cases()]
    assert [density for (density, _), half in asked if half] == [decoding.LARGE]
    assert {density for (density, _), half in asked if not half} == {decoding.SMALL}
    for line, ((_, batch), _) in zip(lines, asked, strict=True):
        assert f"B={batch}" in line.what
    stack = decoding.LARGE.build().network.stack
    assert sum(p.nbytes for p in stack.parameters()) == pytest.approx(25e6, rel=0.05)


@needs_library
def test_sequences_are_drawn_as_in_float64_beside_gpt2(monkeypatch) -> None:
    """A stand-in for transformers, which is told the sizes of our model and asked for as many tokens."""
    asked = {}

    class Model(torch.nn.Module):
        def __init__(self, config):
            super().__init__()
            asked.update(config)

        def generate(self, start, **options):
            asked.update(options)
            return start.expand(-1, 1 + options["max_new_tokens"])

    module = types.ModuleType("transformers")
    module.GPT2Config, module.GPT2LMHeadModel = dict, Model
    monkeypatch.setitem(sys.modules, "transformers", module)
    calls = decoding._sequences(TINY, 3)
    (ours,), (exact,) = calls.ours(), calls.exact()
    assert torch.equal(ours, exact)
    assert ours.shape == (3, 24)
    assert set(ours.unique().tolist()) == {0, 1}
    assert calls.other()[0].shape == (3, 25)
    sizes = ("n_embd", "n_layer", "n_head", "n_inner", "max_new_tokens", "use_cache")
    assert [asked[name] for name in sizes] == [16, 2, 4, 36, 24, True]


def test_gpt2_generates_where_transformers_is_installed() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    calls = decoding._sequences(TINY, 2)
    assert calls.other()[0].shape == (2, 25)


@needs_library
def test_a_step_that_is_not_compiled_is_not_measured() -> None:
    with kernels.cpu.at_level("off"), pytest.raises(Unmeasured):
        decoding._steps(TINY, 1, decoding._beside_own)
    softmax = replace(TINY, sequence=replace(TINY.sequence, mixers=(config("softmax"),)))
    with pytest.raises(Unmeasured, match="SoftmaxAttention"):
        decoding._steps(softmax, 1, decoding._beside_own)


@needs_library
def test_a_line_is_measured_from_end_to_end(monkeypatch) -> None:
    for name in ("SMALL", "LARGE"):  # with places for the steps of eight calls
        monkeypatch.setattr(decoding, name, replace(TINY, height=12))
    for case in decoding.decode_cases():
        if case.line.op == "decode":
            found = measure_ratio(case, seconds=0.0)
            assert found.note == ""
            assert found.error is not None
            assert found.error < 1e-6
