"""Expected calibration error: how far confidence is from accuracy."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.metrics.base import SumMetric, require_examples
from linsight.metrics.checks import check_classification

__all__ = ["Calibration", "CalibrationError", "CalibrationSums", "calibration_compute", "calibration_update"]


class CalibrationSums(NamedTuple):
    """In each bin of confidence: the number of examples, how many were right, the sum of confidences."""

    num_examples: Int[Tensor, " bins"]
    num_correct: Int[Tensor, " bins"]
    confidence: Float[Tensor, " bins"]


class Calibration(NamedTuple):
    """The expected calibration error, and the diagram behind it: NaN in bins without an example."""

    error: Float[Tensor, ""]
    num_examples: Int[Tensor, " bins"]
    accuracy: Float[Tensor, " bins"]
    confidence: Float[Tensor, " bins"]


def calibration_update(log_prob: Tensor, labels: Tensor, num_bins: int = 15) -> CalibrationSums:
    """The sums over a batch of log p(y | x), shape (batch, classes), and integer labels (batch,).

    The confidence c of an example is the probability of its most probable class. Bin m = 1..num_bins holds
    (m - 1) / num_bins < c <= m / num_bins.

    Raises:
        TypeError, ValueError: See `linsight.metrics.checks.check_classification`; num_bins < 1.
    """
    _check_bins(num_bins)
    labels = check_classification(log_prob, labels)
    top, called = log_prob.detach().double().max(dim=1)
    confidence = top.exp().clamp(max=1)
    bins = ((confidence * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
    return CalibrationSums(
        torch.bincount(bins, minlength=num_bins),
        torch.bincount(bins[called == labels], minlength=num_bins),
        confidence.new_zeros(num_bins).index_add(0, bins, confidence),
    )


def calibration_compute(sums: CalibrationSums) -> Calibration:
    """The sum over bins of n_m / n |accuracy_m - confidence_m|, both being means within bin m.

    Guo et al. 2017, arXiv 1706.04599, equation 3, with equal-width bins. Sensitive to the number of bins,
    and biased upwards when they hold few examples.

    Raises:
        ValueError: No examples.
    """
    total = sums.num_examples.sum()
    require_examples(total)
    gaps = (sums.num_correct - sums.confidence).abs()
    accuracy, confidence = sums.num_correct / sums.num_examples.double(), sums.confidence / sums.num_examples
    return Calibration(gaps.sum() / total, sums.num_examples, accuracy, confidence)


class CalibrationError(SumMetric[CalibrationSums]):
    """Expected calibration error with equal-width bins of confidence, and its reliability diagram.

    >>> metric = CalibrationError()
    >>> metric.update(torch.tensor([[0.9, 0.1], [0.9, 0.1]]).log(), torch.tensor([0, 1]))
    >>> round(metric.compute().error.item(), 6)
    0.4
    """

    higher_is_better = False

    def __init__(self, num_bins: int = 15) -> None:
        _check_bins(num_bins)
        counts = torch.zeros(num_bins, dtype=torch.int64)
        super().__init__(CalibrationSums(counts, counts.clone(), counts.double()))
        self.num_bins = num_bins

    def update(self, log_prob: Tensor, labels: Tensor) -> None:
        """Add a batch; see `calibration_update`."""
        self.add(calibration_update(log_prob, labels, self.num_bins))

    def compute(self) -> Calibration:
        """The error over everything seen; see `calibration_compute`."""
        return calibration_compute(self.sums)


def _check_bins(num_bins: int) -> None:
    if num_bins < 1:
        raise ValueError(f"num_bins: expected an integer >= 1, got {num_bins}")
