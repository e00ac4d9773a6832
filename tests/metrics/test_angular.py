"""Angular error: by hand, against numpy, by person."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from linsight.metrics import AngularError, AngularErrors, angular_compute, angular_update

DEGREE = math.pi / 180


def errors(degrees: list[float], persons: list[int], num_persons: int = 3) -> AngularErrors:
    """Predictions that are off by so many degrees of yaw at pitch 0, which are as many of angle."""
    yaw = torch.tensor(degrees, dtype=torch.float64) * DEGREE
    prediction = torch.stack([torch.zeros_like(yaw), yaw], 1)
    sums = angular_update(prediction, torch.zeros_like(prediction), torch.tensor(persons), num_persons)
    return angular_compute(sums)


def test_six_errors_of_two_persons_by_hand():
    """Person 0: 1, 2, 3, 4 degrees; person 2: 10, 20. Pooled 40 / 6; over persons (2.5 + 15) / 2."""
    found = errors([1, 2, 3, 4, 10, 20], [0, 0, 0, 0, 2, 2])
    assert found.pooled_mean.item() == pytest.approx(40 / 6)
    assert found.mean_of_persons.item() == pytest.approx(8.75)
    # The sample's standard deviation of 2.5 and 15 over sqrt 2.
    assert found.standard_error.item() == pytest.approx(12.5 / 2)
    assert found.person_means[[0, 2]].tolist() == pytest.approx([2.5, 15])
    assert math.isnan(found.person_means[1].item())
    assert found.num_examples.tolist() == [4, 0, 2]
    # Three of six are at most 3 degrees, and 5.4 of six are within the bin of 20.
    assert found.median.item() == pytest.approx(3, abs=0.0101)
    assert found.p90.item() == pytest.approx(20, abs=0.0101)


def test_a_known_pair_and_the_two_ends():
    pair = torch.tensor([[0.2, 0.3]]), torch.tensor([[0.25, 0.2]])
    found = angular_compute(angular_update(*pair, torch.tensor([0]), 1))
    assert found.pooled_mean.item() == pytest.approx(6.276320399, abs=1e-5)
    ends = errors([0, 180], [0, 0])
    assert ends.pooled_mean.item() == pytest.approx(90)
    assert ends.p90.item() == pytest.approx(180, abs=0.01)
    assert ends.median.item() == pytest.approx(0, abs=0.0101)


def test_quantiles_are_numpys_to_a_hundredth_of_a_degree():
    degrees = np.random.default_rng(0).gamma(2.0, 2.5, 20_001)
    found = errors(degrees.tolist(), [0] * len(degrees))
    # Between neighbours of 20,001 errors there is less than the width of a bin.
    assert found.median.item() == pytest.approx(np.quantile(degrees, 0.5), abs=0.02)
    assert found.p90.item() == pytest.approx(np.quantile(degrees, 0.9), abs=0.02)


def test_at_high_pitch_a_degree_of_yaw_is_less_than_a_degree():
    pitch = 60 * DEGREE
    prediction, target = torch.tensor([[pitch, 10 * DEGREE]]), torch.tensor([[pitch, 0.0]])
    found = angular_compute(angular_update(prediction, target, torch.tensor([0]), 1))
    chord = 2 * math.sin(5 * DEGREE) * math.cos(pitch)
    assert found.pooled_mean.item() == pytest.approx(2 * math.asin(chord / 2) / DEGREE, rel=1e-6)


def test_one_person_has_no_spread():
    assert math.isnan(errors([1, 2], [1, 1]).standard_error.item())


def test_what_cannot_be_measured_is_refused():
    zeros, persons = torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64)

    def refuse(kind: type[Exception], message: str, *arguments: Tensor) -> None:
        with pytest.raises(kind, match=message):
            angular_update(*arguments, 3)

    refuse(TypeError, "prediction: expected floating point, got torch", zeros.long(), zeros, persons)
    refuse(TypeError, "persons: expected integers, got torch", zeros, zeros, persons.double())
    refuse(
        ValueError, r"prediction: expected pitch and yaw, shape \(batch, 2\)", zeros[:, :1], zeros, persons
    )
    refuse(ValueError, r"target: expected pitch and yaw, .*, got \(3, 2\)", zeros, torch.zeros(3, 2), persons)
    wrong = torch.tensor([[0.0, 0.0], [math.nan, 0.0]])
    refuse(
        ValueError, "target: expected finite angles, got NaN or infinity at index 1", zeros, wrong, persons
    )
    refuse(ValueError, r"persons: expected shape \(2,\), got \(1,\)", zeros, zeros, persons[:1])
    refuse(ValueError, "persons: expected 0 to 2, got 3 at index 1", zeros, zeros, torch.tensor([0, 3]))
    refuse(ValueError, "persons: expected 0 to 2, got -1 at index 0", zeros, zeros, torch.tensor([-1, 0]))
    with pytest.raises(ValueError, match="num_persons: expected an integer >= 1, got 0"):
        AngularError(0)
    with pytest.raises(ValueError, match="there are no examples yet"):
        angular_compute(angular_update(zeros[:0], zeros[:0], persons[:0], 2))
