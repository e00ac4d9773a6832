"""p(x, y) of binary images by a sequence model over patches: the chain rule with a linear-time mixer."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from linsight.config import Config
from linsight.densities import Autoregressive, LabelKind, check_images, check_labels
from linsight.models.sequence.decoding import Steps
from linsight.models.sequence.embedding import RasterEmbedding
from linsight.models.sequence.model import SequenceModel, SequenceState
from linsight.models.sequence.patches import Patches
from linsight.models.sequence.stack import SequenceConfig

__all__ = ["ImageDensity", "ImageDensityConfig"]


@dataclass(frozen=True)
class ImageDensityConfig(Config):
    """An image's size, how it is cut into tokens, where the label stands, and the network."""

    kind: Literal["image_density"] = "image_density"
    height: int = 28
    width: int = 28
    patch: tuple[int, int] = (2, 4)
    """Rows and columns of pixels in a token, whose vocabulary is 2^(rows * columns)."""
    classes: int = 10
    """Number of labels; not looked at where label is "none"."""
    label: LabelKind = "both"
    neighbours: tuple[tuple[int, int], ...] = ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))
    """Cells (row, column), relative to the predicted one, that its embedding sees; those that a narrow
    grid has no room for are left out. The first cell of a line sees the last one of the line above too."""
    sequence: SequenceConfig = field(default_factory=SequenceConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be cut or labelled."""
        for name, size, part in zip(("height", "width"), (self.height, self.width), self.patch, strict=True):
            if size < 1:
                raise ValueError(f"{name}: expected at least 1, got {size}")
            if part < 1 or size % part:
                raise ValueError(f"patch: {name} {size} is not divisible by {part}")
        if self.patch[0] * self.patch[1] > 12:
            raise ValueError(
                f"patch: expected at most 12 pixels, which make a vocabulary of 4096, got {self.patch}"
            )
        if not self.neighbours:
            raise ValueError(
                "neighbours: expected at least one, without which no cell is ever read, got none"
            )
        if self.label != "none" and self.classes < 1:
            raise ValueError(f"classes: expected at least 1 with label {self.label!r}, got {self.classes}")

    @property
    def num_cells(self) -> int:
        """Steps of an image."""
        return self.height * self.width // (self.patch[0] * self.patch[1])

    def build(self) -> "ImageDensity":
        """The density."""
        return ImageDensity(self)


class ImageDensity(Autoregressive):
    """A density of binary images as sequences of patches, with the label first, last, or in both places.

    The image is cut into patches in raster order; a patch of binary pixels is one token, and each is
    predicted from the start token and those before it. The label, where it is first, is the start token.
    """

    def __init__(self, config: ImageDensityConfig) -> None:
        super().__init__(config.height, config.width, config.classes, config.label)
        self.config = config
        self.patches = Patches(config.height, config.width, *config.patch)
        self.num_cells, self.cell_pixels = self.patches.number, config.patch[0] * config.patch[1]
        grid = self.patches.grid
        neighbours = tuple((row, column) for row, column in config.neighbours if abs(column) < grid[1])
        embedding = RasterEmbedding(
            self.patches.vocabulary,
            self.classes + 1,
            grid,
            config.sequence.dim,
            neighbours=neighbours,
            features=self.patches.pixels,
            extra_steps=int(self.reads_label),
        )
        outputs = self.patches.vocabulary + (self.classes if self.reads_label else 0)
        self.network = SequenceModel(embedding, config.sequence, outputs, features=self.patches.pixels)

    @torch.no_grad()
    def fit_bias(self, x: Tensor) -> None:
        """Start the head's bias at the log frequency of every patch in training images, counted from one."""
        check_images(x, self.height, self.width)
        counts = torch.bincount(self.patches.to_tokens(x).flatten(), minlength=self.patches.vocabulary) + 1
        self.network.head.bias[: self.patches.vocabulary] = (counts.double() / counts.sum()).log()

    def order_of(self, member: int = 0) -> Int[Tensor, " pixels"]:
        """The raster index of the pixel generated at each step: patch by patch, row by row inside a patch."""
        return self.patches.order.to(self.log_prior.device)

    def to_cells(self, x, member=0) -> Int[Tensor, "batch patches"]:
        """Images as tokens, one a patch."""
        return self.patches.to_tokens(x)

    def to_images(self, cells, member=0) -> UInt8[Tensor, "batch height width"]:
        """Tokens as images."""
        return self.patches.to_images(cells)

    def log_probs(self, cells, starts, member=0):
        """log p of every patch `(batch, patches)`, and of every label `(batch, classes)` after the last."""
        tokens = torch.cat([self.patches.vocabulary + starts[:, None], cells], dim=1)
        if not self.reads_label:
            tokens = tokens[:, : max(1, cells.shape[1])]
        number, exact, head = cells.shape[1], self.log_prior.dtype, self.network.head
        # Patches are read at all tokens but the last, labels there: logits of both at all would be cut, and
        # the gradient of a cut is a copy of zeros as large as what was cut.
        # Of rows that lie apart, torch's products with and without gradients differ in the last bit.
        h, last = (x.flatten(0, 1) for x in self.network.hidden(tokens)[0].tensor_split([number], dim=1))
        logits = head(h, slice(self.patches.vocabulary)).to(exact)
        cell_log_probs = -F.cross_entropy(logits, cells.flatten(), reduction="none").view_as(cells)
        if not self.reads_label:
            return cell_log_probs, cell_log_probs.new_zeros(len(cells), 0)
        labels = head(last, slice(self.patches.vocabulary, None)).to(exact)
        return cell_log_probs, labels.log_softmax(-1)

    def begin(self, starts, member=0) -> "ImageState":
        """The state after the start token."""
        logits, network = self.network(self.patches.vocabulary + starts[:, None])
        return ImageState(logits[:, -1], network, 0)

    def read(self, state: "ImageState") -> Float[Tensor, "batch values"]:
        """Logits of the next patch, or of the labels after the last."""
        ended = state.cells == self.num_cells
        logits = state.logits.to(self.log_prior.dtype)
        return logits[:, self.patches.vocabulary :] if ended else logits[:, : self.patches.vocabulary]

    def feed(self, state: "ImageState", cells) -> "ImageState":
        """The state after further patches, read in one call."""
        seen = state.cells + cells.shape[1]
        if seen == self.num_cells and not self.reads_label:
            return state._replace(cells=seen)  # nobody asks what follows the last patch
        logits, network = self.network(cells, state.network)
        return ImageState(logits[:, -1], network, seen)

    def one_way(self, member=0):
        """By the network's `Steps`."""
        steps = Steps(self.network)

        def begin(starts):
            return ImageState(*steps(self.patches.vocabulary + starts), 0)

        def feed(state, cells):
            seen = state.cells + cells.shape[1]
            if cells.shape[1] > 1 or (seen == self.num_cells and not self.reads_label):
                return self.feed(state, cells)
            return ImageState(*steps(cells[:, 0], state.network), seen)

        return begin, feed

    def token_logits(self, x: Tensor, y: Tensor | None = None) -> Float[Tensor, "batch patches vocabulary"]:
        """Logits of every patch given the patches before it, and the label y where it stands first."""
        check_images(x, self.height, self.width)
        if y is not None:
            check_labels(y, len(x), self.classes)
        if self.classes:
            self.places_for("last" if y is None else "first")
        starts = self.patches.vocabulary + self.starts(len(x), y)
        tokens = torch.cat([starts[:, None], self.patches.to_tokens(x)[:, :-1]], dim=1)
        return self.network(tokens)[0][..., : self.patches.vocabulary]


class ImageState(NamedTuple):
    """What the network says after the patches so far: logits `(batch, outputs)`, its state, their number."""

    logits: Float[Tensor, "batch outputs"]
    network: SequenceState
    cells: int
