"""What PixelCNNs share: a network over a whole image, or along its rows with what they still read."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight.densities.base import check_images
from linsight.densities.pixelwise import (
    Conditionals,
    PixelDensity,
    PixelDensityConfig,
    as_values,
    pixel_bias,
)

__all__ = ["ConvolutionalConfig", "ConvolutionalDensity", "Maps", "RowState", "start_embedding"]

Maps = tuple[Tensor, ...]
"""One map `(batch, channels, rows, columns)` for each layer."""


@dataclass(frozen=True)
class ConvolutionalConfig(PixelDensityConfig):
    """The size of a stack of causal convolutions; it reads the pixels in raster order alone."""

    channels: int = 32
    """Width of what the convolutions read, after the first."""
    layers: int = 7
    """Causal convolutions, the first included."""
    first_kernel: int = 7
    """Rows and columns of the first convolution, which reads the pixels; odd."""
    kernel: int = 3
    """Rows and columns of all others; odd."""

    def __post_init__(self) -> None:
        """Refuse sizes that no network has."""
        super().__post_init__()
        for name in ("channels", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("first_kernel", "kernel"):
            size = getattr(self, name)
            if size < 3 or size % 2 == 0:
                raise ValueError(f"{name}: expected an odd number from 3, got {size}")

    @property
    def reaches(self) -> tuple[int, ...]:
        """How many rows up and columns to the left every layer sees."""
        return (self.first_kernel // 2, *(self.layers - 1) * (self.kernel // 2,))


class RowState(NamedTuple):
    """What a stack of causal convolutions has yet to read of an image, at one column of one row.

    With r the reach of a layer, `kept` is its input in the r rows above, `above` what those say of every
    column of the current row, `row` its input in that row so far, after r columns of 0. `features` are those
    of the next pixel; `labels` is what all places so far say of the label.
    """

    kept: Maps
    above: Maps
    row: Maps
    features: Float[Tensor, "batch width 1 1"]
    labels: Float[Tensor, "batch classes"]
    starts: Int[Tensor, " batch"]
    seen: int


class ConvolutionalDensity(PixelDensity):
    """Features h of every place from the pixels before it, read by convolutions of size 1.

    With x as -1 and 1, so that a pixel that is off is not what lies outside of the image,

        l_i = b_i + head(h_i),   logits of y = a + mean_i A_i relu(B [h_i, x_i] + b')

    so that the labels see the last pixel too, and what a feature says of them depends on its place. The
    head's last layer and all A_i start at 0: with `fit_bias`, which sets b, the density starts as independent
    pixels.

    A subclass has the features of a whole image, and the same along the rows: `below` gives what all rows so
    far say of the next one, once a row, and `column` the features of one place from that and from the row's
    earlier columns.

    Args:
        config: Its size.
        width: Channels of h.
        outputs: Channels of every layer's convolution.
    """

    def __init__(self, config: ConvolutionalConfig, *, width: int, outputs: Sequence[int]) -> None:
        super().__init__(config, torch.arange(config.height * config.width)[None])
        self.config = config
        self.outputs = tuple(outputs)
        self.inputs = (1, *(config.layers - 1) * (config.channels,))
        self.feature_width = width
        self.bias = nn.Parameter(torch.zeros(self.num_pixels))
        logit = nn.Conv2d(width, 1, 1, bias=False)
        nn.init.zeros_(logit.weight)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), logit)
        if self.reads_label:
            self.evidence = nn.Sequential(nn.Conv2d(width + 1, width, 1), nn.ReLU())
            self.votes = nn.Parameter(torch.zeros(self.classes, width, self.num_pixels))
            self.label_bias = nn.Parameter(torch.zeros(self.classes))

    @abstractmethod
    def features(
        self, image: Float[Tensor, "batch 1 height width"], starts: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch features height width"]:
        """Of every place of an image of -1 and 1, from the pixels before it."""

    @abstractmethod
    def below(self, kept: Maps, row: Maps, starts: Int[Tensor, " batch"]) -> tuple[Maps, Maps]:
        """`kept` and `above` of the next row, from those of a row that is complete."""

    @abstractmethod
    def column(
        self, row: Maps, above: Maps, starts: Int[Tensor, " batch"]
    ) -> tuple[Maps, Float[Tensor, "batch features 1 1"]]:
        """`row` with the next place in all layers, and its features.

        The pixels of the row so far, `row[0]`, end before that place; `above` are of its column.
        """

    @torch.no_grad()
    def fit_bias(self, x: Tensor) -> None:
        """Start at the pixels' frequencies in training images."""
        check_images(x, self.height, self.width)
        self.bias.copy_(pixel_bias(x))

    def conditionals(self, pixels, starts, member=0) -> Conditionals:
        """The network over whole images."""
        image = _signs(pixels).view(-1, 1, self.height, self.width)
        features = self.features(image, starts)
        labels = self._no_labels(len(image)) + self._labels(features, image, 0)
        return Conditionals(self.head(features).flatten(1) + self.bias, labels)

    def begin(self, starts, member=0) -> RowState:
        """At the first place, above and left of which there is nothing."""

        def nothing(channels: int, rows: int, columns: int) -> Tensor:
            return self.bias.new_zeros(len(starts), channels, rows, columns)

        reaches = self.config.reaches
        kept = [nothing(c, r, self.width) for c, r in zip(self.inputs, reaches, strict=True)]
        state = RowState(
            kept=tuple(kept),
            above=tuple(nothing(channels, 1, self.width) for channels in self.outputs),
            row=self._no_columns(len(starts)),
            features=nothing(self.feature_width, 1, 1),
            labels=self._no_labels(len(starts)),
            starts=starts,
            seen=0,
        )
        return self._at_next_column(state)

    def read(self, state) -> Float[Tensor, "batch values"]:
        """The head at the next place, or the labels' at the end."""
        if state.seen == self.num_pixels:
            return state.labels
        return as_values(self.head(state.features).flatten() + self.bias[state.seen])

    def feed(self, state, cells) -> RowState:
        """One column of the network for each pixel and, at the end of a row, what it says of the next."""
        for pixel in _signs(cells.to(self.bias.dtype)).unbind(1):
            state = self._after(state, pixel.view(-1, 1, 1, 1))
        return state

    def _after(self, state: RowState, pixel: Float[Tensor, "batch 1 1 1"]) -> RowState:
        state = state._replace(
            row=(torch.cat([state.row[0], pixel], dim=3), *state.row[1:]),
            labels=state.labels + self._labels(state.features, pixel, state.seen),
            seen=state.seen + 1,
        )
        if state.seen == self.num_pixels:
            return state
        if state.seen % self.width == 0:
            kept, above = self.below(state.kept, state.row, state.starts)
            state = state._replace(kept=kept, above=above, row=self._no_columns(len(pixel)))
        return self._at_next_column(state)

    def _at_next_column(self, state: RowState) -> RowState:
        place = state.seen % self.width
        above = tuple(row[..., place : place + 1] for row in state.above)
        row, features = self.column(state.row, above, state.starts)
        return state._replace(row=row, features=features)

    def _no_columns(self, batch: int) -> Maps:
        sizes = zip(self.inputs, self.config.reaches, strict=True)
        return tuple(self.bias.new_zeros(batch, channels, 1, reach) for channels, reach in sizes)

    def _no_labels(self, batch: int) -> Float[Tensor, "batch classes"]:
        """The labels' logits before any pixel; without columns where y cannot stand last."""
        return self.label_bias.expand(batch, -1) if self.reads_label else self.bias.new_zeros(batch, 0)

    def _labels(self, features: Tensor, image: Tensor, first: int) -> Float[Tensor, "batch classes"]:
        """What places from the `first` one on add to the labels' logits."""
        if not self.reads_label:
            return features.new_zeros(len(features), 0)
        evidence = self.evidence(torch.cat([features, image], dim=1)).flatten(2)
        votes = self.votes[:, :, first : first + evidence.shape[2]]
        return torch.einsum("bwi,cwi->bc", evidence, votes) / self.num_pixels


def start_embedding(num_starts: int, channels: int) -> nn.Embedding:
    """What a start adds to the channels of a convolution: nothing at first."""
    embedding = nn.Embedding(num_starts, channels)
    nn.init.zeros_(embedding.weight)
    return embedding


def _signs(pixels: Tensor) -> Tensor:
    """0 and 1 as -1 and 1."""
    return 2 * pixels - 1
