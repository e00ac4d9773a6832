"""Measures that accumulate: any split of the data into updates and merges gives the same value."""

from linsight.metrics.base import Estimate, SumMetric
from linsight.metrics.calibration import (
    Calibration,
    CalibrationError,
    CalibrationSums,
    calibration_compute,
    calibration_update,
)
from linsight.metrics.classification import (
    Accuracy,
    AccuracySums,
    ClassNLL,
    ConfusionMatrix,
    ConfusionSums,
    accuracy_compute,
    accuracy_update,
    class_nll_update,
    confusion_compute,
    confusion_update,
)
from linsight.metrics.likelihood import NegativeLogLikelihood, NLLSums, bits_per_dim, nll_compute, nll_update

__all__ = [
    "Accuracy",
    "AccuracySums",
    "Calibration",
    "CalibrationError",
    "CalibrationSums",
    "ClassNLL",
    "ConfusionMatrix",
    "ConfusionSums",
    "Estimate",
    "NLLSums",
    "NegativeLogLikelihood",
    "SumMetric",
    "accuracy_compute",
    "accuracy_update",
    "bits_per_dim",
    "calibration_compute",
    "calibration_update",
    "class_nll_update",
    "confusion_compute",
    "confusion_update",
    "nll_compute",
    "nll_update",
]
