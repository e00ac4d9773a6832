"""Regression with a scale: Laplace and Gaussian likelihoods, and what codecs with a sigma share."""

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from linsight.losses import gaussian_nll, laplace_nll, selected_mean
from linsight.models.vision.codecs.activations import BoundedScale
from linsight.models.vision.codecs.base import Keypoints, Outputs
from linsight.models.vision.codecs.heads import Output
from linsight.models.vision.codecs.regression import PointCodec
from linsight.models.vision.codecs.space import Space

__all__ = ["Likelihood", "ScaledCodec", "ScoreKind"]

ScoreKind = Literal["sigma", "nll"]


class ScaledCodec(PointCodec):
    """What codecs share that predict a sigma beside the point: `{"mean": ..., "sigma": ...}`.

    Outputs `sigma` are `(batch, joints, dim)`, or `(..., 1)` where all axes have one, in the unit of errors:
    crops for pixels. Score `sigma`: 1 - mean sigma in that unit; `nll`: -sum log sigma, the log density at
    the mean but for a constant, in nats.

    Args:
        space: `Pixels` or `Directions`.
        isotropic: One sigma for all axes.
        sigma_range: The least and greatest sigma; None for the space's.
        score: `sigma` or `nll`.

    Raises:
        ValueError: An unknown score; a range that is none.
    """

    def __init__(
        self,
        space: Space,
        *,
        isotropic: bool = False,
        sigma_range: tuple[float, float] | None = None,
        score: ScoreKind = "sigma",
    ) -> None:
        super().__init__(space)
        if score not in ("sigma", "nll"):
            raise ValueError(f"score: expected 'sigma' or 'nll', got {score!r}")
        self.isotropic, self.scored_by = isotropic, score
        self.sigma_range = space.sigma_range if sigma_range is None else sigma_range
        BoundedScale(*self.sigma_range)

    def outputs(self) -> dict[str, Output]:
        """The mean, and a positive scale."""
        width = 1 if self.isotropic else self.space.dim
        return {**super().outputs(), "sigma": Output(width, BoundedScale(*self.sigma_range))}

    def perfect(self, targets: Outputs) -> Outputs:
        """The targets, with the least sigma."""
        mean = targets["mean"]
        like = mean[..., :1] if self.isotropic else mean
        return {"mean": mean, "sigma": torch.full_like(like, self.sigma_range[0])}

    def decode(self, outputs: Outputs) -> Keypoints:
        """The points of the mean, and sigma in their unit."""
        sigma = self.space.to_point_unit(self._sigma(outputs))
        return Keypoints(self.places(outputs), self.score(outputs), sigma, {})

    def score(self, outputs: Outputs) -> Tensor:
        """See the class."""
        sigma = self._sigma(outputs)
        return 1 - sigma.mean(-1) if self.scored_by == "sigma" else -sigma.log().sum(-1)

    def level(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """The probability of the densest region that just holds the truth: uniform on (0, 1) if calibrated.

        The share of joints whose level is at most 0.9 is the coverage of the 90 % region. Joints without
        weight get what their targets say; leave them out.

        Returns:
            `(batch, joints)`, without a gradient.
        """
        with torch.no_grad():
            error = self.space.error(*self._same("mean", outputs, targets))
            return self.levels(error, self._sigma(outputs).expand_as(error))

    def nll(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """-log p of the truth of each joint in nats, as the part `nll` is the mean of.

        Over fractions of the crop, or square radians; with `Directions(jacobian=True)` over steradians.

        Returns:
            `(batch, joints)`, without a gradient; joints without weight as for `level`.
        """
        with torch.no_grad():
            error = self.space.error(*self._same("mean", outputs, targets))
            nll = self.nlls(error, self._sigma(outputs).expand_as(error))
            return self.space.reported_nll(nll, error)

    def deviations(self, sigma: Tensor) -> Tensor:
        """How far errors go on each axis, of their sigmas: sigma itself where that is a standard deviation.

        Args:
            sigma: `(..., dim)`, in any unit; the outputs' own, or those of `decode`.

        Returns:
            `(..., dim)` in the same unit.
        """
        return sigma

    @abstractmethod
    def levels(self, error: Tensor, sigma: Tensor) -> Tensor:
        """The level of errors `(..., dim)` under their sigmas: `(...)`."""

    @abstractmethod
    def nlls(self, error: Tensor, sigma: Tensor) -> Tensor:
        """-log p of errors `(..., dim)` under their sigmas, over the unit of errors: `(...)`."""

    def _sigma(self, outputs: Outputs) -> Tensor:
        return outputs["sigma"].expand_as(outputs["mean"])


class Likelihood(ScaledCodec):
    """Regression with a standard deviation for each axis, by -log p of a Laplace or Gaussian density.

    Outputs `{"mean": ..., "sigma": ...}`, sigma the standard deviation; the Laplace scale is sigma / sqrt 2.

    Args:
        space: `Pixels` or `Directions`.
        law: `laplace` or `gaussian`.
        isotropic, sigma_range, score: See `ScaledCodec`.

    Raises:
        ValueError: An unknown law; what `ScaledCodec` refuses.
    """

    def __init__(
        self,
        space: Space,
        *,
        law: Literal["laplace", "gaussian"] = "laplace",
        isotropic: bool = False,
        sigma_range: tuple[float, float] | None = None,
        score: ScoreKind = "sigma",
    ) -> None:
        super().__init__(space, isotropic=isotropic, sigma_range=sigma_range, score=score)
        if law not in ("laplace", "gaussian"):
            raise ValueError(f"law: expected 'laplace' or 'gaussian', got {law!r}")
        self.law = law

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The mean of -log p over selected joints, in nats, over the unit of errors."""
        mean, truth = self._same("mean", outputs, targets)
        rows, weight = (mean, self._sigma(outputs), truth), targets["weight"]

        def density(mean: Tensor, sigma: Tensor, truth: Tensor) -> Tensor:
            return self.nlls(self.space.error(mean, truth), sigma)

        def reported(mean: Tensor, sigma: Tensor, truth: Tensor) -> Tensor:
            error = self.space.error(mean, truth)
            return self.space.reported_nll(self.nlls(error, sigma), error)

        loss = selected_mean(density, weight, *rows)
        with torch.no_grad():
            return loss, {"nll": selected_mean(reported, weight > 0, *rows)}

    def levels(self, error: Tensor, sigma: Tensor) -> Tensor:
        """By the law of the radius: chi-square of the squares, gamma of the absolute values."""
        half = torch.full_like(error[..., 0], error.shape[-1])
        if self.law == "gaussian":
            return torch.special.gammainc(0.5 * half, 0.5 * (error / sigma).square().sum(-1))
        return torch.special.gammainc(half, (math.sqrt(2) * error.abs() / sigma).sum(-1))

    def nlls(self, error: Tensor, sigma: Tensor) -> Tensor:
        """Of the law."""
        if self.law == "gaussian":
            return gaussian_nll(error, sigma)
        return laplace_nll(error, sigma / math.sqrt(2))
