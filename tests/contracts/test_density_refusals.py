"""What image densities refuse, and with which words (spec/densities.md, section 1)."""

import pytest
import torch
from toys import Toy, prefix

from linsight.densities import Given


@pytest.fixture(scope="module")
def density():
    return Toy(2, 4, (1, 2), "both").build()


X = torch.zeros(3, 2, 4, dtype=torch.uint8)
Y = torch.tensor([0, 1, 2])


def refused(error, match, call):
    with pytest.raises(error, match=match) as info:
        call()
    assert "\n" not in str(info.value), "a refusal is one line"


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (X + 2, "2"),
        (X.long() - 1, "-1"),
        (torch.full((3, 2, 4), 255, dtype=torch.uint8), "255"),
    ],
    ids=["two", "negative", "grey"],
)
def test_images_that_are_not_binary(density, x, match):
    for call in (density.log_prob, density.class_log_prob):
        refused(ValueError, rf"(?s)x.*{match}", lambda call=call: call(x))


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_images_that_are_not_whole_numbers(density, value):
    x = torch.full((3, 2, 4), value)
    for call in (density.log_prob, density.class_log_prob):
        refused((ValueError, TypeError), "x", lambda call=call: call(x))


@pytest.mark.parametrize("shape", [(3, 4, 2), (3, 2, 5), (3, 8), (2, 4), (3, 1, 2, 4)], ids=str)
def test_images_of_another_size(density, shape):
    x = torch.zeros(shape, dtype=torch.uint8)
    for call in (density.log_prob, density.class_log_prob):
        refused(ValueError, r"x.*2.*4", lambda call=call: call(x))


@pytest.mark.parametrize(("y", "found"), [([0, 1, 3], "3"), ([-1, 0, 0], "-1")], ids=str)
def test_labels_out_of_range(density, y, found):
    labels = torch.tensor(y)
    refused(ValueError, rf"y.*{found}|label.*{found}", lambda: density.log_prob(X, labels))
    refused(ValueError, rf"y.*{found}|label.*{found}", lambda: density.log_prob_given(X, labels))
    refused(ValueError, rf"y.*{found}|label.*{found}", lambda: density.sample(3, labels))


def test_labels_of_another_number(density):
    refused(ValueError, "y", lambda: density.log_prob(X, Y[:2]))
    refused(ValueError, "y", lambda: density.log_prob(X, Y[:, None]))
    refused(ValueError, "y", lambda: density.sample(2, Y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_labels_that_are_not_whole_numbers(density, dtype):
    for call in (density.log_prob, density.log_prob_given):
        refused(TypeError, "y", lambda call=call: call(X, Y.to(dtype)))
    refused(TypeError, "y", lambda: density.sample(3, Y.to(dtype)))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperatures_that_are_not_positive(density, temperature):
    refused(ValueError, "temperature", lambda: density.sample(3, temperature=temperature))


def test_labels_where_there_are_none():
    density = Toy(2, 4, (1, 2), "none").build()
    for call in (density.log_prob, density.log_prob_given):
        refused(ValueError, "y|label", lambda call=call: call(X, Y))
    refused(ValueError, "y|label", lambda: density.sample(3, Y))
    refused(ValueError, "y|label", lambda: density.class_log_prob(X))


def test_conditioning_on_a_label_that_comes_last():
    density = Toy(2, 4, (1, 2), "last").build()
    refused(ValueError, "first", lambda: density.log_prob_given(X, Y))
    refused(ValueError, "first", lambda: density.sample(3, Y))


@pytest.mark.parametrize(("has", "asks"), [("first", "last"), ("last", "first"), ("none", "last")])
def test_a_place_the_label_does_not_have(has, asks):
    density = Toy(2, 4, (1, 2), has).build()
    refused(ValueError, "label", lambda: density.log_prob(X, label=asks))
    refused(ValueError, "label", lambda: density.class_log_prob(X, label=asks))


def test_known_pixels_that_do_not_fit(density):
    given = prefix(density, X, 1)
    refused(ValueError, r"given.images.*2.*3", lambda: density.sample(2, given=given))
    refused(ValueError, r"given.images.*2", lambda: density.sample(3, given=Given(X + 2, given.mask)))
    for mask in (given.mask.int(), given.mask[:1]):
        refused(ValueError, r"given.mask", lambda mask=mask: density.sample(3, given=Given(X, mask)))


def test_known_pixels_after_unknown_ones(density):
    """Their posterior is not sampled by taking pixels in order, and is not pretended to be."""
    last = torch.zeros(2, 4, dtype=torch.bool)
    last[1, 3] = True
    refused(
        ValueError, r"given.*first in the order.*inpaint", lambda: density.sample(3, given=Given(X, last))
    )
    refused(ValueError, r"mask.*no order", lambda: density.knowing(last))


@pytest.mark.parametrize("n", [0, -1])
def test_a_number_of_samples_that_is_not_positive(density, n):
    refused(ValueError, "n", lambda: density.sample(n))


@pytest.mark.parametrize("patch", [(2, 3), (3, 1), (0, 1), (-1, 2)], ids=str)
def test_patches_that_do_not_tile_the_image(patch):
    refused(ValueError, "patch", lambda: Toy(2, 4, patch, "none").build())


def test_a_prior_that_is_no_prior(density):
    for counts in (torch.tensor([1, 2]), torch.tensor([1, -1, 2]), torch.tensor([0, 0, 0])):
        refused(ValueError, "counts|prior", lambda counts=counts: density.fit_prior(counts))
