"""MADE: an autoencoder whose masks make every output a conditional of the pixels before its own."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
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

__all__ = ["MADE", "MADEConfig"]

DIGEST = "degrees_sha256"


@dataclass(frozen=True)
class MADEConfig(OrderedPixelConfig):
    """A MADE is said by its layers, and by how many orders its weights serve."""

    hidden: tuple[int, ...] = (500,)
    """Units of every hidden layer."""
    degrees: Literal["even", "random"] = "even"
    """How many pixels the hidden units know: spread evenly, or drawn for each order by its seed."""
    orders: int = 1
    """Orders whose equal mixture this is: `order` says the first, the others are random."""
    direct: bool = True
    """Whether outputs also read the pixels themselves."""
    kind: Literal["made"] = "made"

    def __post_init__(self) -> None:
        """Refuse sizes that no network has."""
        super().__post_init__()
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden: expected layers of at least 1 unit, got {self.hidden}")
        if self.degrees not in ("even", "random"):
            raise ValueError(f"degrees: expected 'even' or 'random', got {self.degrees!r}")
        if self.orders < 1:
            raise ValueError(f"orders: expected at least 1, got {self.orders}")

    def build(self) -> "MADE":
        """The density."""
        return MADE(self)


class MADE(PixelDensity):
    """The masked autoencoder for distribution estimation.

    The degree of a unit says how many pixels of the order it may know: that of the pixel at position i = 1..D
    is i, its logit's i - 1, a label's D, a hidden unit's anything between. One unit reads another where its
    degree is as high, M[k, j] = (degree_k >= degree_j), so that with the start s, which all may know,

        h_1 = relu(b_1 + E_1[s] + (W_1 * M_1) x),    h_n = relu(b_n + E_n[s] + (W_n * M_n) h_(n-1))
        l   = b + E[s] + (V * M_V) h_L + (A * M_A) x

    V and A, the direct link, start at 0 and b at the pixels' frequencies, hence as independent pixels. Masks
    are applied in each call; what they leave out of W, V and A is read by no one. (The paper counts a logit's
    degree as its pixel's, and its mask is strict.)

    With several orders the same weights serve them all, each order with degrees of its own, made from its
    number and `order_seed`. They are not saved: a checkpoint has their digest and loads only into the same.
    A step of training takes one of the orders; the density is their equal mixture, at a pass for each.
    `knowing` is that of the orders alone in which given pixels come first, hence exact in-painting.

    Cost: D H_1 + H_1 H_2 + ... + H_L D + D^2 for an image, whether in one pass or step by step: a hidden
    unit is final once the last pixel that it may know is there, and is computed then and only then. The state
    is the sums of all units so far, H_1 + ... + H_L + D floats.

    Germain, Gregor, Murray, Larochelle 2015, "MADE: masked autoencoder for distribution estimation",
    arXiv 1502.03509.
    """

    degrees: Tensor
    degrees_sha256: Tensor

    def __init__(self, config: MADEConfig) -> None:
        orders, degrees = zip(*(_member(config, member) for member in range(config.orders)), strict=True)
        super().__init__(config, torch.stack(orders))
        self.config = config
        self.widths = (self.num_pixels, *config.hidden, self.num_outputs)
        above = self.widths[1:]
        self.weights = nn.ParameterList(
            torch.empty(outputs, inputs) for inputs, outputs in zip(self.widths, above, strict=False)
        )
        for weight in self.weights[:-1]:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        nn.init.zeros_(self.weights[-1])
        shape = (self.num_outputs, self.num_pixels)
        self.direct = nn.Parameter(torch.zeros(shape)) if config.direct else None
        self.bias = nn.Parameter(torch.zeros(sum(above)))
        self.start = nn.Parameter(torch.zeros(self.classes + 1, sum(above)))
        self.register_buffer("degrees", torch.stack(degrees), persistent=False)
        self.register_buffer(DIGEST, _digest(self.degrees))
        self.register_load_state_dict_pre_hook(_refuse_other_degrees)

    @torch.no_grad()
    def fit_bias(self, x: Tensor) -> None:
        """Start at the pixels' frequencies in training images."""
        check_images(x, self.height, self.width)
        first = len(self.bias) - self.num_outputs
        self.bias[first : first + self.num_pixels] = pixel_bias(x)

    def conditionals(self, pixels, starts, member=0) -> Conditionals:
        """All units of every layer at once."""
        everything = [slice(None)] * len(self.weights)
        return self.split(self._add(self._first(starts), pixels, everything, member)[-1])

    def knowing(self, mask):
        """The density of those orders alone in which the known pixels come first.

        The parameters are the same tensors, not copies. With fewer orders it is another mixture, so its
        log p(x) is another number; in-painting by it is exact with regard to that law.
        """
        chosen = [member for member in range(self.members) if self._knows_first(mask, member)]
        if len(chosen) in (0, self.members):
            return super().knowing(mask)
        density = copy.deepcopy(self, {id(parameter): parameter for parameter in self.parameters()})
        density.members = len(chosen)
        density.raster_orders, density.degrees = self.raster_orders[chosen], self.degrees[chosen]
        density.degrees_sha256 = _digest(density.degrees).to(self.degrees.device)
        return density

    def begin(self, starts, member=0) -> "MADEState":
        """What all units know without any pixel."""
        return MADEState(self._first(starts), member, 0)

    def read(self, state) -> Float[Tensor, "batch values"]:
        """The sum of the next pixel's logit is complete; so are the labels' at the end."""
        outputs = self.split(state.sums[-1])
        if state.seen == self.num_pixels:
            return outputs.labels
        return as_values(outputs.pixels[:, self.order_of(state.member)[state.seen]])

    def feed(self, state, cells) -> "MADEState":
        """Pass on the pixels, and the hidden units that become final by them."""
        end = state.seen + cells.shape[1]
        hidden = self._levels(self.degrees[state.member])[1:-1]
        final = [((own > state.seen) & (own <= end)).nonzero()[:, 0] for own in hidden]
        units = [self.order_of(state.member)[state.seen : end], *final]
        sums = self._add(state.sums, cells.to(self.bias.dtype), units, state.member)
        return state._replace(sums=sums, seen=end)

    def _first(self, starts: Int[Tensor, " batch"]) -> tuple[Tensor, ...]:
        """The sums of all hidden layers and of the outputs before they read one another."""
        return (self.bias + F.embedding(starts, self.start)).split(self.widths[1:], dim=1)

    def _add(
        self, sums: tuple[Tensor, ...], pixels: Tensor, units: Sequence[Tensor | slice], member: int
    ) -> tuple[Tensor, ...]:
        """The sums with what these units say, of the pixels and of every hidden layer.

        Args:
            sums: `(batch, units)` of every hidden layer and of the outputs.
            pixels: Values of the pixels that are among the units, `(batch, number)`.
            units: Which of each, pixels first; hidden ones are final when these pixels are added.
            member: The order whose degrees say who reads whom.
        """
        degrees, added = self._levels(self.degrees[member]), list(sums)

        def said(weight: Tensor, values: Tensor, by: int, to: int) -> Tensor:
            mask = degrees[to][:, None] >= degrees[by][units[by]]
            return F.linear(values, weight[:, units[by]] * mask)

        values = pixels
        for level, weight in enumerate(self.weights):
            if level > 0:
                values = torch.relu(added[level - 1][:, units[level]])
            added[level] = added[level] + said(weight, values, level, level + 1)
        if self.direct is not None:
            added[-1] = added[-1] + said(self.direct, pixels, 0, -1)
        return tuple(added)

    def _levels(self, degrees: Int[Tensor, " units"]) -> tuple[Tensor, ...]:
        """Of the pixels, of every hidden layer, of the outputs."""
        return degrees.split(self.widths)


class MADEState(NamedTuple):
    """The sums `(batch, units)` of every hidden layer and of the outputs, of what is final so far."""

    sums: tuple[Tensor, ...]
    member: int
    seen: int


def _member(config: MADEConfig, member: int) -> tuple[Int[Tensor, " pixels"], Int[Tensor, " units"]]:
    """An order of the pixels, and how many of its first pixels each unit may know.

    That is of pixels, hidden layers and outputs. No hidden unit knows less than all of the layer below, else
    it had nothing to read; none knows the last pixel, which would be of use to no one but a label.
    """
    random, number = np.random.default_rng([config.order_seed, member]), config.height * config.width
    order = torch.from_numpy(random.permutation(number)) if member else pixel_order(config)[0]
    reads_label = config.label in ("last", "both")
    most = max(1, number if reads_label else number - 1)
    rank = order.argsort()
    levels = [rank + 1]
    for width in config.hidden:
        least = int(levels[-1].min())
        if config.degrees == "even":
            levels.append(torch.linspace(least, most, width, dtype=torch.float64).round().long())
        else:
            levels.append(torch.from_numpy(random.integers(least, most, width, endpoint=True)))
    labels = torch.full((config.classes if reads_label else 0,), number)
    return order, torch.cat([*levels, rank, labels]).to(torch.int32)


def _digest(degrees: Int[Tensor, "members units"]) -> UInt8[Tensor, "32"]:
    """Of the degrees, and with them of every order and mask."""
    content = degrees.cpu().numpy().astype("<i4").tobytes()
    return torch.tensor(list(hashlib.sha256(content).digest()), dtype=torch.uint8)


def _refuse_other_degrees(density: MADE, saved: Mapping[str, Any], prefix: str, *_: Any) -> None:
    found = saved.get(prefix + DIGEST)
    if found is not None and not torch.equal(found.cpu(), density.degrees_sha256.cpu()):
        raise ValueError(
            f"state_dict: weights of other orders or masks (SHA-256 {_hex(found)}) than this density's "
            f"({_hex(density.degrees_sha256)}); build it by the configuration that they were trained under"
        )


def _hex(digest: UInt8[Tensor, "32"]) -> str:
    return bytes(digest.tolist()).hex()[:12] + "..."
