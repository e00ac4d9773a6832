"""What all densities refuse, in words that name the argument, what was expected and what came."""

import pytest
import torch
from torch import Tensor

from linsight.densities import Density, check_images, check_labels, check_temperature

X = torch.zeros(2, 3, 4, dtype=torch.uint8)
Y = torch.tensor([0, 2])


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int64, torch.bool, torch.float32, torch.float64], ids=str
)
def test_zeros_and_ones_of_any_type_are_images(dtype: torch.dtype) -> None:
    check_images(torch.tensor([[[0, 1], [1, 1]]]).to(dtype), 2, 2)
    check_images(torch.zeros(0, 2, 2, dtype=dtype), 2, 2)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[0], r"x: expected shape \(batch, height 3, width 4\), got \(3, 4\)"),
        (X.flatten(1), r"x: expected shape \(batch, height 3, width 4\), got \(2, 12\)"),
        (X.mT, r"x: expected shape \(batch, height 3, width 4\), got \(2, 4, 3\)"),
        (X + 255, "x: expected pixels 0 and 1, got values from 255 to 255; binarise grey images first"),
        (X - 1.0, "x: expected pixels 0 and 1, got values from -1 to -1"),
        (X + 0.5, "x: expected pixels 0 and 1, got values from 0.5 to 0.5"),
        (X + torch.tensor(float("nan")), "x: expected pixels 0 and 1, got values from nan to nan"),
    ],
)
def test_what_is_no_binary_image_of_this_size_is_refused(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_images(x, 3, 4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
def test_whole_numbers_in_range_are_labels(dtype: torch.dtype) -> None:
    check_labels(Y.to(dtype), 2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool], ids=str)
def test_labels_that_are_no_whole_numbers_are_of_the_wrong_type(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"y: expected integer labels, got {dtype}"):
        check_labels(Y.to(dtype), 2, 3)


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        (Y, 2, "y: expected labels 0 to 1, got 0 to 2"),
        (Y - 1, 3, "y: expected labels 0 to 2, got -1 to 1"),
        (Y[:1], 3, r"y: expected shape \(2,\), one label for each image, got \(1,\)"),
        (Y[:, None], 3, r"y: expected shape \(2,\), one label for each image, got \(2, 1\)"),
        (Y, 0, "y: this density was built without labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y: Tensor, classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_labels(y, 2, classes)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature: expected a number above 0, got {temperature}"):
        check_temperature(temperature)


def test_a_density_that_is_not_conditional_says_so() -> None:
    class Uniform(Density):
        def log_prob(self, x, y=None):
            return torch.zeros(len(x))

        def class_log_prob(self, x):
            return torch.zeros(len(x), 0)

        def sample(self, n, y=None, *, temperature=1.0, generator=None):
            return torch.zeros(n, 3, 4, dtype=torch.uint8)

    with pytest.raises(ValueError, match="y: Uniform is not conditional on labels"):
        Uniform().log_prob_given(X, Y)


def test_a_density_must_say_what_it_is() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Density()
