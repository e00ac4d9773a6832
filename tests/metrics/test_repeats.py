"""The interval of a mean over repeated runs is Student's."""

import math

import pytest
import torch
from scipy import stats

from linsight.metrics import mean_interval


@pytest.mark.parametrize("number", [2, 3, 4, 5, 8, 31, 400])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_it_is_students_interval_of_any_number_of_values(number: int, level: float) -> None:
    values = torch.randn(number, generator=torch.Generator().manual_seed(number)).double().tolist()
    found = mean_interval(values, level)
    low, high = stats.t.interval(level, number - 1, loc=stats.tmean(values), scale=stats.sem(values))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert found.number == number


def test_it_holds_the_true_mean_as_often_as_it_says() -> None:
    """2,000 experiments of three normal values each."""
    drawn = 5 + 2 * torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)).double()
    found = [mean_interval(values.tolist(), 0.9) for values in drawn]
    held = sum(abs(one.mean - 5) <= one.half_width for one in found) / len(found)
    assert held == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 2000))


def test_one_value_has_a_mean_and_no_interval_and_nothing_hides_what_is_not_finite() -> None:
    assert mean_interval([3.0]).mean == 3
    assert math.isnan(mean_interval([3.0]).half_width)
    assert math.isnan(mean_interval([3.0, math.nan]).mean)
    assert mean_interval([3.0, math.inf]).mean == math.inf
    assert mean_interval([2.0, 2.0]).half_width == 0


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [
        ([], 0.95, "values: expected at least one, got none"),
        ([1.0, 2.0], 1.0, "level: expected a probability between 0 and 1, got 1.0"),
    ],
)
def test_what_has_no_interval_is_refused(values: list, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(values, level)
