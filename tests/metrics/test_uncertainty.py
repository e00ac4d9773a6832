"""Coverage, reliability and sparsification: by hand, where they hold, and where they do not."""

import math
from collections.abc import Callable

import pytest
import torch

from linsight.metrics import (
    RegionCoverage,
    SigmaReliability,
    coverage_compute,
    reliability_compute,
    sparsification,
)


def test_coverage_by_hand_the_border_included() -> None:
    metric = RegionCoverage(nominal=(0.5, 0.9))
    metric.update(torch.tensor([[0.5, 0.2], [0.91, 0.6]]), torch.tensor([[1, 1], [1, 0]]))
    found = metric.compute()
    assert found.coverage.tolist() == pytest.approx([2 / 3, 2 / 3])
    assert found.num_examples.item() == 3
    assert found.standard_error.tolist() == pytest.approx([math.sqrt(2 / 27)] * 2)


def test_uniform_levels_are_calibrated_and_squares_are_not() -> None:
    """The levels of a density that is too wide bunch at 0: P(u^2 <= 1/2) = 0.707."""
    u = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    metric, wide = RegionCoverage(), RegionCoverage()
    metric.update(u)
    wide.update(u.square())
    assert metric.compute().coverage.tolist() == pytest.approx([0.5, 0.8, 0.9], abs=0.01)
    assert metric.compute().error.item() < 0.01
    assert wide.compute().coverage[0].item() == pytest.approx(math.sqrt(0.5), abs=0.01)
    nominal = torch.arange(1, 20).double() / 20
    assert wide.compute().error.item() == pytest.approx((nominal.sqrt() - nominal).mean().item(), abs=0.01)


def test_all_inside_and_all_outside() -> None:
    for level, want in ((0.0, 1.0), (1.0, 0.0)):
        metric = RegionCoverage()
        metric.update(torch.full((7,), level))
        assert metric.compute().coverage.tolist() == [want] * 3
        assert metric.compute().error.item() == pytest.approx(0.5), "the mean of 5 % .. 95 %"


def test_reliability_by_hand() -> None:
    """Bins parted at 1: sigma 2 with errors 3 and -4, sigma 0.5 with error 0.5."""
    metric = SigmaReliability(low=0.1, high=10.0, num_bins=2)
    metric.update(
        torch.tensor([3.0, -4.0, 0.5, 9e9]), torch.tensor([2.0, 2.0, 0.5, 1.0]), torch.tensor([1, 1, 1, 0])
    )
    found = metric.compute()
    assert found.sigma.tolist() == pytest.approx([0.5, 2])
    assert found.error.tolist() == pytest.approx([0.5, math.sqrt(12.5)])
    assert found.calibration_error.item() == pytest.approx(2 / 3 * (math.sqrt(12.5) - 2) / 2)
    assert found.num_examples.tolist() == [1, 2]


def test_true_sigmas_are_reliable_and_halved_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    sigma = (2 * torch.randn(60_000, generator=generator)).exp()
    error = sigma * torch.randn(60_000, generator=generator)
    for factor, want in ((1.0, 0.0), (0.5, 1.0)):
        metric = SigmaReliability(1e-3, 1e3, num_bins=12)
        metric.update(error, factor * sigma)
        assert metric.compute().calibration_error.item() == pytest.approx(want, abs=0.03)


def test_sparsification_by_hand() -> None:
    """Errors 4, 3, 2, 1: sure in the same order, nothing is lost; in reverse, what is left gets worse."""
    error = torch.tensor([1.0, 4.0, 2.0, 3.0])
    good = sparsification(error, error, steps=4)
    assert good.by_sigma.tolist() == [2.5, 2.0, 1.5, 1.0]
    assert good.by_error.tolist() == [2.5, 2.0, 1.5, 1.0]
    assert good.area.item() == 0
    bad = sparsification(error, -error, steps=4)
    assert bad.by_sigma.tolist() == [2.5, 3.0, 3.5, 4.0]
    assert bad.area.item() == pytest.approx((0 + 1 + 2 + 3) / 4 / 2.5)
    assert bad.dropped.tolist() == [0, 0.25, 0.5, 0.75]
    assert sparsification(error[:1], error[:1]).area.item() == 0


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (
            lambda: RegionCoverage(()),
            ValueError,
            r"nominal: expected probabilities between 0 and 1, got \(\)",
        ),
        (lambda: RegionCoverage((1.0,)), ValueError, "nominal: expected probabilities between 0 and 1"),
        (lambda: coverage_compute(RegionCoverage().sums), ValueError, "there are no examples yet"),
        (lambda: reliability_compute(SigmaReliability(1, 2).sums), ValueError, "there are no examples yet"),
        (lambda: RegionCoverage().update(torch.ones(2).long()), TypeError, "level: expected floating point"),
        (
            lambda: RegionCoverage().update(torch.tensor([1.1])),
            ValueError,
            "level: expected probabilities of",
        ),
        (lambda: RegionCoverage().update(torch.tensor([math.nan])), ValueError, "level: expected probabilit"),
        (
            lambda: RegionCoverage().update(torch.rand(3), torch.ones(2)),
            ValueError,
            r"visible: expected shape \(3,\), got \(2,\)",
        ),
        (lambda: SigmaReliability(2.0, 1.0), ValueError, "low: expected 0 < low < high, got 2.0 and 1.0"),
        (lambda: SigmaReliability(1, 2, 1), ValueError, "num_bins: expected an integer >= 2, got 1"),
        (
            lambda: SigmaReliability(1, 2).update(torch.rand(3), torch.ones(2)),
            ValueError,
            r"sigma: expected shape \(3,\) of error, got \(2,\)",
        ),
        (
            lambda: SigmaReliability(1, 2).update(torch.rand(2), torch.tensor([1.0, 0.0])),
            ValueError,
            "sigma: expected numbers above 0 beside finite errors, got others",
        ),
        (
            lambda: SigmaReliability(1, 2).update(torch.tensor([math.nan]), torch.ones(1)),
            ValueError,
            "sigma: expected numbers above 0 beside finite errors, got others",
        ),
        (lambda: sparsification(torch.rand(2), torch.rand(3)), ValueError, "sigma: expected one for each"),
        (lambda: sparsification(torch.rand(0), torch.rand(0)), ValueError, "at least one, got"),
        (lambda: sparsification(torch.rand(2), torch.rand(2), 0), ValueError, "steps: expected at least 1"),
    ],
)
def test_refusals(call: Callable[[], object], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        call()
