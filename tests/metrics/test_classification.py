"""Accuracy, confusion matrix, class likelihood: worked by hand, against numpy, and refused when senseless."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from linsight.metrics import (
    Accuracy,
    CalibrationError,
    ClassNLL,
    ConfusionMatrix,
    accuracy_compute,
    accuracy_update,
    class_nll_update,
    confusion_compute,
    confusion_update,
    nll_compute,
)

# Four examples of three classes; the first three are called 0, the last 2.
HAND = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.75, 0.125, 0.125], [0.125, 0.125, 0.75]]).log()
LABELS = torch.tensor([0, 1, 0, 1])


def random_case(batch: int = 500, classes: int = 7) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, classes).mul(2).log_softmax(1), torch.randint(classes, (batch,))


def test_accuracy_by_hand_with_its_binomial_error():
    """Right: 0 and 2. (1 is a tie, which goes to class 0.) sqrt(0.5 * 0.5 / 4) = 0.25."""
    estimate = accuracy_compute(accuracy_update(HAND, LABELS))
    assert (estimate.value.item(), estimate.standard_error.item(), estimate.num_examples.item()) == (
        0.5,
        0.25,
        4,
    )


def test_confusion_by_hand():
    assert confusion_compute(confusion_update(HAND, LABELS)).tolist() == [[2, 0, 0], [1, 0, 1], [0, 0, 0]]


def test_class_likelihood_by_hand():
    """p(label) = 1/2, 1/2, 3/4, 1/8: their product is 3 / 128, so the mean of -log p is log(128 / 3) / 4."""
    value = nll_compute(class_nll_update(HAND, LABELS)).value.item()
    assert value == pytest.approx(math.log(128 / 3) / 4, rel=1e-6)


def test_everything_equals_numpy_on_random_data():
    log_prob, labels = random_case()
    array, truth = log_prob.double().numpy(), labels.numpy()
    called = array.argmax(1)
    matrix = np.zeros((7, 7), int)
    np.add.at(matrix, (truth, called), 1)
    nats = -array[np.arange(500), truth]
    accuracy = accuracy_compute(accuracy_update(log_prob, labels))
    likelihood = nll_compute(class_nll_update(log_prob, labels))
    share = (called == truth).mean()
    assert accuracy.value.item() == pytest.approx(share, rel=1e-15)
    assert accuracy.standard_error.item() == pytest.approx(math.sqrt(share * (1 - share) / 500), rel=1e-14)
    assert confusion_compute(confusion_update(log_prob, labels)).numpy().tolist() == matrix.tolist()
    assert likelihood.value.item() == pytest.approx(nats.mean(), rel=1e-13)
    assert likelihood.standard_error.item() == pytest.approx(nats.std(ddof=1) / math.sqrt(500), rel=1e-10)


def test_the_diagonal_of_the_confusion_matrix_is_the_accuracy():
    log_prob, labels = random_case()
    matrix = confusion_compute(confusion_update(log_prob, labels))
    assert matrix.sum() == 500
    assert matrix.sum(1).tolist() == torch.bincount(labels, minlength=7).tolist()
    assert matrix.trace() / 500 == accuracy_compute(accuracy_update(log_prob, labels)).value.float()


def test_relabelling_the_classes_permutes_the_matrix_and_nothing_else():
    log_prob, labels = random_case()
    order = torch.randperm(7)
    turned, renamed = log_prob[:, order], order.argsort()[labels]
    matrix = confusion_compute(confusion_update(log_prob, labels))
    assert torch.equal(confusion_compute(confusion_update(turned, renamed)), matrix[order][:, order])
    assert accuracy_update(turned, renamed) == accuracy_update(log_prob, labels)


def test_a_probability_of_0_is_accepted_and_costs_infinity_when_it_was_the_label():
    log_prob = torch.tensor([[1.0, 0.0]]).log()
    assert nll_compute(class_nll_update(log_prob, torch.tensor([0]))).value.item() == 0
    assert nll_compute(class_nll_update(log_prob, torch.tensor([1]))).value.item() == math.inf


METRICS: list[Callable] = [Accuracy, lambda: ConfusionMatrix(3), ClassNLL, CalibrationError]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("log_prob", "labels", "error", "message"),
    [
        (HAND[0], LABELS, ValueError, r"log_prob: expected shape \(batch, classes >= 2\), got \(3,\)"),
        (HAND[None], LABELS, ValueError, "log_prob: expected shape"),
        (HAND[:, :1], LABELS, ValueError, "log_prob: expected shape"),
        (HAND.long(), LABELS, TypeError, "log_prob: expected floating point, got torch.int64"),
        (
            HAND,
            LABELS[:3],
            ValueError,
            r"labels: expected shape \(4,\), one for each row of log_prob, got \(3,\)",
        ),
        (HAND, LABELS[:, None], ValueError, r"labels: expected shape \(4,\)"),
        (
            HAND,
            LABELS.float(),
            TypeError,
            r"labels: expected integers, got torch\.float32; use labels\.long\(\)",
        ),
        (HAND, LABELS.bool(), TypeError, r"labels: expected integers, got torch\.bool"),
        (HAND, torch.tensor([0, 3, 0, 0]), ValueError, "labels: expected 0 to 2, got 3 at index 1"),
        (HAND, torch.tensor([0, 0, -1, 0]), ValueError, "labels: expected 0 to 2, got -1 at index 2"),
        (HAND.exp(), LABELS, ValueError, r"sum to 1, got 4\.\d+ in row 0; pass log_softmax\(logits\)"),
        (HAND + 0.01, LABELS, ValueError, r"sum to 1, got 1\.01005 in row 0"),
        (HAND * math.nan, LABELS, ValueError, "sum to 1, got nan in row 0"),
    ],
)
def test_senseless_input_is_refused_by_every_metric(
    metric: Callable, log_prob: Tensor, labels: Tensor, error: type[Exception], message: str
):
    if isinstance(metric(), ConfusionMatrix) and log_prob.shape[1:] == (1,):
        message = r"log_prob: expected shape \(batch, 3\)"
    with pytest.raises(error, match=message):
        metric().update(log_prob, labels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_every_integer_type_of_labels_is_accepted(dtype: torch.dtype):
    matrix = confusion_update(HAND, LABELS.to(dtype)).matrix
    assert torch.equal(matrix, confusion_update(HAND, LABELS).matrix)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_log_softmax_in_its_own_precision_counts_as_normalised(dtype: torch.dtype):
    logits, labels = 10 * torch.randn(2000, 10), torch.randint(10, (2000,))
    accuracy_update(logits.to(dtype).log_softmax(1), labels)


def test_the_confusion_matrix_refuses_another_number_of_classes():
    with pytest.raises(ValueError, match=r"log_prob: expected shape \(batch, 4\), got \(4, 3\)"):
        ConfusionMatrix(4).update(HAND, LABELS)
    with pytest.raises(ValueError, match="num_classes: expected an integer >= 2, got 1"):
        ConfusionMatrix(1)


def test_values_over_no_examples_are_refused():
    with pytest.raises(ValueError, match="there are no examples yet"):
        accuracy_compute(accuracy_update(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))
