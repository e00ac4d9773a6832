"""Residual log-likelihood estimation: a flow, in training alone, learns the law of the errors."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from linsight.densities import RealNVP
from linsight.losses import RLEValues, exact_rle, flow_log_prob, mmpose_rle, official_rle, selected_mean
from linsight.models.vision.codecs.base import Outputs
from linsight.models.vision.codecs.heads import PooledHead
from linsight.models.vision.codecs.likelihood import ScaledCodec, ScoreKind
from linsight.models.vision.codecs.space import Space

__all__ = ["RLE"]

Variant = Literal["official", "mmpose", "exact"]


class RLE(ScaledCodec):
    """A point and a sigma a joint; the loss is -log of what a flow makes of the error in sigmas.

    Li et al. 2021, arXiv 2107.11291; `linsight.losses` has the three objectives. Outputs `{"mean": ...,
    "sigma": ...}`. The flow, one for all joints, is the codec's own parameters (53,784 in the plane): it must
    reach the optimiser, and neither head nor decoder holds it. The part `nll` is of the flow by itself, a
    density that is fitted in every variant; `level` is of that density too.

    Args:
        space: `Pixels` or `Directions`.
        variant: `official`, `mmpose`, `exact`.
        base: Of `mmpose`: `laplace` or `gaussian`.
        residual: Of `mmpose`: whether the base is there at all.
        normalizer: Of `exact`: `detach`, `grad` or None.
        reduction: `selected`: the mean over selected joints, as in every codec; `official`: the sum over
            joints divided by the batch size.
        feature_norm: Of the head; the first code has it.
        limit: See `official_rle`.
        draws: Of the flow, behind `level`.
        isotropic, sigma_range, score: See `ScaledCodec`. The first code has no floor: `sigma_range=(0, 1)`.

    Raises:
        ValueError: An unknown variant, base, normaliser or reduction; numbers out of range.

    Cost: training, one pass of the flow over the selected joints, and 576 points with `exact`; none after.
    """

    def __init__(
        self,
        space: Space,
        *,
        variant: Variant = "official",
        base: Literal["laplace", "gaussian"] = "laplace",
        residual: bool = True,
        normalizer: Literal["detach", "grad"] | None = "detach",
        reduction: Literal["selected", "official"] = "selected",
        feature_norm: bool = False,
        limit: float = 50.0,
        draws: int = 4096,
        isotropic: bool = False,
        sigma_range: tuple[float, float] | None = None,
        score: ScoreKind = "sigma",
    ) -> None:
        super().__init__(space, isotropic=isotropic, sigma_range=sigma_range, score=score)
        if variant not in get_args(Variant):
            raise ValueError(f"variant: expected one of {', '.join(get_args(Variant))}, got {variant!r}")
        if reduction not in ("selected", "official"):
            raise ValueError(f"reduction: expected 'selected' or 'official', got {reduction!r}")
        if draws < 1:
            raise ValueError(f"draws: expected at least 1, got {draws}")
        self.variant, self.base, self.residual, self.normalizer = variant, base, residual, normalizer
        self.reduction, self.feature_norm, self.limit, self.draws = reduction, feature_norm, limit, draws
        self.flow = RealNVP(space.dim)
        with torch.no_grad():
            self._values(torch.zeros(1, space.dim), torch.ones(1, space.dim))

    def head(self, in_channels: int, keypoints: int) -> nn.Module:
        """The mean over the map, and a linear layer for mean and sigma."""
        return PooledHead(in_channels, keypoints, self.outputs(), feature_norm=self.feature_norm)

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The objective over selected joints; its part `nll` is that of the flow by itself."""
        mean, truth = self._same("mean", outputs, targets)
        weight, number = targets["weight"], (targets["weight"] > 0).sum()
        nll = mean.new_zeros(())

        def objective(mean: Tensor, sigma: Tensor, truth: Tensor) -> Tensor:
            nonlocal nll
            error = self.space.error(mean, truth)
            values = self._values(error, sigma)
            reported = self.space.reported_nll(values.nll.detach(), error.detach())
            nll = reported.sum() / number.clamp(min=1)
            return values.loss

        rows = (mean, self._sigma(outputs), truth)
        loss = selected_mean(objective, weight, *rows, per_image=self.reduction == "official")
        return loss, {"nll": nll}

    def levels(self, error: Tensor, sigma: Tensor) -> Tensor:
        """The share of the flow's own draws that are denser than the error; the draws are always the same."""
        dense = flow_log_prob(self.flow, self._drawn(error), self.limit).sort().values
        below = torch.searchsorted(dense, flow_log_prob(self.flow, error / sigma, self.limit))
        return (1 - below / self.draws).to(error.dtype)

    def deviations(self, sigma: Tensor) -> Tensor:
        """Sigma times the half-width that holds 68 % of the flow's draws, as one sigma of a normal law does.

        Sigma alone is no deviation: the flow makes up for any scale.
        """
        with torch.no_grad():
            return sigma * self._drawn(sigma).abs().quantile(math.erf(math.sqrt(0.5)), dim=0)

    def nlls(self, error: Tensor, sigma: Tensor) -> Tensor:
        """Of the flow by itself."""
        return sigma.log().sum(-1) - flow_log_prob(self.flow, error / sigma, self.limit)

    def _drawn(self, like: Tensor) -> Tensor:
        """Draws of the flow, always the same."""
        return self.flow.sample(self.draws, generator=torch.Generator(like.device).manual_seed(0))

    def _values(self, error: Tensor, sigma: Tensor) -> RLEValues:
        if self.variant == "official":
            return official_rle(error, sigma, self.flow, limit=self.limit)
        if self.variant == "mmpose":
            return mmpose_rle(
                error, sigma, self.flow, base=self.base, residual=self.residual, limit=self.limit
            )
        return exact_rle(error, sigma, self.flow, normalizer=self.normalizer, limit=self.limit)
