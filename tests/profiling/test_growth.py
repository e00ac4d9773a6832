"""Exponents of power laws, and where two of them cross."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsight.profiling import crossing, growth

LENGTHS = [256, 512, 1024, 2048, 4096]


@given(exponent=st.floats(-1, 3), scale=st.floats(1e-3, 1e3))
def test_a_power_law_has_its_exponent_without_error(exponent, scale):
    found = growth(LENGTHS, [scale * length**exponent for length in LENGTHS])
    assert found.exponent == pytest.approx(exponent, abs=1e-9)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_the_error_is_that_of_a_least_squares_slope():
    """The middle one of three points off by e in the logarithm: slope 0, error e sqrt(2 / 3) / sqrt(2)."""
    e = 0.1
    found = growth([1, 2.718281828459045, 7.38905609893065], [1, 1 * 2.718281828459045**e, 1])
    assert found.exponent == pytest.approx(0, abs=1e-12)
    assert found.error == pytest.approx(e * (2 / 3) ** 0.5 / 2**0.5)


@given(at=st.floats(300, 4000), slow=st.floats(0.1, 1.0), fast=st.floats(1.5, 2.5))
def test_two_power_laws_cross_where_they_are_equal(at, slow, fast):
    costs = [(length / at) ** slow for length in LENGTHS]
    others = [(length / at) ** fast for length in LENGTHS]
    assert crossing(LENGTHS, costs, others) == pytest.approx(at)
    assert crossing(LENGTHS, others, costs) is None


def test_what_is_always_ahead_crosses_at_0_and_the_last_crossing_counts():
    assert crossing([1, 2, 4], [1, 1, 1], [2, 2, 2]) == 0
    assert crossing([1, 2, 4], [2, 2, 2], [2, 2, 2]) is None
    found = crossing([1, 2, 4, 8], [1, 3, 1, 1], [2, 2, 2, 2])
    assert 2 < found < 4


@pytest.mark.parametrize(
    ("lengths", "costs"),
    [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 2, 3], [1, 0, 2]), ([0, 1, 2], [1, 1, 1])],
)
def test_what_has_no_slope_is_refused(lengths, costs):
    with pytest.raises(ValueError, match="expected"):
        growth(lengths, costs)
