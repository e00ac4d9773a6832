"""Exact likelihoods: log_prob and sample."""

from linsight.densities.base import Density, check_images, check_labels, check_temperature
from linsight.densities.bernoulli import IndependentBernoulli, NaiveBayes

__all__ = [
    "Density",
    "IndependentBernoulli",
    "NaiveBayes",
    "check_images",
    "check_labels",
    "check_temperature",
]
