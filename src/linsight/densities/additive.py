"""Densities that know earlier pixels by a running sum over them."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from linsight.densities.base import check_images
from linsight.densities.pixelwise import Conditionals, OrderedPixelConfig, PixelDensity, as_values, pixel_bias

__all__ = ["AdditiveConfig", "AdditiveDensity", "AdditiveState"]


@dataclass(frozen=True)
class AdditiveConfig(OrderedPixelConfig):
    """What all of them choose: the width of the sum, and how much of it is worked on at a time."""

    hidden: int = 500
    """Width of the sum."""
    block: int = 32
    """Pixels taken together in one pass: their sums are in memory at once, and cost its square."""

    def __post_init__(self) -> None:
        """Refuse sizes that are not."""
        super().__post_init__()
        for name in ("hidden", "block"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


class AdditiveDensity(PixelDensity):
    """A density that predicts each pixel from a sum over those before it.

    With D pixels in the order o, the start s, and f what a subclass makes of the sum (`features`),

        a_0     = c + U[s]
        l_o(i)  = b_o(i) + E[s, o(i)] + V_o(i) . f(a_i)
        a_(i+1) = a_i + W[:, o(i)] x_o(i)

    and the label, where it is last, by further rows of V, b and E from f(a_D). Three forms: one pixel at a
    time with a carried (`begin`, `read`, `feed`); blocks of pixels, in each all sums at once by a triangular
    matrix, with a carried from one to the next (`conditionals`); all pixels in one block, where `block` is D
    or more. The whole of a_0 ... a_(D-1), D * hidden numbers an image, is never in memory where it is less,
    in training neither: a block's sums are computed again in the backward.

    The state is a, `hidden` numbers an image however many pixels it has seen.
    """

    def __init__(self, config: AdditiveConfig, orders: Int[Tensor, "members pixels"]) -> None:
        super().__init__(config, orders)
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.hidden, self.num_pixels))
        self.hidden_bias = nn.Parameter(torch.zeros(config.hidden))
        self.hidden_start = nn.Parameter(torch.zeros(self.classes + 1, config.hidden))
        self.readout = nn.Parameter(torch.empty(self.num_outputs, config.hidden))
        self.bias = nn.Parameter(torch.zeros(self.num_outputs))
        self.start = nn.Parameter(torch.zeros(self.classes + 1, self.num_outputs))

    @abstractmethod
    def features(self, sums: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """What the logits are read from."""

    @torch.no_grad()
    def fit_bias(self, x: Tensor) -> None:
        """Start at the pixels' frequencies in training images."""
        check_images(x, self.height, self.width)
        self.bias[: self.num_pixels] = pixel_bias(x)

    def conditionals(self, pixels, starts, member=0) -> Conditionals:
        """The sums before all pixels of a block, from the sum over all blocks before it."""
        order = self.order_of(member)
        run = self._block
        if torch.is_grad_enabled():
            run = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
        sums, found = self._first(starts), []
        for block in order.split(self.config.block):
            logits, sums = run(sums, pixels[:, block], block)
            found.append(logits)
        found = [torch.cat(found, dim=1)[:, order.argsort()]]
        if self.reads_label:
            found.append(self.features(sums) @ self.readout[self.num_pixels :].T)
        return self.split(torch.cat(found, dim=1) + self.bias + self.start[starts])

    def begin(self, starts, member=0) -> "AdditiveState":
        """The sum over no pixels."""
        return AdditiveState(self._first(starts), starts, member, 0)

    def read(self, state) -> Float[Tensor, "batch values"]:
        """One row of V, or the labels' rows at the end."""
        features = self.features(state.sums)
        if state.seen == self.num_pixels:
            return self.split(features @ self.readout.T + self.bias + self.start[state.starts]).labels
        pixel = self.order_of(state.member)[state.seen, None]
        logits = (features @ self.readout[pixel].T)[:, 0]
        return as_values(logits + self.bias[pixel] + self.start[state.starts, pixel])

    def feed(self, state, cells) -> "AdditiveState":
        """Add what the pixels add."""
        seen = state.seen + cells.shape[1]
        pixels = self.order_of(state.member)[state.seen : seen]
        values = cells.to(state.sums.dtype)
        return state._replace(
            sums=state.sums + self.total(values, torch.ones_like(values), pixels), seen=seen
        )

    def total(
        self,
        values: Float[Tensor, "... some"],
        known: Float[Tensor, "... some"],
        pixels: Int[Tensor, " some"] | slice,
    ) -> Float[Tensor, "... hidden"]:
        """What pixels of these values add to the sum where `known` is 1; nothing where it is 0."""
        return (values * known) @ self.weight[:, pixels].T

    def _first(self, starts: Int[Tensor, " batch"]) -> Float[Tensor, "batch hidden"]:
        return self.hidden_bias + self.hidden_start[starts]

    def _block(self, sums: Tensor, values: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What the features say of these pixels, and the sum after them."""
        every = values.new_ones(len(pixels), len(pixels))
        before = sums[:, None] + self.total(values[:, None], every.tril(-1), pixels)
        logits = torch.einsum("bph,ph->bp", self.features(before), self.readout[pixels])
        return logits, sums + self.total(values, every[0], pixels)


class AdditiveState(NamedTuple):
    """The sum over the pixels so far, what stood before them, the member's number, and how many they are."""

    sums: Float[Tensor, "batch hidden"]
    starts: Int[Tensor, " batch"]
    member: int
    seen: int
