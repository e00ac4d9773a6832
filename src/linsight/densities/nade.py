"""NADE: hidden units that share what they know of earlier pixels."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from linsight.densities.additive import AdditiveConfig, AdditiveDensity
from linsight.densities.pixelwise import pixel_order

__all__ = ["NADE", "NADEConfig"]

_ACTIVATIONS = {"sigmoid": torch.sigmoid, "relu": torch.relu}


@dataclass(frozen=True)
class NADEConfig(AdditiveConfig):
    """A NADE is said by its width and its units."""

    activation: Literal["sigmoid", "relu"] = "sigmoid"
    """Of the hidden units; the paper's are sigmoid."""
    kind: Literal["nade"] = "nade"

    def __post_init__(self) -> None:
        """Refuse units that are not known."""
        super().__post_init__()
        if self.activation not in _ACTIVATIONS:
            raise ValueError(f"activation: expected 'sigmoid' or 'relu', got {self.activation!r}")

    def build(self) -> "NADE":
        """The density."""
        return NADE(self)


class NADE(AdditiveDensity):
    """The neural autoregressive distribution estimator.

    With D pixels in the order o and the start s,

        a_0     = c + U[s]
        l_o(i)  = b_o(i) + E[s, o(i)] + V_o(i) . act(a_i)
        a_(i+1) = a_i + W[:, o(i)] x_o(i)

    and the label, where it is last, a softmax regression on act(a_D). A recurrence whose state is a sum,
    without decay: the ancestor of linear attention, which has keys and queries where this has a fixed row of
    W and of V for every pixel. W and V start uniform within 1 / sqrt(fan-in), U and E at 0, b at the pixels'
    frequencies.

    Cost: 2 D hidden for an image step by step, and (block + 2) D hidden in one pass, in memory of block *
    hidden, and of D / block states more in training. The state is a, hidden floats.

    Larochelle, Murray 2011, "The neural autoregressive distribution estimator"; Uria, Côté, Gregor, Murray,
    Larochelle 2016, "Neural autoregressive distribution estimation", arXiv 1605.02226.
    """

    def __init__(self, config: NADEConfig) -> None:
        super().__init__(config, pixel_order(config))
        self._activation = _ACTIVATIONS[config.activation]
        for matrix in (self.weight, self.readout):
            bound = matrix.shape[1] ** -0.5
            nn.init.uniform_(matrix, -bound, bound)

    def features(self, sums):
        """The hidden units."""
        return self._activation(sums)
