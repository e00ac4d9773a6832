"""p(x, y) of binary images by a sequence model over patches: the chain rule with a linear-time mixer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from linsight.config import Config
from linsight.densities import Density, check_images, check_labels, check_temperature
from linsight.models.sequence.embedding import RasterEmbedding
from linsight.models.sequence.generation import generate
from linsight.models.sequence.model import SequenceModel
from linsight.models.sequence.patches import Patches
from linsight.models.sequence.stack import SequenceConfig

__all__ = ["ImageDensity", "ImageDensityConfig", "LabelPlace"]

LabelPlace = Literal["first", "last"]


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
    label: Literal["none", "first", "last", "both"] = "both"
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

    def build(self) -> "ImageDensity":
        """The density."""
        return ImageDensity(self)


class ImageDensity(Density):
    """A density of binary images as sequences of patches, with the label first, last, or in both places.

    The image is cut into patches in raster order; a patch of binary pixels is one token. With D patches and
    the start token s,

        y first:  log p(x, y) = log p(y) + sum_(i < D) log p(x_i | s = y, x_(<i)),   p(y) from training counts
        y last:   log p(x, y) = sum_(i < D) log p(x_i | s = none, x_(<i)) + log p(y | s = none, x)

    All D patches are modelled, the first one included. `label="both"` trains one network for both
    factorisations, a fair coin deciding for every example; the start token says which one is meant. The
    density of such a model is that of its coin, p = (p_first + p_last) / 2, which sums to 1 as both do; the
    argument `label` of the methods asks for one of the two alone.
    """

    log_prior: Tensor

    def __init__(self, config: ImageDensityConfig) -> None:
        super().__init__()
        self.config = config
        self.height, self.width = config.height, config.width
        self.classes = 0 if config.label == "none" else config.classes
        self.patches = Patches(config.height, config.width, *config.patch)
        self.reads_label = config.label in ("last", "both")
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
        self.register_buffer("log_prior", torch.zeros(self.classes).log_softmax(0))

    def fit_prior(self, counts: Int[Tensor, " classes"]) -> None:
        """Set p(y), used where y stands first, to the training labels' frequencies.

        Raises:
            ValueError: Not one count for each label, a negative one, or nothing counted.
        """
        if counts.shape != (self.classes,) or (counts < 0).any() or counts.sum() == 0:
            raise ValueError(
                f"counts: expected {self.classes} numbers of labels, not all 0, got {counts.tolist()}"
            )
        self.log_prior.copy_((counts.double() / counts.sum()).log())

    @torch.no_grad()
    def fit_bias(self, x: Tensor) -> None:
        """Start the head's bias at the log frequency of every patch in training images, counted from one."""
        check_images(x, self.height, self.width)
        counts = torch.bincount(self.patches.to_tokens(x).flatten(), minlength=self.patches.vocabulary) + 1
        self.network.head.bias[: self.patches.vocabulary] = (counts.double() / counts.sum()).log()

    @property
    def places(self) -> tuple[LabelPlace, ...]:
        """The places that y can stand in; empty without labels."""
        return self._places(None) if self.classes else ()

    @property
    def order(self) -> Int[Tensor, " pixels"]:
        """The raster index of the pixel generated at each step: patch by patch, row by row inside a patch."""
        return self.patches.order

    def log_prob(
        self, x: Tensor, y: Tensor | None = None, *, label: LabelPlace | None = None, stepwise: bool = False
    ) -> Float[Tensor, " batch"]:
        """log p(x) `(batch,)` in nats, or log p(x, y) when labels are given.

        Args:
            x: `(batch, height, width)`, values 0 and 1.
            y: `(batch,)` integer labels.
            label: Where y stands; None is the density itself. With y first, p(x) is the sum over y of
                p(y) p(x | y), at the cost of one pass for each label.
            stepwise: Compute by length-1 calls with the state carried, as sampling does.
        """
        check_images(x, self.height, self.width)
        if y is not None:
            check_labels(y, len(x), self.classes)
        parts = [self._log_prob(x, y, place, stepwise) for place in self._places(label)]
        return torch.stack(parts).logsumexp(0) - math.log(len(parts))

    def log_prob_given(self, x: Tensor, y: Tensor, *, stepwise: bool = False) -> Float[Tensor, " batch"]:
        """log p(x | y) `(batch,)` in nats, y first."""
        check_images(x, self.height, self.width)
        check_labels(y, len(x), self.classes)
        self._places("first")
        return self._token_log_probs(self.patches.to_tokens(x), self._starts(len(x), y), stepwise)[0].sum(1)

    def class_log_prob(self, x: Tensor, *, label: LabelPlace | None = None) -> Float[Tensor, "batch classes"]:
        """log p(y | x): read off the end where y is last, by Bayes where it is first."""
        return self.joint(x, label=label).log_softmax(1)

    def joint(
        self, x: Tensor, *, label: LabelPlace | None = None, stepwise: bool = False
    ) -> Float[Tensor, "batch classes"]:
        """log p(x, y) of every label y: `classes` passes with y first, one with y last."""
        check_images(x, self.height, self.width)
        if self.classes == 0:
            raise ValueError("this density was built without labels: there is no p(x, y)")
        parts = [self._joint(x, place, stepwise) for place in self._places(label)]
        return torch.stack(parts).logsumexp(0) - math.log(len(parts))

    @torch.no_grad()
    def sample(
        self, n, y=None, *, temperature=1.0, generator=None, known=None, count: int | None = None, label=None
    ) -> UInt8[Tensor, "batch height width"]:
        """n images of 0 and 1.

        Args:
            n: How many.
            y: Labels to sample p(x | y), which needs the label to be able to stand first.
            temperature: Divides the logits; other than 1, the images are not samples of p.
            generator: Source of randomness.
            known: `(n, height, width)` images whose first `count` patches in raster order are kept: exact
                in-painting of the rest, since the known patches come first in the order. Where y is None and
                can stand first, it is drawn given the known patches, at the cost of a pass for each label.
            count: How many patches of `known` are kept.
            label: The factorisation where y is None: first draws a label and then x, last draws x alone; None
                is the density itself.
        """
        check_temperature(temperature)
        if n < 1:
            raise ValueError(f"n: expected at least 1, got {n}")
        cells = self._known_cells(n, known, count)
        prompt = torch.cat([self._draw_starts(cells, y, label, generator)[:, None], cells], dim=1)
        tokens = generate(
            self.network,
            prompt,
            self.patches.number - cells.shape[1],
            temperature=temperature,
            generator=generator,
            num_tokens=self.patches.vocabulary,
        )
        return self.patches.to_images(torch.cat([prompt, tokens], dim=1)[:, 1:])

    def token_logits(self, x: Tensor, y: Tensor | None = None) -> Float[Tensor, "batch patches vocabulary"]:
        """Logits of every patch given the patches before it, and the label y where it stands first."""
        check_images(x, self.height, self.width)
        if y is not None:
            check_labels(y, len(x), self.classes)
        if self.classes:
            self._places("last" if y is None else "first")
        tokens = torch.cat([self._starts(len(x), y)[:, None], self.patches.to_tokens(x)[:, :-1]], dim=1)
        return self.network(tokens)[0][..., : self.patches.vocabulary]

    def loss(
        self, x: Tensor, y: Tensor, label_first: Tensor
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Training terms `(batch,)` in nats: -log p(x | start), and -log p(y) or -log p(y | x).

        Their sum is -log p(x, y) with y first where `label_first`, else last; without labels the second is 0.
        Unlike the other methods this one, called at every step, checks nothing: `label_first` has to be all
        True or all False where y has one place.
        """
        starts = self._starts(len(x))
        if self.classes:
            starts = torch.where(label_first, self._starts(len(x), y), starts)
        tokens, labels = self._token_log_probs(self.patches.to_tokens(x), starts, stepwise=False)
        if self.classes == 0:
            return -tokens.sum(1), torch.zeros_like(tokens[:, 0])
        first = self._prior[y.long()]
        if not self.reads_label:
            return -tokens.sum(1), -first
        return -tokens.sum(1), -torch.where(label_first, first, labels.gather(1, y[:, None].long())[:, 0])

    @property
    def _prior(self) -> Float[Tensor, " classes"]:
        """log p(y), normalised in the dtype of the weights: a float32 buffer cast to float64 is not."""
        return self.log_prior.log_softmax(0)

    def _places(self, label: LabelPlace | None) -> tuple[LabelPlace, ...]:
        """The factorisations that are asked for; without labels there is one, as if they stood last."""
        built = self.config.label
        if label is None:
            return {"none": ("last",), "both": ("last", "first")}.get(built, (built,))
        if label not in ("first", "last"):
            raise ValueError(f"label: expected 'first' or 'last', got {label!r}")
        if built not in ("both", label):
            raise ValueError(f"label: this density was built with label {built!r}, so y cannot stand {label}")
        return (label,)

    def _starts(self, n: int, y: Tensor | None = None) -> Int[Tensor, " batch"]:
        """Start tokens: the label's where it stands first, else the one that says none."""
        if y is None:
            return torch.full((n,), self.patches.vocabulary + self.classes, device=self.log_prior.device)
        return self.patches.vocabulary + y.long()

    def _known_cells(self, n: int, known: Tensor | None, count: int | None) -> Int[Tensor, "batch known"]:
        """The tokens that are given; none where no images are."""
        if known is None:
            if count:
                raise ValueError(f"known: expected images, of which {count} patches are to be kept, got None")
            return torch.zeros(n, 0, dtype=torch.int64, device=self.log_prior.device)
        check_images(known, self.height, self.width, name="known")
        if len(known) != n or count is None or not 0 <= count <= self.patches.number:
            raise ValueError(
                f"known: expected {n} images and a count of 0 to {self.patches.number} patches, "
                f"got {len(known)} and {count}"
            )
        return self.patches.to_tokens(known)[:, :count]

    def _draw_starts(self, cells, y, label: LabelPlace | None, generator) -> Int[Tensor, " batch"]:
        """Start tokens: of the labels y, or drawn from p(start | cells)."""
        n = len(cells)
        if y is not None:
            check_labels(y, n, self.classes)
            if label == "last":
                raise ValueError("label: expected 'first' or None where y is given, got 'last'")
            self._places("first")
            return self._starts(n, y)
        places = self._places(label)
        scores = self.log_prior.new_full((self.classes + 1,), -math.inf)
        if "first" in places:
            scores[:-1] = self._prior
        if "last" in places:
            scores[-1] = 0
        starts = self.patches.vocabulary + scores.isfinite().nonzero()[:, 0]
        scores = scores[scores.isfinite()].expand(n, -1)
        if len(starts) > 1 and cells.shape[1]:
            found = [self._token_log_probs(cells, start.expand(n), False)[0].sum(1) for start in starts]
            scores = scores + torch.stack(found, dim=1)
        return starts[torch.multinomial(scores.softmax(1), 1, generator=generator)[:, 0]]

    def _log_prob(self, x, y, place: LabelPlace, stepwise: bool) -> Float[Tensor, " batch"]:
        if place == "first":
            if y is None:
                return self._joint(x, place, stepwise).logsumexp(1)
            return self.log_prob_given(x, y, stepwise=stepwise) + self._prior[y.long()]
        tokens, labels = self._token_log_probs(self.patches.to_tokens(x), self._starts(len(x)), stepwise)
        return tokens.sum(1) if y is None else tokens.sum(1) + labels.gather(1, y[:, None].long())[:, 0]

    def _joint(self, x, place: LabelPlace, stepwise: bool) -> Float[Tensor, "batch classes"]:
        cells = self.patches.to_tokens(x)
        if place == "last":
            tokens, labels = self._token_log_probs(cells, self._starts(len(x)), stepwise)
            return tokens.sum(1, keepdim=True) + labels
        labels = torch.arange(self.classes, device=self.log_prior.device).repeat_interleave(len(x))
        starts = self._starts(len(labels), labels)
        tokens, _ = self._token_log_probs(cells.repeat(self.classes, 1), starts, stepwise)
        return tokens.sum(1).view(self.classes, len(x)).T + self._prior

    def _token_log_probs(self, cells, starts, stepwise: bool):
        """log p of every cell `(batch, cells)`, and of every label `(batch, classes)` after the last.

        The cells may be the first ones alone; the labels then have no meaning, as where y is not last.
        """
        tokens = torch.cat([starts[:, None], cells], dim=1)
        if not self.reads_label:
            tokens = tokens[:, :-1]
        logits = torch.cat(list(self._logits(tokens, stepwise)), dim=1).to(self.log_prior.dtype)
        cell_logits = logits[:, : cells.shape[1], : self.patches.vocabulary].flatten(0, 1)
        token_log_probs = -F.cross_entropy(cell_logits, cells.flatten(), reduction="none").view_as(cells)
        labels = logits[:, -1, self.patches.vocabulary :].log_softmax(-1)
        return token_log_probs, labels

    def _logits(self, tokens, stepwise: bool) -> Iterator[Tensor]:
        if not stepwise:
            yield self.network(tokens)[0]
            return
        state = None
        for step in range(tokens.shape[1]):
            logits, state = self.network(tokens[:, step : step + 1], state)
            yield logits
