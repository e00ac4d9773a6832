"""Numbers and names as people read them."""

import math

import pytest

from linsight.reports.numbers import name_and_unit, number, plain


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (True, "yes"),
        (12345, "12,345"),
        (0, "0"),
        (0.0, "0"),
        (82.913, "82.91"),
        (81.3, "81.3"),
        (-0.91234, "-0.9123"),
        (123.456, "123.5"),
        (98765.4, "98,765"),
        (100.0, "100"),
        (0.000123, "1.23e-04"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_a_number_has_the_digits_it_carries(value: float | int | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("name", "words", "unit"),
    [
        ("nll_nats_per_image", "nll", "nats per image"),
        ("nll_bits_per_pixel", "nll", "bits per pixel"),
        ("label_nats_by_bayes", "label by bayes", "nats"),
        ("accuracy", "accuracy", ""),
        ("sampled_images_per_second", "sampled", "images per second"),
        ("seconds", "seconds", "s"),
        ("gnats_seen", "gnats seen", ""),
    ],
)
def test_a_name_gives_its_unit_away(name: str, words: str, unit: str) -> None:
    assert name_and_unit(name) == (words, unit)


def test_json_gets_no_number_that_it_does_not_have() -> None:
    assert [plain(value) for value in (1, 0.5, "a", None)] == [1, 0.5, "a", None]
    assert [plain(value) for value in (math.nan, math.inf)] == ["nan", "inf"]
