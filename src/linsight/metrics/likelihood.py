"""Mean negative log-likelihood in nats with its standard error, and bits per dimension."""

import math
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.metrics.base import Estimate, SumMetric, require_examples

__all__ = ["NLLSums", "NegativeLogLikelihood", "bits_per_dim", "nll_compute", "nll_update"]

Number = TypeVar("Number", float, Tensor)


class NLLSums(NamedTuple):
    """The number of examples, and the sums of -log p (nats) and of its square, in float64."""

    num_examples: Int[Tensor, ""]
    nats: Float[Tensor, ""]
    squares: Float[Tensor, ""]


def nll_update(log_prob: Tensor) -> NLLSums:
    """The sums over a batch of `log p`, shape (batch,), in nats; batch may be 0.

    They are taken in float64: in float32 a sum of ones stops growing at 2^24 = 16.8 million examples.

    Raises:
        TypeError: Not a floating-point tensor.
        ValueError: Another rank, NaN, or +inf. (-inf is p = 0, and makes the mean inf.)
    """
    if not log_prob.is_floating_point():
        raise TypeError(f"log_prob: expected floating point, got {log_prob.dtype}")
    if log_prob.ndim != 1:
        raise ValueError(
            f"log_prob: expected one number per example, shape (batch,), got {tuple(log_prob.shape)}"
        )
    wrong = log_prob.isnan() | log_prob.isposinf()
    if wrong.any():
        first = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"log_prob: expected numbers below inf, got {log_prob[first].item()} at index {first}"
        )
    nats = -log_prob.detach().double()
    return NLLSums(torch.tensor(len(nats)), nats.sum(), nats.square().sum())


def nll_compute(sums: NLLSums) -> Estimate:
    """The mean of -log p in nats per example, and its standard error.

    mean = sum / n;  standard error = sqrt((squares / n - mean^2) / (n - 1)), the sample's standard deviation
    over sqrt n: NaN for one example, inf where the mean is; exact to about 1e-8 of the mean. It speaks of the
    choice of examples alone, not of training.

    Raises:
        ValueError: No examples.
    """
    require_examples(sums.num_examples)
    n = sums.num_examples.to(sums.nats)
    mean = sums.nats / n
    if mean.isinf():
        return Estimate(mean, mean.clone(), sums.num_examples)
    variance = (sums.squares / n - mean.square()).clamp(min=0)
    return Estimate(mean, (variance / (n - 1)).sqrt(), sums.num_examples)


def bits_per_dim(nats: Number, num_dims: int) -> Number:
    """Bits per variable of an example of `num_dims` discrete variables: nats / (num_dims ln 2).

    >>> round(bits_per_dim(80.0, 784), 4)
    0.1472
    """
    if num_dims < 1:
        raise ValueError(f"num_dims: expected an integer >= 1, got {num_dims}")
    return nats / (num_dims * math.log(2))


class NegativeLogLikelihood(SumMetric[NLLSums]):
    """Mean -log p in nats per example, from log p of shape (batch,).

    >>> metric = NegativeLogLikelihood()
    >>> metric.update(torch.tensor([-80.0, -84.0]))
    >>> metric.update(torch.tensor([-82.0]))
    >>> round(metric.compute().value.item(), 2), round(metric.compute().standard_error.item(), 2)
    (82.0, 1.15)
    """

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__(nll_update(torch.zeros(0)))

    def update(self, log_prob: Tensor) -> None:
        """Add a batch; see `nll_update`."""
        self.add(nll_update(log_prob))

    def compute(self) -> Estimate:
        """The mean over everything seen; see `nll_compute`."""
        return nll_compute(self.sums)
