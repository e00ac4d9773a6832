"""Independent pixels, alone and given the label: the floor that every density must beat."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from linsight.densities.base import Density, check_images, check_labels, check_temperature

__all__ = ["IndependentBernoulli", "NaiveBayes"]


class NaiveBayes(Density):
    """p(x, y) = p(y) prod_i p(x_i | y), counted: p(x_i = 1 | y) = (ones + 1) / (images + 2).

    Label frequencies are p(y). Fitted in float64, in one pass (uniform before it); there is nothing to train.
    It is often right about the label and badly over-confident, since pixels are far from independent.

    Args:
        height, width: Image size in pixels.
        classes: Number of labels.
    """

    logits: Tensor
    log_prior: Tensor

    def __init__(self, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.height, self.width, self.classes = height, width, classes
        self.register_buffer("logits", torch.zeros(classes, height, width, dtype=torch.float64))
        self.register_buffer("log_prior", torch.zeros(classes, dtype=torch.float64).log_softmax(0))

    def fit(self, x: Tensor, y: Tensor) -> "NaiveBayes":
        """Count the images `(number, height, width)`, at least one, with their labels; returns itself."""
        check_images(x, self.height, self.width)
        check_labels(y, len(x), self.classes)
        if len(x) == 0:
            raise ValueError("x: expected at least one image to count, got none")
        for label in range(self.classes):
            members = x[y == label]
            ones = members.sum(0, dtype=torch.float64)
            self.logits[label] = torch.logit((ones + 1) / (len(members) + 2))
            self.log_prior[label] = torch.tensor(len(members) / len(x), dtype=torch.float64).log()
        return self

    def log_prob(self, x, y=None) -> Float[Tensor, " batch"]:
        """log p(x) = logsumexp_y log p(x, y), or log p(x, y)."""
        joint = self._joint(x)
        if y is None:
            return joint.logsumexp(1)
        check_labels(y, len(x), self.classes)
        return joint.gather(1, y[:, None].long())[:, 0]

    def log_prob_given(self, x, y) -> Float[Tensor, " batch"]:
        """log p(x | y), also of labels that were not counted: all their pixels are fair coins."""
        given = self._given(x)
        check_labels(y, len(x), self.classes)
        return given.gather(1, y[:, None].long())[:, 0]

    def class_log_prob(self, x) -> Float[Tensor, "batch classes"]:
        """log p(y | x), by Bayes."""
        return self._joint(x).log_softmax(1)

    def sample(self, n, y=None, *, temperature=1.0, generator=None):
        """Draw labels where none are given, then every pixel by itself."""
        check_temperature(temperature)
        if y is None:
            y = torch.multinomial(self.log_prior.exp(), n, replacement=True, generator=generator)
        check_labels(y, n, self.classes)
        probability = torch.sigmoid(self.logits[y.long()] / temperature)
        return torch.bernoulli(probability, generator=generator).to(torch.uint8)

    def _joint(self, x) -> Float[Tensor, "batch classes"]:
        return self._given(x) + self.log_prior

    def _given(self, x) -> Float[Tensor, "batch classes"]:
        check_images(x, self.height, self.width)
        pixels = x.flatten(1).double()
        logits = self.logits.flatten(1)
        # sum_i x_i l_i - softplus(l_i): the pixel's log probability from its logit
        return pixels @ logits.T - F.softplus(logits).sum(1)


class IndependentBernoulli(NaiveBayes):
    """p(x) = prod_i p(x_i), counted: naive Bayes with a single label.

    Args:
        height, width: Image size in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__(height, width, classes=1)

    def fit(self, x: Tensor, y: Tensor | None = None) -> "IndependentBernoulli":
        """Count the images; labels are not looked at. Returns itself."""
        super().fit(x, torch.zeros(len(x), dtype=torch.int64))
        return self
