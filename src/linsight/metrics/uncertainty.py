"""Whether sigmas and densities are what they say: coverage of regions, reliability, sparsification."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.metrics.base import SumMetric, require_examples

__all__ = [
    "Coverage",
    "CoverageSums",
    "RegionCoverage",
    "Reliability",
    "ReliabilitySums",
    "SigmaReliability",
    "Sparsification",
    "coverage_compute",
    "coverage_update",
    "reliability_compute",
    "reliability_update",
    "sparsification",
]

_STEPS = 20


class CoverageSums(NamedTuple):
    """The number of examples, how many are inside each nominal region, and a histogram of levels."""

    num_examples: Int[Tensor, ""]
    num_inside: Int[Tensor, " nominal"]
    histogram: Int[Tensor, " steps"]


class Coverage(NamedTuple):
    """How many examples each region holds, against how many it promises."""

    coverage: Float[Tensor, " nominal"]
    standard_error: Float[Tensor, " nominal"]
    """Binomial, sqrt(c (1 - c) / n)."""
    error: Float[Tensor, ""]
    """The mean over regions of 5 %, 10 % .. 95 % of |coverage - nominal|."""
    num_examples: Int[Tensor, ""]


class ReliabilitySums(NamedTuple):
    """In each bin of sigma: the number of errors, and the sums of sigma^2 and of error^2."""

    num_examples: Int[Tensor, " bins"]
    sigma_squares: Float[Tensor, " bins"]
    error_squares: Float[Tensor, " bins"]


class Reliability(NamedTuple):
    """Predicted against true scale; NaN in bins without an example."""

    sigma: Float[Tensor, " bins"]
    """Root of the mean of sigma^2."""
    error: Float[Tensor, " bins"]
    """Root of the mean of error^2: the same, if sigma is a standard deviation."""
    calibration_error: Float[Tensor, ""]
    """Mean over examples of |error - sigma| / sigma of their bin."""
    num_examples: Int[Tensor, " bins"]


class Sparsification(NamedTuple):
    """Mean errors of what is left when a share is dropped: the least sure first, or the worst first."""

    dropped: Float[Tensor, " steps"]
    by_sigma: Float[Tensor, " steps"]
    by_error: Float[Tensor, " steps"]
    area: Float[Tensor, ""]
    """Mean of by_sigma - by_error, over the mean error (AUSE): 0 where sigma orders as the errors do."""


def coverage_update(level: Tensor, nominal: Sequence[float], visible: Tensor | None = None) -> CoverageSums:
    """The sums over a batch of levels: the probability of the region that just holds the truth.

    Args:
        level: Any shape, from 0 to 1; see `ScaledCodec.level`.
        nominal: Of the regions that are counted.
        visible: Of that shape, above 0 for what counts; None for all.

    Raises:
        TypeError: Levels that are not floating point.
        ValueError: Another shape of `visible`; a level outside of 0 to 1, or NaN, that counts.
    """
    if not level.is_floating_point():
        raise TypeError(f"level: expected floating point, got {level.dtype}")
    level = _selected("visible", visible, level)
    if not ((level >= 0) & (level <= 1)).all():
        raise ValueError("level: expected probabilities of 0 to 1, got another number or NaN")
    level = level.detach().double()
    inside = torch.stack([(level <= one).sum() for one in nominal])
    bins = ((level * _STEPS).ceil().long() - 1).clamp(0, _STEPS - 1)
    return CoverageSums(
        torch.tensor(level.numel(), device=level.device),
        inside,
        torch.bincount(bins, minlength=_STEPS),
    )


def coverage_compute(sums: CoverageSums) -> Coverage:
    """The share inside each region.

    Raises:
        ValueError: No examples.
    """
    require_examples(sums.num_examples)
    n = sums.num_examples.double()
    share = sums.num_inside / n
    reached = sums.histogram.cumsum(0)[:-1] / n
    promised = torch.arange(1, _STEPS, dtype=torch.float64, device=reached.device) / _STEPS
    return Coverage(
        share, (share * (1 - share) / n).sqrt(), (reached - promised).abs().mean(), sums.num_examples
    )


def reliability_update(
    error: Tensor, sigma: Tensor, edges: Tensor, visible: Tensor | None = None
) -> ReliabilitySums:
    """The sums over a batch of errors and their sigmas, of one shape.

    Args:
        error: Any shape.
        sigma: The same shape, above 0.
        edges: (bins - 1,), rising: what parts the bins of sigma.
        visible: The same shape, above 0 for what counts; None for all.

    Raises:
        ValueError: Shapes that differ; a sigma that counts and is not above 0; NaN that counts.
    """
    if sigma.shape != error.shape:
        raise ValueError(f"sigma: expected shape {tuple(error.shape)} of error, got {tuple(sigma.shape)}")
    error, sigma = _selected("visible", visible, error), _selected("visible", visible, sigma)
    if not (sigma > 0).all() or not error.isfinite().all():
        raise ValueError("sigma: expected numbers above 0 beside finite errors, got others")
    error, sigma = error.detach().double(), sigma.detach().double()
    bins, number = torch.bucketize(sigma, edges.to(sigma)), len(edges) + 1
    zeros = sigma.new_zeros(number)
    return ReliabilitySums(
        torch.bincount(bins, minlength=number),
        zeros.index_add(0, bins, sigma.square()),
        zeros.index_add(0, bins, error.square()),
    )


def reliability_compute(sums: ReliabilitySums) -> Reliability:
    """Root mean squares by bin. The relative gap is that of Levi et al. 2019, arXiv 1905.11659 (ENCE).

    Raises:
        ValueError: No examples.
    """
    total = sums.num_examples.sum()
    require_examples(total)
    sigma = (sums.sigma_squares / sums.num_examples).sqrt()
    error = (sums.error_squares / sums.num_examples).sqrt()
    gap = ((error - sigma).abs() / sigma).nan_to_num(0.0)
    return Reliability(sigma, error, (gap * sums.num_examples).sum() / total, sums.num_examples)


def sparsification(error: Tensor, sigma: Tensor, steps: int = 20) -> Sparsification:
    """Mean errors when 0, 1/steps, 2/steps .. of the examples are dropped, the largest sigma first.

    Ilg et al. 2018, arXiv 1802.07095. Equal sigmas are dropped in the order they come in.

    Args:
        error: (examples,), at least 0.
        sigma: (examples,).
        steps: Points of the curve.

    Raises:
        ValueError: Another rank or size; no examples; steps below 1.
    """
    if error.ndim != 1 or sigma.shape != error.shape or not len(error):
        raise ValueError(
            f"sigma: expected one for each error, at least one, got {tuple(sigma.shape)} for "
            f"{tuple(error.shape)}"
        )
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    error = error.detach().double()
    number = len(error)
    kept = torch.tensor([number - math.floor(number * step / steps) for step in range(steps)])
    curves = []
    for order in (sigma.detach().argsort(stable=True), error.argsort()):
        curves.append(error[order].cumsum(0)[kept.to(error.device) - 1] / kept.to(error))
    dropped = torch.arange(steps, dtype=torch.float64) / steps
    area = (curves[0] - curves[1]).mean() / error.mean()
    return Sparsification(dropped, curves[0], curves[1], area)


class RegionCoverage(SumMetric[CoverageSums]):
    """Share of examples inside the regions of 50, 80 and 90 %, or others.

    >>> metric = RegionCoverage(nominal=(0.5,))
    >>> metric.update(torch.tensor([0.1, 0.2, 0.6, 0.4]))
    >>> metric.compute().coverage.item()
    0.75
    """

    def __init__(self, nominal: Sequence[float] = (0.5, 0.8, 0.9)) -> None:
        if not nominal or not all(0 < one < 1 for one in nominal):
            raise ValueError(f"nominal: expected probabilities between 0 and 1, got {tuple(nominal)}")
        inside, histogram = (torch.zeros(size, dtype=torch.int64) for size in (len(nominal), _STEPS))
        super().__init__(CoverageSums(torch.tensor(0), inside, histogram))
        self.nominal = tuple(nominal)

    def update(self, level: Tensor, visible: Tensor | None = None) -> None:
        """Add a batch; see `coverage_update`."""
        self.add(coverage_update(level, self.nominal, visible))

    def compute(self) -> Coverage:
        """The coverage over everything seen; see `coverage_compute`."""
        return coverage_compute(self.sums)


class SigmaReliability(SumMetric[ReliabilitySums]):
    """Root mean square error against predicted sigma, in bins of sigma that are equal on a log scale.

    Args:
        low, high: The range of the bins, 0 < low < high; the outermost bins take what is beyond.
        num_bins: At least 2.

    >>> metric = SigmaReliability(low=0.1, high=10.0, num_bins=2)
    >>> metric.update(torch.tensor([3.0, -4.0, 0.5]), torch.tensor([2.0, 2.0, 0.5]))
    >>> [round(x, 4) for x in metric.compute().error.tolist()]
    [0.5, 3.5355]
    """

    def __init__(self, low: float, high: float, num_bins: int = 10) -> None:
        if not 0 < low < high:
            raise ValueError(f"low: expected 0 < low < high, got {low} and {high}")
        if num_bins < 2:
            raise ValueError(f"num_bins: expected an integer >= 2, got {num_bins}")
        counts = torch.zeros(num_bins, dtype=torch.int64)
        super().__init__(ReliabilitySums(counts, counts.double(), counts.double()))
        marks = torch.linspace(math.log(low), math.log(high), num_bins + 1, dtype=torch.float64)
        self.edges = marks.exp()[1:-1]

    def update(self, error: Tensor, sigma: Tensor, visible: Tensor | None = None) -> None:
        """Add a batch; see `reliability_update`."""
        self.add(reliability_update(error, sigma, self.edges, visible))

    def compute(self) -> Reliability:
        """The table over everything seen; see `reliability_compute`."""
        return reliability_compute(self.sums)


def _selected(name: str, visible: Tensor | None, values: Tensor) -> Tensor:
    if visible is None:
        return values.flatten()
    if visible.shape != values.shape:
        raise ValueError(f"{name}: expected shape {tuple(values.shape)}, got {tuple(visible.shape)}")
    return values[visible > 0]
