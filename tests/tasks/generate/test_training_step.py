"""The training step that is measured: float64's gradients, a loss that falls, a peer of another mixer."""

import pytest
import torch

from linsight import kernels
from linsight.models.sequence import ImageDensityConfig, SequenceConfig
from linsight.optim import implementation
from linsight.profiling import Unmeasured
from linsight.profiling.ratios import largest_error
from linsight.tasks.generate import training_step

needs_library = pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")
TINY = ImageDensityConfig(
    height=4,
    width=6,
    patch=(1, 1),
    label="first",
    sequence=SequenceConfig(dim=16, layers=2, mlp_dim=24),
)


@needs_library
def test_a_step_is_that_of_float64_and_learns() -> None:
    calls = training_step._steps(TINY, 3)
    first = calls.ours()
    assert largest_error(first, calls.exact()) < 1e-5
    assert first[1].norm() > 0
    for _ in range(20):
        last = calls.ours()
    assert last[0] < first[0]


@needs_library
def test_the_other_has_the_same_sizes_and_optimiser() -> None:
    calls = training_step._steps(TINY, 3)
    ours, other = calls.ours, calls.other
    sizes = [sum(p.numel() for p in step.model.parameters()) for step in (ours, other)]
    assert sizes[0] == sizes[1]
    assert [implementation(step.optimizer) for step in (ours, other)] == ["adamw: fused"] * 2
    assert [mixer.config.kind for step in (ours, other) for mixer in step.model.stack.mixers] == (
        ["linear"] * 2 + ["softmax"] * 2
    )
    assert torch.equal(ours.tokens, other.tokens)


def test_every_pixel_of_784_is_predicted_from_those_before_it() -> None:
    step = training_step._Step(training_step.MODEL.build().network, torch.arange(784)[None] % 2)
    assert step.tokens.shape == (1, 784)
    assert step.tokens[0, :4].tolist() == [2, 0, 1, 0]


def test_it_is_not_measured_without_the_kernel() -> None:
    with kernels.cpu.at_level("off"), pytest.raises(Unmeasured):
        training_step._steps(TINY, 1)
