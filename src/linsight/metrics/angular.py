"""Angular error of gaze: mean, median and 90th percentile, by person and over persons."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.metrics.base import SumMetric, require_examples
from linsight.ops import angular_error, to_vector

__all__ = ["AngularError", "AngularErrors", "AngularSums", "angular_compute", "angular_update"]

_BINS = 18_000  # of a hundredth of a degree
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class AngularSums(NamedTuple):
    """Of each person the number of examples and the sum of errors in degrees; how many had which error."""

    num_examples: Int[Tensor, " persons"]
    degrees: Float[Tensor, " persons"]
    histogram: Int[Tensor, " bins"]
    """Bin b holds b / 100 <= degrees < (b + 1) / 100, the last one 180 too."""


class AngularErrors(NamedTuple):
    """Angular errors in degrees."""

    pooled_mean: Float[Tensor, ""]
    """Over all examples: persons with more of them count for more."""
    median: Float[Tensor, ""]
    """Over all examples, to a hundredth of a degree."""
    p90: Float[Tensor, ""]
    """The 90th percentile, likewise."""
    mean_of_persons: Float[Tensor, ""]
    """The mean of the persons' means, each person once: the number that leave-one-person-out reports."""
    standard_error: Float[Tensor, ""]
    """Of `mean_of_persons`, with the person as the unit; NaN for one person."""
    person_means: Float[Tensor, " persons"]
    """NaN for a person without examples."""
    num_examples: Int[Tensor, " persons"]


def angular_update(prediction: Tensor, target: Tensor, persons: Tensor, num_persons: int) -> AngularSums:
    """The sums over a batch.

    Args:
        prediction, target: (batch, 2), pitch and yaw in radians.
        persons: (batch,), integers from 0 to num_persons - 1.
        num_persons: The number of persons there may be.

    Raises:
        TypeError: Angles that are not floating point; persons that are not integers.
        ValueError: Other shapes; NaN or infinity; a person outside the range.
    """
    _check(prediction, target, persons, num_persons)
    persons = persons.to(prediction.device, torch.int64)
    error = angular_error(to_vector(prediction.detach().double()), to_vector(target.detach().double()))
    degrees = error * (180 / math.pi)
    bins = (degrees * (_BINS / 180)).long().clamp(max=_BINS - 1)
    return AngularSums(
        torch.bincount(persons, minlength=num_persons),
        degrees.new_zeros(num_persons).index_add(0, persons, degrees),
        torch.bincount(bins, minlength=_BINS),
    )


def angular_compute(sums: AngularSums) -> AngularErrors:
    """Means, and quantiles of the histogram, linear within a bin.

    Raises:
        ValueError: No examples.
    """
    total = sums.num_examples.sum()
    require_examples(total)
    means = sums.degrees / sums.num_examples  # 0 / 0 is NaN for a person who was not seen
    seen = means[sums.num_examples > 0]
    spread = seen.std() / math.sqrt(len(seen)) if len(seen) > 1 else seen.new_tensor(math.nan)
    return AngularErrors(
        sums.degrees.sum() / total,
        _quantile(sums.histogram, 0.5),
        _quantile(sums.histogram, 0.9),
        seen.mean(),
        spread,
        means,
        sums.num_examples,
    )


class AngularError(SumMetric[AngularSums]):
    """The angle between predicted and true gaze, in degrees, by person and over all.

    State: 16 bytes a person, and a histogram of 144 kB, whatever the number of examples.

    >>> metric = AngularError(num_persons=1)
    >>> metric.update(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.pi / 2]]), torch.tensor([0]))
    >>> round(metric.compute().pooled_mean.item(), 4)
    90.0
    """

    higher_is_better = False

    def __init__(self, num_persons: int) -> None:
        if num_persons < 1:
            raise ValueError(f"num_persons: expected an integer >= 1, got {num_persons}")
        counts = torch.zeros(num_persons, dtype=torch.int64)
        super().__init__(AngularSums(counts, counts.double(), torch.zeros(_BINS, dtype=torch.int64)))
        self.num_persons = num_persons

    def update(self, prediction: Tensor, target: Tensor, persons: Tensor) -> None:
        """Add a batch; see `angular_update`."""
        self.add(angular_update(prediction, target, persons, self.num_persons))

    def compute(self) -> AngularErrors:
        """The errors over everything seen; see `angular_compute`."""
        return angular_compute(self.sums)


def _quantile(histogram: Int[Tensor, " bins"], share: float) -> Float[Tensor, ""]:
    """Where the cumulative histogram, linear within a bin, reaches the share."""
    reached = histogram.cumsum(0).double()
    wanted = share * reached[-1]
    bin_of = int((reached >= wanted).nonzero()[0, 0])
    before = reached[bin_of] - histogram[bin_of]
    return (bin_of + (wanted - before) / histogram[bin_of]) * (180 / _BINS)


def _check(prediction: Tensor, target: Tensor, persons: Tensor, num_persons: int) -> None:
    for name, angles in (("prediction", prediction), ("target", target)):
        if not angles.is_floating_point():
            raise TypeError(f"{name}: expected floating point, got {angles.dtype}")
        if angles.shape != (len(prediction), 2):
            raise ValueError(
                f"{name}: expected pitch and yaw, shape (batch, 2), as of the prediction, "
                f"got {tuple(angles.shape)}"
            )
        wrong = ~angles.isfinite().all(1)
        if wrong.any():
            raise ValueError(
                f"{name}: expected finite angles, got NaN or infinity at index {int(wrong.nonzero()[0, 0])}"
            )
    if persons.dtype not in _INTEGERS:
        raise TypeError(f"persons: expected integers, got {persons.dtype}")
    if persons.shape != (len(prediction),):
        raise ValueError(f"persons: expected shape ({len(prediction)},), got {tuple(persons.shape)}")
    outside = (persons < 0) | (persons >= num_persons)
    if outside.any():
        first = int(outside.nonzero()[0, 0])
        raise ValueError(
            f"persons: expected 0 to {num_persons - 1}, got {int(persons[first])} at index {first}"
        )
