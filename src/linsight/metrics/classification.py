"""Accuracy, confusion matrix and -log p(y | x), all from class log-probabilities and integer labels."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.metrics.base import Estimate, SumMetric, require_examples
from linsight.metrics.checks import check_classification
from linsight.metrics.likelihood import NLLSums, nll_compute, nll_update

__all__ = [
    "Accuracy",
    "AccuracySums",
    "ClassNLL",
    "ConfusionMatrix",
    "ConfusionSums",
    "accuracy_compute",
    "accuracy_update",
    "class_nll_update",
    "confusion_compute",
    "confusion_update",
]


class AccuracySums(NamedTuple):
    """The number of examples, and how many were right."""

    num_examples: Int[Tensor, ""]
    num_correct: Int[Tensor, ""]


class ConfusionSums(NamedTuple):
    """How often class r (row) was called class c (column)."""

    matrix: Int[Tensor, "classes classes"]


def accuracy_update(log_prob: Tensor, labels: Tensor) -> AccuracySums:
    """The sums over a batch of log p(y | x), shape (batch, classes), and integer labels (batch,).

    An example is right if its most probable class is its label; of several, the first counts.

    Raises:
        TypeError, ValueError: See `linsight.metrics.checks.check_classification`.
    """
    labels = check_classification(log_prob, labels)
    return AccuracySums(torch.tensor(len(labels)), (log_prob.argmax(dim=1) == labels).sum())


def accuracy_compute(sums: AccuracySums) -> Estimate:
    """The share a that was right, and its binomial standard error sqrt(a (1 - a) / n), 0 at a = 0 and 1.

    Raises:
        ValueError: No examples.
    """
    require_examples(sums.num_examples)
    share = sums.num_correct.double() / sums.num_examples
    return Estimate(share, (share * (1 - share) / sums.num_examples).sqrt(), sums.num_examples)


def confusion_update(log_prob: Tensor, labels: Tensor) -> ConfusionSums:
    """The confusion matrix of a batch; arguments and errors as `accuracy_update`."""
    labels = check_classification(log_prob, labels)
    classes = log_prob.shape[1]
    cells = torch.bincount(labels * classes + log_prob.argmax(dim=1), minlength=classes * classes)
    return ConfusionSums(cells.reshape(classes, classes))


def confusion_compute(sums: ConfusionSums) -> Int[Tensor, "classes classes"]:
    """The counts: true class in rows, predicted class in columns; the diagonal is what was right."""
    return sums.matrix


def class_nll_update(log_prob: Tensor, labels: Tensor) -> NLLSums:
    """The sums of -log p(label | x) in nats over a batch; arguments and errors as `accuracy_update`.

    The value is `nll_compute`'s.
    """
    labels = check_classification(log_prob, labels)
    return nll_update(_at(log_prob, labels))


class Accuracy(SumMetric[AccuracySums]):
    """Share of examples whose most probable class is the label, with its binomial standard error.

    >>> metric = Accuracy()
    >>> metric.update(torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log(), torch.tensor([0, 0]))
    >>> metric.compute().value.item()
    0.5
    """

    higher_is_better = True

    def __init__(self) -> None:
        super().__init__(AccuracySums(torch.tensor(0), torch.tensor(0)))

    def update(self, log_prob: Tensor, labels: Tensor) -> None:
        """Add a batch; see `accuracy_update`."""
        self.add(accuracy_update(log_prob, labels))

    def compute(self) -> Estimate:
        """The accuracy over everything seen; see `accuracy_compute`."""
        return accuracy_compute(self.sums)


class ConfusionMatrix(SumMetric[ConfusionSums]):
    """Counts (classes, classes) of true class (row) against predicted class (column)."""

    def __init__(self, num_classes: int) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes: expected an integer >= 2, got {num_classes}")
        super().__init__(ConfusionSums(torch.zeros(num_classes, num_classes, dtype=torch.int64)))
        self.num_classes = num_classes

    def update(self, log_prob: Tensor, labels: Tensor) -> None:
        """Add a batch; see `confusion_update`. ValueError also for another number of classes."""
        if log_prob.ndim == 2 and log_prob.shape[1] != self.num_classes:
            raise ValueError(
                f"log_prob: expected shape (batch, {self.num_classes}), got {tuple(log_prob.shape)}"
            )
        self.add(confusion_update(log_prob, labels))

    def compute(self) -> Int[Tensor, "classes classes"]:
        """The counts over everything seen."""
        return confusion_compute(self.sums)


class ClassNLL(SumMetric[NLLSums]):
    """Mean -log p(label | x) in nats per example, with its standard error."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__(nll_update(torch.zeros(0)))

    def update(self, log_prob: Tensor, labels: Tensor) -> None:
        """Add a batch; see `class_nll_update`."""
        self.add(class_nll_update(log_prob, labels))

    def compute(self) -> Estimate:
        """The mean over everything seen; see `linsight.metrics.nll_compute`."""
        return nll_compute(self.sums)


def _at(log_prob: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    return log_prob.gather(1, labels[:, None])[:, 0]
