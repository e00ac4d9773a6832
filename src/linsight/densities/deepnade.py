"""DeepNADE: one network for all orders of the pixels."""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from linsight.densities.additive import AdditiveConfig, AdditiveDensity
from linsight.densities.pixelwise import Conditionals

__all__ = ["DeepNADE", "DeepNADEConfig"]


@dataclass(frozen=True)
class DeepNADEConfig(AdditiveConfig):
    """A DeepNADE is said by its size, and by the orders that it is asked in."""

    layers: int = 2
    """Hidden layers."""
    orders: int = 1
    """Orders whose equal mixture the likelihood is: `order` says the first, the others are random."""
    kind: Literal["deepnade"] = "deepnade"

    def __post_init__(self) -> None:
        """Refuse sizes that are not."""
        super().__post_init__()
        for name in ("layers", "orders"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    def build(self) -> "DeepNADE":
        """The density."""
        return DeepNADE(self)


class DeepNADE(AdditiveDensity):
    """The order-agnostic NADE: any pixels given any others, by one network.

    With m the mask of the known pixels, a part of the input without which "0" and "unknown" were the same,
    and the start s,

        a = c + U[s] + W (x * m) + M m
        h = relu(a), then relu(W_k h + c_k) for every further layer
        l = b + E[s] + V h

    are the logits of all pixels given the known ones, and those of the label, where it is last, when all are.
    Along an order the mask grows by a pixel at a time, so that a is a sum and the density one by the chain
    rule in every order. In each it is another density, as the conditionals of no trained network agree;
    `orders` of them are mixed, each as a whole (a mean of their logits were no likelihood).

    Training (`loss_terms`) takes a random order and a random cut for every example, and predicts all pixels
    after the cut in one pass; `knowing` is this density in orders in which any given pixels come first, hence
    exact in-painting.

    Cost: D ((block + 1) hidden + (layers - 1) hidden^2) for an image in one order, as its D passes share the
    sum in the first layer and read one logit each, and with 3 in the place of block + 1 step by step; 3 D
    hidden + (layers - 1) hidden^2 for a step of training, twice that where the label can be last. The state
    is a, hidden floats.

    Uria, Murray, Larochelle 2014, "A deep and tractable density estimator", arXiv 1310.1757.
    """

    def __init__(self, config: DeepNADEConfig) -> None:
        super().__init__(config, _orders(config))
        self.passes = self.num_pixels + self.reads_label
        self.known = nn.Parameter(torch.empty_like(self.weight))
        self.layers = nn.ModuleList(_hidden_layer(config.hidden) for _ in range(config.layers - 1))
        # W and M are the two halves of one matrix: each unit has 2 D inputs.
        for matrix in (self.weight, self.known):
            nn.init.normal_(matrix, std=self.num_pixels**-0.5)
        nn.init.uniform_(self.readout, -(config.hidden**-0.5), config.hidden**-0.5)

    def features(self, sums):
        """All layers after the first sum."""
        h = sums.relu()
        for layer in self.layers:
            h = layer(h).relu()
        return h

    def total(self, values, known, pixels):
        """A known pixel adds its column of M, and that of W if it is on."""
        return super().total(values, known, pixels) + known @ self.known[:, pixels].T

    def logits_given(
        self,
        pixels: Float[Tensor, "batch pixels"],
        mask: Bool[Tensor, "batch pixels"],
        starts: Int[Tensor, " batch"],
    ) -> Conditionals:
        """Logits of all pixels and labels given the pixels in the mask, in one pass.

        Those of the pixels in the mask mean nothing, nor do the labels' where any is out of it.
        """
        sums = self._first(starts) + self.total(pixels, mask.to(pixels.dtype), slice(None))
        return self.split(self.features(sums) @ self.readout.T + self.bias + self.start[starts])

    def nats_beyond(
        self,
        pixels: Float[Tensor, "batch pixels"],
        mask: Bool[Tensor, "batch pixels"],
        starts: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """D / u sum_j -log p(x_j | x_mask, start) over the u pixels out of the mask, of which one has to be.

        With the first pixels of a random order in the mask, their number uniform in 0..D-1, the expectation
        is the mean over all orders of -log p(x | start): whatever the cut, each pixel out of the mask is
        equally likely to be the next.
        """
        logits = self.logits_given(pixels, mask, starts).pixels
        nats = (F.softplus(logits) - pixels * logits).masked_fill(mask, 0).sum(1)
        return self.num_pixels * nats / (~mask).sum(1)

    def loss_terms(self, x, starts, seed):
        """An unbiased estimate of the mean over all orders of -log p(x | start), and log p(y | x).

        Each image has its own order and cut, drawn by `seed`. The label, where it is last, is last in every
        order: its term takes a second pass with all pixels known, and is no estimate.
        """
        generator = torch.Generator().manual_seed(seed)
        draws = torch.rand(len(x), self.num_pixels, dtype=torch.float64, generator=generator)
        cuts = torch.randint(self.num_pixels, (len(x), 1), generator=generator)
        mask = (draws.argsort(1) < cuts).to(x.device)
        pixels = self._pixels(x)
        labels = pixels.new_zeros(len(x), 0)
        if self.reads_label:
            labels = self.logits_given(pixels, torch.ones_like(mask), starts).labels.log_softmax(1)
        return self.nats_beyond(pixels, mask, starts), labels

    def knowing(self, mask):
        """This density with the known pixels first in every order, otherwise as they were.

        The parameters are the same tensors, not copies. What it returns is the same network asked in other
        orders, so its log p(x) is another number; in-painting by it is exact with regard to that law.
        """
        if self.knows_first(mask):
            return self
        reordered = copy.deepcopy(self, {id(parameter): parameter for parameter in self.parameters()})
        known = mask.flatten()[self.raster_orders]
        first = (~known).to(torch.uint8).argsort(dim=1, stable=True)
        reordered.raster_orders = self.raster_orders.gather(1, first)
        return reordered


def _hidden_layer(width: int) -> nn.Linear:
    layer = nn.Linear(width, width)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _orders(config: DeepNADEConfig) -> Int[Tensor, "members pixels"]:
    """The order that `order` says, then those which its seed draws next."""
    number, generator = config.height * config.width, torch.Generator().manual_seed(config.order_seed)
    orders = torch.stack([torch.randperm(number, generator=generator) for _ in range(config.orders)])
    if config.order == "raster":
        orders[0] = torch.arange(number)
    return orders
