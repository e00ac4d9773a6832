"""Expected calibration error: by hand, against a loop of its own, and 0 where a model is calibrated."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from linsight.metrics import Calibration, CalibrationError, calibration_compute, calibration_update


def binary(confidences: list[float]) -> Tensor:
    top = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([top, 1 - top], dim=1).log()


def error(log_prob: Tensor, labels: Tensor, num_bins: int = 15) -> Calibration:
    return calibration_compute(calibration_update(log_prob, labels, num_bins))


def test_two_bins_by_hand():
    """15 bins: 0.72 and 0.70 fall in (10/15, 11/15], 0.95 in (14/15, 1].

    The first bin has accuracy 1/2 and confidence 0.71, the second 1 and 0.95: 2/3 * 0.21 + 1/3 * 0.05.
    """
    found = error(binary([0.72, 0.70, 0.95]), torch.tensor([0, 1, 0]))
    assert found.error.item() == pytest.approx((2 * 0.21 + 0.05) / 3, rel=1e-12)
    assert found.num_examples.tolist() == [0] * 10 + [2, 0, 0, 0, 1]
    assert found.accuracy[10].item() == 0.5
    assert found.confidence[10].item() == pytest.approx(0.71, rel=1e-12)
    assert math.isnan(found.accuracy[0].item())


def test_signs_cancel_within_a_bin_and_never_between_bins():
    """0.55 right and 0.95 wrong: in one bin the mean confidence 0.75 meets accuracy 1/2."""
    log_prob, labels = binary([0.55, 0.95]), torch.tensor([0, 1])
    assert error(log_prob, labels, 1).error.item() == pytest.approx(0.75 - 0.5, rel=1e-12)
    assert error(log_prob, labels, 2).error.item() == pytest.approx(0.25, rel=1e-12)
    assert error(log_prob, labels, 15).error.item() == pytest.approx((0.45 + 0.95) / 2, rel=1e-12)


def test_the_upper_edge_belongs_to_a_bin_and_certainty_to_the_last():
    """With 4 bins, 0.5 = 2/4 is in (1/4, 2/4]; 1 is in (3/4, 1]."""
    log_prob = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], dtype=torch.float64).log()
    found = error(log_prob, torch.tensor([0, 0]), 4)
    assert found.num_examples.tolist() == [0, 1, 0, 1]


def test_it_equals_an_independent_loop():
    log_prob, labels = torch.randn(3000, 5).mul(2).log_softmax(1), torch.randint(5, (3000,))
    probability = log_prob.double().exp().numpy()
    confidence, right = probability.max(1), probability.argmax(1) == labels.numpy()
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert error(log_prob, labels).error.item() == pytest.approx(expected, rel=1e-10)


def test_a_calibrated_model_tends_to_0_and_an_overconfident_one_does_not():
    log_prob = torch.randn(100_000, 4).log_softmax(1)
    labels = torch.distributions.Categorical(logits=log_prob).sample()
    assert error(log_prob, labels).error.item() < 0.01
    assert error((3 * log_prob).log_softmax(1), labels).error.item() > 0.2


def test_one_bin_is_the_gap_between_accuracy_and_mean_confidence():
    log_prob, labels = torch.randn(400, 3).log_softmax(1), torch.randint(3, (400,))
    gap = (log_prob.argmax(1) == labels).double().mean() - log_prob.double().max(1).values.exp().mean()
    assert error(log_prob, labels, 1).error.item() == pytest.approx(abs(gap.item()), rel=1e-12)


def test_bins_below_1_and_values_over_no_examples_are_refused():
    with pytest.raises(ValueError, match="num_bins: expected an integer >= 1, got 0"):
        CalibrationError(0)
    with pytest.raises(ValueError, match="num_bins: expected an integer >= 1, got 0"):
        error(binary([0.6]), torch.tensor([0]), 0)
    with pytest.raises(ValueError, match="there are no examples yet"):
        error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
