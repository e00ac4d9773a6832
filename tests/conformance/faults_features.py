"""Attention with random features with one defect each: the stabiliser, the draw, what is saved."""

from typing import Any

import torch
from honest_attention import Peaked, Stabilised, orthogonal_features
from torch import Tensor

Result = tuple[Tensor, Any]


class LeakyStabiliser(Stabilised):
    """Keys' features are relative to the largest of the call, plus an eps (performer-pytorch #82)."""

    def run(self, b: Tensor, a: Tensor, v: Tensor, state: Peaked) -> Result:
        return super().run(b, ((a - a.amax((1, 2), keepdim=True)).exp() + 1e-4).log(), v, state)


class StaleSums(Stabilised):
    """Does not rescale the sums when a larger key raises the peak."""

    def advance(self, a: Tensor, v: Tensor, state: Peaked) -> Peaked:
        raised = torch.maximum(state.peak, a.amax(1))
        return super().advance(a, v, state._replace(peak=torch.where(state.weight > 0, raised, state.peak)))


class EpsAfterShift(Stabilised):
    """Adds an eps to a normaliser that is relative to a peak: what is added depends on the peak."""

    def divide(self, above: Tensor, below: Tensor) -> Tensor:
        return above / (below + 1e-6)


class Unstabilised(Stabilised):
    """Features without a peak: they underflow, and the normaliser with them."""

    def initial_state(self, batch: int) -> Peaked:
        return super().initial_state(batch)._replace(peak=self.zeros(batch, self.features))

    def log_features(self, x: Tensor) -> Tensor:
        return super().log_features(x).clamp(max=0.0)

    def divide(self, above: Tensor, below: Tensor) -> Tensor:
        return above / below


class FinitePadding(Stabilised):
    """Masks padding with -10000 in place of -inf: a row of nothing but padding averages it."""

    def run(self, b: Tensor, a: Tensor, v: Tensor, state: Peaked) -> Result:
        return super().run(b, a.clamp(min=-1e4), v, state)


class RedrawnAtEachCall(Stabilised):
    """Draws new features in every call, in evaluation too."""

    def log_features(self, x: Tensor) -> Tensor:
        self.projection = orthogonal_features(self.features, self.dim).to(self.wide)
        return super().log_features(x)


class RedrawnInTraining(Stabilised):
    """Draws new features in every training call."""

    def mix(self, x: Tensor, valid: Tensor, state: Peaked) -> Result:
        if self.training:
            self.projection = orthogonal_features(self.features, self.dim).to(self.wide)
        return super().mix(x, valid, state)


class UnsavedFeatures(Stabilised):
    """Its features are a buffer that the state dict leaves out."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        self.register_buffer("projection", self.projection, persistent=False)
