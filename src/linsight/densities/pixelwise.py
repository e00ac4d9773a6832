"""Densities whose cells are single pixels: logits of all in one pass, and a state for one at a time."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from linsight.config import Config
from linsight.densities.autoregressive import Autoregressive, LabelKind
from linsight.densities.base import check_images, check_labels

__all__ = [
    "Conditionals",
    "OrderedPixelConfig",
    "PixelDensity",
    "PixelDensityConfig",
    "as_values",
    "pixel_bias",
    "pixel_order",
]


@dataclass(frozen=True)
class PixelDensityConfig(Config):
    """What all of them have: the image's size and the label's place."""

    height: int = 28
    width: int = 28
    classes: int = 10
    """Number of labels; not looked at where label is "none"."""
    label: LabelKind = "both"

    def __post_init__(self) -> None:
        """Refuse what no image or label has."""
        for name in ("height", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.label != "none" and self.classes < 1:
            raise ValueError(f"classes: expected at least 1 with label {self.label!r}, got {self.classes}")

    @property
    def num_cells(self) -> int:
        """Steps of an image."""
        return self.height * self.width

    def build(self) -> "PixelDensity":
        """The density."""
        raise NotImplementedError


@dataclass(frozen=True)
class OrderedPixelConfig(PixelDensityConfig):
    """Of those that may take the pixels in any order."""

    order: Literal["raster", "random"] = "raster"
    order_seed: int = 0
    """Of the random order."""

    def __post_init__(self) -> None:
        """Refuse orders that are not."""
        super().__post_init__()
        if self.order not in ("raster", "random"):
            raise ValueError(f"order: expected 'raster' or 'random', got {self.order!r}")
        if not 0 <= self.order_seed < 2**63:
            raise ValueError(f"order_seed: expected an integer in [0, 2**63), got {self.order_seed}")


class Conditionals(NamedTuple):
    """Logits `(batch, pixels)` in raster order, each of the pixels before it alone; of labels, of all pixels.

    The labels' are `(batch, classes)` and mean something where y can stand last and all pixels are there.
    """

    pixels: Float[Tensor, "batch pixels"]
    labels: Float[Tensor, "batch classes"]


class PixelDensity(Autoregressive):
    """A density whose cells are pixels: log p_i = x_i l_i - softplus(l_i), from the logits l.

    A subclass has `conditionals`; where it is a recurrence, also `begin`, `read` and `feed`, which here
    re-run `conditionals` for every pixel.
    """

    num_outputs: int
    """Logits of a network: one a pixel and, where y can stand last, one a label."""
    raster_orders: Tensor

    def __init__(self, config: PixelDensityConfig, orders: Int[Tensor, "members pixels"]) -> None:
        super().__init__(config.height, config.width, config.classes, config.label)
        self.num_pixels = self.num_cells = config.height * config.width
        self.num_outputs = self.num_pixels + (self.classes if self.reads_label else 0)
        self.cell_pixels, self.members = 1, len(orders)
        self.register_buffer("raster_orders", orders)

    @abstractmethod
    def conditionals(
        self, pixels: Float[Tensor, "batch pixels"], starts: Int[Tensor, " batch"], member: int = 0
    ) -> Conditionals:
        """Logits of every pixel given those before it in a member's order, and of the labels given all.

        Args:
            pixels: In raster order, of 0 and 1 in the dtype of the weights.
            starts: The label where it is first, else `classes`.
            member: Which order.
        """

    def split(self, outputs: Float[Tensor, "batch outputs"]) -> Conditionals:
        """Outputs as those of the pixels and, where y can stand last, those of the labels after them."""
        return Conditionals(outputs[:, : self.num_pixels], outputs[:, self.num_pixels :])

    def logits(
        self, x: Tensor, y: Tensor | None = None, *, member: int = 0
    ) -> Float[Tensor, "batch height width"]:
        """Logits of every pixel given those before it, and y where it stands first; each in its place."""
        check_images(x, self.height, self.width)
        if y is not None:
            check_labels(y, len(x), self.classes)
        if self.classes:
            self.places_for("last" if y is None else "first")
        return self.conditionals(self._pixels(x), self.starts(len(x), y), member).pixels.view(x.shape)

    def order_of(self, member: int) -> Int[Tensor, " pixels"]:
        """The raster index of the pixel that a member generates at each step."""
        return self.raster_orders[member]

    def to_cells(self, x, member=0) -> Int[Tensor, "batch pixels"]:
        """Pixels in a member's order."""
        return x.flatten(1)[:, self.order_of(member)].long()

    def to_images(self, cells, member=0) -> UInt8[Tensor, "batch height width"]:
        """Images of pixels in a member's order."""
        return self._raster(cells.to(torch.uint8), member).view(-1, self.height, self.width)

    def log_probs(self, cells, starts, member=0):
        """log p of every pixel given those before it, and of every label given them all, in one pass."""
        found = self.conditionals(self._raster(cells.to(self.log_prior.dtype), member), starts, member)
        logits = found.pixels[:, self.order_of(member)[: cells.shape[1]]]
        return cells * logits - F.softplus(logits), found.labels.log_softmax(1)

    def begin(self, starts, member=0) -> Any:
        """No pixel is known."""
        return PrefixState(self.log_prior.new_zeros(len(starts), self.num_pixels), starts, member, 0)

    def read(self, state) -> Float[Tensor, "batch values"]:
        """Logits of the next pixel's 0 and 1, or of the labels after the last."""
        found = self.conditionals(state.pixels, state.starts, state.member)
        if state.seen == self.num_pixels:
            return found.labels
        return as_values(found.pixels[:, self.order_of(state.member)[state.seen]])

    def feed(self, state, cells) -> Any:
        """Write the pixels down."""
        end = state.seen + cells.shape[1]
        pixels = state.pixels.clone()
        pixels[:, self.order_of(state.member)[state.seen : end]] = cells.to(pixels.dtype)
        return state._replace(pixels=pixels, seen=end)

    def _pixels(self, x: Tensor) -> Float[Tensor, "batch pixels"]:
        return x.flatten(1).to(self.log_prior.dtype)

    def _raster(self, cells: Tensor, member: int) -> Tensor:
        """The first cells of a member's order at their places in the raster; 0 elsewhere."""
        pixels = cells.new_zeros(len(cells), self.num_pixels)
        pixels[:, self.order_of(member)[: cells.shape[1]]] = cells
        return pixels


class PrefixState(NamedTuple):
    """The pixels so far `(batch, pixels)`, in raster order, and what stood before them."""

    pixels: Float[Tensor, "batch pixels"]
    starts: Int[Tensor, " batch"]
    member: int
    seen: int


def as_values(logits: Float[Tensor, " batch"]) -> Float[Tensor, "batch 2"]:
    """The logit of 1 as logits of the values 0 and 1."""
    return torch.stack([torch.zeros_like(logits), logits], dim=1)


def pixel_order(config: OrderedPixelConfig) -> Int[Tensor, "1 pixels"]:
    """The one order that a configuration asks for."""
    number = config.height * config.width
    if config.order == "raster":
        return torch.arange(number)[None]
    return torch.randperm(number, generator=torch.Generator().manual_seed(config.order_seed))[None]


def pixel_bias(x: Tensor) -> Float[Tensor, " pixels"]:
    """Logits of the share of training images in which each pixel is on, kept 0.001 away from 0 and 1."""
    return torch.logit(x.flatten(1).double().mean(0), eps=1e-3)
