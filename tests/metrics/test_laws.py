"""Laws of every metric: any split into updates, merges, resets and processes gives the same value."""

import copy
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from linsight.metrics import (
    PCK,
    Accuracy,
    AngularError,
    CalibrationError,
    ClassNLL,
    ConfusionMatrix,
    KeypointError,
    NegativeLogLikelihood,
    RegionCoverage,
    SigmaReliability,
    SumMetric,
)

CLASSES = 4
Batch = tuple[Tensor, ...]


def likelihoods(size: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return (-80 + 20 * torch.randn(size, generator=generator),)


def classes(size: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    log_prob = (2 * torch.randn(size, CLASSES, generator=generator)).log_softmax(1)
    return log_prob, torch.randint(CLASSES, (size,), generator=generator)


def gazes(size: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    angles = 0.4 * torch.randn(2, size, 2, generator=generator)
    return angles[0], angles[1], torch.randint(3, (size,), generator=generator)


def poses(size: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    found, truth = torch.randn(2, size, 5, 2, generator=generator)
    visible = torch.randint(0, 3, (size, 5), generator=generator)
    visible[:, 0] = 2
    return found, truth, visible, 1 + torch.rand(size, generator=generator)


def levels(size: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, 3, generator=generator), torch.randint(0, 2, (size, 3), generator=generator)


def scales(size: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    error, sigma = torch.randn(2, size, generator=generator)
    return error, sigma.exp(), torch.ones(size)


CASES = [
    pytest.param(NegativeLogLikelihood, likelihoods, id="nll"),
    pytest.param(Accuracy, classes, id="accuracy"),
    pytest.param(lambda: ConfusionMatrix(CLASSES), classes, id="confusion"),
    pytest.param(ClassNLL, classes, id="class_nll"),
    pytest.param(CalibrationError, classes, id="calibration"),
    pytest.param(lambda: AngularError(3), gazes, id="angular"),
    pytest.param(lambda: PCK(5, (0.5, 1.0)), poses, id="pck"),
    pytest.param(lambda: KeypointError(5), poses, id="keypoint_error"),
    pytest.param(lambda: KeypointError(5, "root"), poses, id="keypoint_error_root"),
    pytest.param(lambda: KeypointError(5, "similarity"), poses, id="keypoint_error_similarity"),
    pytest.param(RegionCoverage, levels, id="coverage"),
    pytest.param(lambda: SigmaReliability(0.1, 10), scales, id="reliability"),
]


def whole(build: Callable[[], SumMetric], batch: Batch) -> tuple[Tensor, ...]:
    metric = build()
    metric.update(*batch)
    return values(metric)


def values(metric: SumMetric) -> tuple[Tensor, ...]:
    value = metric.compute()
    return value if isinstance(value, tuple) else (value,)


def check_same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """Integers exactly, float64 up to rounding of the sums."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        if one.is_floating_point():
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13, equal_nan=True)
        else:
            assert torch.equal(one, other)


@pytest.mark.parametrize(("build", "make"), CASES)
@settings(max_examples=40)
@given(
    size=st.integers(2, 40),
    seed=st.integers(0, 10**6),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    owners=st.lists(st.integers(0, 2), min_size=7, max_size=7),
    order=st.permutations(range(3)),
)
def test_any_split_into_updates_and_merges_gives_the_same_value(build, make, size, seed, cuts, owners, order):
    batch = make(size, seed)
    metrics = [build() for _ in range(3)]
    edges = [0, *sorted(min(cut, size) for cut in cuts), size]
    for owner, low, high in zip(owners, edges[:-1], edges[1:], strict=False):
        metrics[owner].update(*(tensor[low:high] for tensor in batch))
    total = build()
    for index in order:
        total.merge(metrics[index])
    check_same(values(total), whole(build, batch))


@pytest.mark.parametrize(("build", "make"), CASES)
def test_order_of_examples_does_not_matter(build, make):
    batch = make(50, 1)
    order = torch.randperm(50)
    check_same(whole(build, tuple(tensor[order] for tensor in batch)), whole(build, batch))


@pytest.mark.parametrize(("build", "make"), CASES)
def test_reset_forgets_and_an_empty_batch_adds_nothing(build, make):
    batch, metric = make(20, 2), build()
    metric.update(*make(9, 3))
    metric.compute()
    metric.reset()
    metric.update(*make(0, 0))
    metric.update(*batch)
    metric.update(*make(0, 0))
    check_same(values(metric), whole(build, batch))


@pytest.mark.parametrize(("build", "make"), CASES)
def test_looking_at_the_value_changes_nothing_and_is_never_stale(build, make):
    """torchmetrics caches the value of compute, and its own merge_state does not clear it."""
    batch, metric = make(20, 4), build()
    metric.update(*(tensor[:8] for tensor in batch))
    first = values(metric)
    check_same(values(metric), first)
    rest = build()
    rest.update(*(tensor[8:14] for tensor in batch))
    metric.merge(rest)
    metric.compute()
    last = build()
    last.update(*(tensor[14:] for tensor in batch))
    metric.merge_state(last)
    metric.compute()
    check_same(values(metric), whole(build, batch))


@pytest.mark.parametrize(("build", "make"), CASES)
def test_forward_gives_the_value_of_the_batch_and_accumulates(build, make):
    batch, metric = make(20, 5), build()
    metric(*(tensor[:8] for tensor in batch))
    part = tuple(tensor[8:] for tensor in batch)
    value = metric(*part)
    check_same(value if isinstance(value, tuple) else (value,), whole(build, part))
    check_same(values(metric), whole(build, batch))


@pytest.mark.parametrize(("build", "make"), CASES)
def test_copies_and_pickles_go_on_from_the_same_state(build, make):
    batch, metric = make(20, 6), build()
    metric.update(*(tensor[:8] for tensor in batch))
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        other.update(*(tensor[8:] for tensor in batch))
        check_same(values(other), whole(build, batch))
    check_same(values(metric), whole(build, tuple(tensor[:8] for tensor in batch)))


@pytest.mark.parametrize(("build", "make"), CASES)
@pytest.mark.parametrize(
    "cast",
    [
        lambda module: module.to(torch.bfloat16),
        lambda module: module.half(),
        lambda module: module.double(),
        lambda module: module.float(),
        lambda module: module.to("cpu", torch.float16),
    ],
)
def test_sums_keep_their_precision_inside_a_module_that_is_cast(build, make, cast):
    batch = make(20, 7)
    module = nn.ModuleDict({"metric": build(), "layer": nn.Linear(2, 2)})
    metric = module["metric"]
    metric.update(*(tensor[:8] for tensor in batch))
    cast(module)
    metric.update(*(tensor[8:] for tensor in batch))
    check_same(values(metric), whole(build, batch))
    metric.reset()
    metric.update(*batch)
    check_same(values(metric), whole(build, batch))


def test_merging_what_does_not_belong_together_is_refused():
    with pytest.raises(TypeError, match="other: expected Accuracy, got ClassNLL"):
        Accuracy().merge(ClassNLL())
    with pytest.raises(ValueError, match=r"other: expected matrix of shape \(3, 3\), got \(4, 4\)"):
        ConfusionMatrix(3).merge(ConfusionMatrix(4))
    with pytest.raises(ValueError, match=r"other: expected num_examples of shape \(15,\), got \(10,\)"):
        CalibrationError().merge(CalibrationError(10))


def test_two_processes_agree_with_one(tmp_path: Path):
    """gloo, with parts of different sizes, one of them empty: every rank gets the value of the whole."""
    script = tmp_path / "rank.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import torch
            import torch.distributed as dist
            from linsight.metrics import CalibrationError, NegativeLogLikelihood

            rank = int(sys.argv[1])
            dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
            likelihood, calibration = NegativeLogLikelihood(), CalibrationError()
            likelihood.update(-torch.arange(10.0)[: 7] if rank else -torch.arange(10.0)[7:])
            calibration.update(torch.full((6 * rank, 2), 0.5).log(), torch.arange(6 * rank) % 2)
            print(likelihood.compute().value.item(), likelihood.compute().num_examples.item(),
                  calibration.compute().num_examples.sum().item(), likelihood.sums.num_examples.item())
            dist.destroy_process_group()
            """
        )
    )
    command = [sys.executable, str(script)]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=240)[0].split() for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert outputs == [["4.5", "10", "6", "3"], ["4.5", "10", "6", "7"]]
