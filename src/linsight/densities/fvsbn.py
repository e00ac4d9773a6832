"""FVSBN: every pixel a logistic regression on those before it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight.densities.base import check_images
from linsight.densities.pixelwise import (
    Conditionals,
    OrderedPixelConfig,
    PixelDensity,
    as_values,
    pixel_bias,
    pixel_order,
)

__all__ = ["FVSBN", "FVSBNConfig"]


@dataclass(frozen=True)
class FVSBNConfig(OrderedPixelConfig):
    """A fully visible sigmoid belief network has no choices of its own."""

    kind: Literal["fvsbn"] = "fvsbn"

    def build(self) -> "FVSBN":
        """The density."""
        return FVSBN(self)


class FVSBN(PixelDensity):
    """The fully visible sigmoid belief network.

    With D pixels in the order o and the start s,

        l_o(i) = b_o(i) + E[s, o(i)] + sum_(j < i) W[o(i), o(j)] x_o(j)

    and the label, where it is last, a softmax regression on all pixels: further rows of W. W and E start at
    0 and b at the pixels' frequencies, hence as independent pixels. The mask of the order is applied to W in
    each call; entries that no one may read stay what they are.

    Cost: D^2 for an image in one pass, and D for a pixel step by step; the state is the running logits,
    D floats, of all pixels still to come.

    Frey, Hinton, Dayan 1996, "Does the wake-sleep algorithm produce good density estimators?".
    """

    def __init__(self, config: FVSBNConfig) -> None:
        super().__init__(config, pixel_order(config))
        self.config = config
        self.weight = nn.Parameter(torch.zeros(self.num_outputs, self.num_pixels))
        self.bias = nn.Parameter(torch.zeros(self.num_outputs))
        self.start = nn.Parameter(torch.zeros(self.classes + 1, self.num_outputs))

    @torch.no_grad()
    def fit_bias(self, x: Tensor) -> None:
        """Start at the pixels' frequencies in training images."""
        check_images(x, self.height, self.width)
        self.bias[: self.num_pixels] = pixel_bias(x)

    def conditionals(self, pixels, starts, member=0) -> Conditionals:
        """One masked linear layer."""
        # Made of the order in each call: weights that are loaded bring their order with them.
        rank = self.order.argsort()
        output_rank = F.pad(rank, (0, self.num_outputs - self.num_pixels), value=self.num_pixels)
        mask = output_rank[:, None] > rank
        return self.split(F.linear(pixels, self.weight * mask, self.bias) + self.start[starts])

    def begin(self, starts, member=0) -> "FVSBNState":
        """Logits of everything given nothing."""
        return FVSBNState(self.bias + self.start[starts], 0)

    def read(self, state) -> Float[Tensor, "batch values"]:
        """The next pixel's running logit has seen all that it may; so have the labels' at the end."""
        if state.seen == self.num_pixels:
            return self.split(state.logits).labels
        return as_values(state.logits[:, self.order[state.seen]])

    def feed(self, state, cells) -> "FVSBNState":
        """Add what the pixels say about all outputs; what that does to earlier ones nobody reads."""
        seen = state.seen + cells.shape[1]
        pixels = self.order[state.seen : seen]
        return FVSBNState(state.logits + cells.to(state.logits.dtype) @ self.weight[:, pixels].T, seen)


class FVSBNState(NamedTuple):
    """Running logits of the pixels, then of the labels, and how many pixels they have seen."""

    logits: Float[Tensor, "batch outputs"]
    seen: int
