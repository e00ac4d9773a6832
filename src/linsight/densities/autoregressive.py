"""p(x, y) by the chain rule over cells, the label first, last or in both places: what they all share."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from linsight.densities.base import Density, check_images, check_labels, check_temperature
from linsight.densities.draws import draw
from linsight.densities.given import Given

__all__ = ["Autoregressive", "LabelKind", "LabelPlace"]

LabelPlace = Literal["first", "last"]
LabelKind = Literal["none", "first", "last", "both"]


class Autoregressive(Density):
    """A density of binary images, cell by cell in an order, with the label first, last, or in both places.

    A cell is one pixel or a patch of them; its value is a number whose bit i is its pixel i. With D cells in
    the order o and the start s,

        y first:  log p(x, y) = log p(y) + sum_i log p(x_o(i) | s = y, x_o(<i)),    p(y) from training counts
        y last:   log p(x, y) = sum_i log p(x_o(i) | s = none, x_o(<i)) + log p(y | s = none, x)

    All cells are modelled, the first one included. `label="both"` is one network trained for both
    factorisations, a fair coin deciding for every example; the start says which one is meant. The density of
    such a model is that of its coin, p = (p_first + p_last) / 2, which sums to 1 as both do; the argument
    `label` of the methods asks for one of the two alone.

    A density of several orders, its members, is their equal mixture, p = mean_s p_s: the mean of
    probabilities of whole images. (Means of logits over orders are no likelihood, and are not offered.)

    A subclass says how cells are read (`to_cells`, `to_images`, `order_of`), scores whole images
    (`log_probs`), and runs step by step (`begin`, `read`, `feed`) with a state that carries everything:
    nested tuples of batch-first tensors, and whatever is the same for all rows. Draws go by `one_way`.

    Args:
        height, width: Image size in pixels.
        classes: Number of labels; not looked at where `label` is "none".
        label: Where y stands.
    """

    num_cells: int
    """Cells of an image."""
    cell_pixels: int
    """Pixels of a cell."""
    members: int = 1
    """Orders whose equal mixture this is."""
    passes: int = 1
    """Passes of the network that score whole images under one start and order."""
    log_prior: Tensor

    def __init__(self, height: int, width: int, classes: int, label: LabelKind) -> None:
        super().__init__()
        self.height, self.width, self.label = height, width, label
        self.classes = 0 if label == "none" else classes
        self.register_buffer("log_prior", torch.zeros(self.classes).log_softmax(0))

    @abstractmethod
    def order_of(self, member: int) -> Int[Tensor, " pixels"]:
        """The raster index of every pixel in the order in which a member generates them."""

    @abstractmethod
    def to_cells(self, x: Tensor, member: int = 0) -> Int[Tensor, "batch cells"]:
        """The cells of images, in the order of a member."""

    @abstractmethod
    def to_images(self, cells: Tensor, member: int = 0) -> UInt8[Tensor, "batch height width"]:
        """The images of all cells in the order of a member."""

    @abstractmethod
    def log_probs(
        self, cells: Int[Tensor, "batch cells"], starts: Int[Tensor, " batch"], member: int = 0
    ) -> tuple[Float[Tensor, "batch cells"], Float[Tensor, "batch classes"]]:
        """log p of every cell given those before it, and of every label given them all, in one pass.

        The cells may be the first ones alone; the labels then have no meaning, as where y is not last.
        """

    @abstractmethod
    def begin(self, starts: Int[Tensor, " batch"], member: int = 0) -> Any:
        """The state before the first cell."""

    @abstractmethod
    def read(self, state: Any) -> Float[Tensor, "batch values"]:
        """Logits of the next cell's values; of the labels after the last cell, where y is last."""

    @abstractmethod
    def feed(self, state: Any, cells: Int[Tensor, "batch cells"]) -> Any:
        """The state after one or more further cells."""

    def one_way(
        self, member: int = 0
    ) -> tuple[Callable[[Int[Tensor, " batch"]], Any], Callable[[Any, Int[Tensor, "batch cells"]], Any]]:
        """`begin` and `feed` of a member, for a walk that drops each state as it takes the next.

        They may be faster, and differ by rounding; `feed` may change the state that it is given in place. The
        weights may not change while they are in use.
        """
        return partial(self.begin, member=member), self.feed

    @abstractmethod
    def fit_bias(self, x: Tensor) -> None:
        """Start at the frequencies of training images `(number, height, width)`."""

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

    @property
    def reads_label(self) -> bool:
        """Whether y can stand last."""
        return self.label in ("last", "both")

    @property
    def places(self) -> tuple[LabelPlace, ...]:
        """The places that y can stand in; empty without labels."""
        return self.places_for(None) if self.classes else ()

    @property
    def order(self) -> Int[Tensor, " pixels"]:
        """The raster index of the pixel generated at each step, by the first member."""
        return self.order_of(0)

    def log_prob(
        self, x: Tensor, y: Tensor | None = None, *, label: LabelPlace | None = None, stepwise: bool = False
    ) -> Float[Tensor, " batch"]:
        """log p(x) `(batch,)` in nats, or log p(x, y) when labels are given.

        Args:
            x: `(batch, height, width)`, values 0 and 1.
            y: `(batch,)` integer labels.
            label: Where y stands; None is the density itself. With y first, p(x) is the sum over y of
                p(y) p(x | y), at the cost of one pass for each label.
            stepwise: Compute cell by cell with the state carried, as sampling does.
        """
        check_images(x, self.height, self.width)
        if y is not None:
            check_labels(y, len(x), self.classes)
        return self._mean(
            lambda member, place: self._log_prob(x, y, member, place, stepwise), self.places_for(label)
        )

    def log_prob_given(self, x: Tensor, y: Tensor, *, stepwise: bool = False) -> Float[Tensor, " batch"]:
        """log p(x | y) `(batch,)` in nats, y first."""
        check_images(x, self.height, self.width)
        check_labels(y, len(x), self.classes)
        return self._mean(lambda member, _: self._given(x, y, member, stepwise), self.places_for("first"))

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
        return self._mean(
            lambda member, place: self._joint(x, member, place, stepwise), self.places_for(label)
        )

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        given: Given | None = None,
        label: LabelPlace | None = None,
    ) -> UInt8[Tensor, "batch height width"]:
        """n images of 0 and 1.

        Args:
            n: How many.
            y: Labels to sample p(x | y), which needs the label to be able to stand first.
            temperature: Divides the logits; other than 1, the images are not samples of p.
            generator: Source of randomness.
            given: Known pixels, which have to come first in the order, so that the rest is drawn from its
                exact posterior; `inpaint` has ways for all others. Where y is None and can stand first, it is
                drawn given them, at the cost of a pass for each label.
            label: The factorisation where y is None: first draws a label and then x, last draws x alone; None
                is the density itself.
        """
        check_temperature(temperature)
        if n < 1:
            raise ValueError(f"n: expected at least 1, got {n}")
        if given is not None:
            given.check(n, self.height, self.width)
            if not self.knows_first(given.mask):
                raise ValueError(
                    "given: the known pixels do not come first in the order, so their posterior is not "
                    "sampled exactly; densities.inpaint has ways to do it"
                )
        members, starts = self._draw_starts(n, y, given, label, generator)
        images = torch.empty(n, self.height, self.width, dtype=torch.uint8, device=self.log_prior.device)
        for member in members.unique().tolist():
            rows = (members == member).nonzero()[:, 0]
            allowed = None if given is None else self.allowed(given.rows(rows), member)
            images[rows] = self._draw(starts[rows], allowed, temperature, generator, member)
        return images

    def loss(
        self, x: Tensor, y: Tensor, label_first: Tensor, seed: int = 0
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Training terms `(batch,)` in nats: -log p(x | start), and -log p(y) or -log p(y | x).

        Their sum is -log p(x, y) with y first where `label_first`, else last; without labels the second is 0.
        Of several members `seed` picks one. Unlike the other methods this one, called at every step, checks
        nothing: `label_first` has to be all True or all False where y has one place.
        """
        starts = self.starts(len(x))
        if self.classes:
            starts = torch.where(label_first, self.starts(len(x), y), starts)
        cells, labels = self.loss_terms(x, starts, seed)
        if self.classes == 0:
            return cells, torch.zeros_like(cells)
        first = self._prior[y.long()]
        if not self.reads_label:
            return cells, -first
        return cells, -torch.where(label_first, first, labels.gather(1, y[:, None].long())[:, 0])

    def loss_terms(self, x, starts, seed: int) -> tuple[Tensor, Tensor]:
        """-log p(x | start) `(batch,)`, or an unbiased estimate, and log p of every label at the end."""
        member = seed % self.members
        cells, labels = self.log_probs(self.to_cells(x, member), starts, member)
        return -cells.sum(1), labels

    def starts(self, n: int, y: Tensor | None = None) -> Int[Tensor, " batch"]:
        """What stands before the first cell: the label where it is first, else `classes`, which says none."""
        if y is None:
            return torch.full((n,), self.classes, device=self.log_prior.device)
        return y.long()

    def knows_first(self, mask: Bool[Tensor, "height width"]) -> bool:
        """Whether the known pixels come first in the order of every member.

        That is before or in the first cell that is not known whole: then each cell is drawn given all that is
        known of the image.
        """
        return all(self._knows_first(mask, member) for member in range(self.members))

    def knowing(self, mask: Bool[Tensor, "height width"]) -> "Autoregressive":
        """This density in an order, or orders, in which these pixels come first; the weights are shared.

        Raises:
            ValueError: It has no such order.
        """
        if self.knows_first(mask):
            return self
        raise ValueError("mask: the density has no order in which the known pixels come first")

    def allowed(self, given: Given, member: int = 0) -> Bool[Tensor, "batch cells values"]:
        """The values of every cell that agree with what is known of its pixels."""
        order = self.order_of(member)
        values = torch.arange(2**self.cell_pixels, device=order.device)
        bits = (values[:, None] >> torch.arange(self.cell_pixels, device=order.device)) & 1
        seen = given.images.flatten(1)[:, order].view(-1, self.num_cells, 1, self.cell_pixels)
        unknown = ~given.mask.flatten()[order].view(self.num_cells, 1, self.cell_pixels)
        return ((seen == bits) | unknown).all(-1)

    def places_for(self, label: LabelPlace | None) -> tuple[LabelPlace, ...]:
        """The factorisations that are asked for; without labels there is one, as if they stood last.

        Raises:
            ValueError: y cannot stand there.
        """
        built = self.label
        if label is None:
            return {"none": ("last",), "both": ("last", "first")}.get(built, (built,))  # pyright: ignore
        if label not in ("first", "last"):
            raise ValueError(f"label: expected 'first' or 'last', got {label!r}")
        if built not in ("both", label):
            raise ValueError(f"label: this density was built with label {built!r}, so y cannot stand {label}")
        return (label,)

    def start_law(
        self, label: LabelPlace | None = None
    ) -> tuple[Int[Tensor, " starts"], Float[Tensor, " starts"]]:
        """All that may stand before the first cell, and log p of each: labels, none, or both by the coin."""
        places, scores = self.places_for(label), self.log_prior.new_full((self.classes + 1,), -math.inf)
        if "first" in places:
            scores[:-1] = self._prior
        if "last" in places:
            scores[-1] = 0
        starts = scores.isfinite().nonzero()[:, 0]
        return starts, scores[starts].log_softmax(0)

    @property
    def _prior(self) -> Float[Tensor, " classes"]:
        """log p(y), normalised in the dtype of the weights: a float32 buffer cast to float64 is not."""
        return self.log_prior.log_softmax(0)

    def _mean(self, score, places: tuple[LabelPlace, ...]) -> Tensor:
        """log mean exp of score(member, place) over all members and these places."""
        parts = [score(member, place) for member in range(self.members) for place in places]
        return torch.stack(parts).logsumexp(0) - math.log(len(parts))

    def _log_prob(self, x, y, member: int, place: LabelPlace, stepwise: bool) -> Float[Tensor, " batch"]:
        if place == "first":
            if y is None:
                return self._joint(x, member, place, stepwise).logsumexp(1)
            return self._given(x, y, member, stepwise) + self._prior[y.long()]
        cells, labels = self._scores(x, self.starts(len(x)), member, stepwise)
        return cells.sum(1) if y is None else cells.sum(1) + labels.gather(1, y[:, None].long())[:, 0]

    def _given(self, x, y, member: int, stepwise: bool) -> Float[Tensor, " batch"]:
        return self._scores(x, self.starts(len(x), y), member, stepwise)[0].sum(1)

    def _joint(self, x, member: int, place: LabelPlace, stepwise: bool) -> Float[Tensor, "batch classes"]:
        if place == "last":
            cells, labels = self._scores(x, self.starts(len(x)), member, stepwise)
            return cells.sum(1, keepdim=True) + labels
        labels = torch.arange(self.classes, device=self.log_prior.device).repeat_interleave(len(x))
        cells = self._scores(x.repeat(self.classes, 1, 1), labels, member, stepwise)[0]
        return cells.sum(1).view(self.classes, len(x)).T + self._prior

    def _scores(self, x, starts, member: int, stepwise: bool) -> tuple[Tensor, Tensor]:
        cells = self.to_cells(x, member)
        if not stepwise:
            return self.log_probs(cells, starts, member)
        state, found = self.begin(starts, member), []
        for cell in cells.split(1, dim=1):
            found.append(self.read(state).log_softmax(1).gather(1, cell))
            state = self.feed(state, cell)
        labels = self.read(state).log_softmax(1) if self.reads_label else cells.new_zeros(len(cells), 0)
        return torch.cat(found, dim=1), labels

    def _knows_first(self, mask: Tensor, member: int) -> bool:
        known = mask.flatten()[self.order_of(member)].view(self.num_cells, self.cell_pixels)
        first = _leading(known.all(1))
        return not known[first + 1 :].any()

    def _draw_starts(self, n, y, given: Given | None, label, generator) -> tuple[Tensor, Tensor]:
        """A member and a start for every image: of the labels y, or drawn from p(member, start | known)."""
        if y is None:
            starts, scores = self.start_law(label)
            starts = starts.expand(n, -1)
        else:
            check_labels(y, n, self.classes)
            if label == "last":
                raise ValueError("label: expected 'first' or None where y is given, got 'last'")
            self.places_for("first")
            starts, scores = y.long()[:, None], self.log_prior.new_zeros(1)
        members = torch.arange(self.members, device=scores.device).repeat_interleave(starts.shape[1])
        starts, scores = starts.repeat(1, self.members), scores.repeat(self.members).expand(n, -1)
        if given is not None and given.mask.any() and starts.shape[1] > 1:
            found = [
                self._known_score(given, start, member)
                for start, member in zip(starts.unbind(1), members.tolist(), strict=True)
            ]
            scores = scores + torch.stack(found, dim=1)
        drawn = draw(scores, generator)
        return members[drawn], starts.gather(1, drawn[:, None])[:, 0]

    def _known_score(self, given: Given, starts: Tensor, member: int) -> Float[Tensor, " batch"]:
        """log p(known | start): of the cells known whole, and of what is known of the next one."""
        allowed = self.allowed(given, member)
        count = _leading(allowed.sum(-1).eq(1).all(0))
        cells = allowed[:, :count].int().argmax(-1)
        score = self.log_probs(cells, starts, member)[0].sum(1)
        if count < self.num_cells and not allowed[:, count].all():
            state = self.begin(starts, member)
            logits = self.read(self.feed(state, cells) if count else state)
            score = score + logits.log_softmax(1).masked_fill(~allowed[:, count], -math.inf).logsumexp(1)
        return score

    def _draw(self, starts, allowed: Tensor | None, temperature: float, generator, member: int) -> Tensor:
        """Images cell by cell, among the allowed values alone."""
        begin, feed = self.one_way(member)
        state, cells = begin(starts), []
        if allowed is not None:
            count = _leading(allowed.sum(-1).eq(1).all(0))
            known = allowed[:, :count].int().argmax(-1)
            if count:
                state, cells = feed(state, known), list(known.split(1, dim=1))
        while len(cells) < self.num_cells:
            logits = self.read(state) / temperature
            if allowed is not None:
                logits = logits.masked_fill(~allowed[:, len(cells)], -math.inf)
            cells.append(draw(logits, generator)[:, None])
            if len(cells) < self.num_cells:
                state = feed(state, cells[-1])
        return self.to_images(torch.cat(cells, dim=1), member)


def _leading(flags: Bool[Tensor, " cells"]) -> int:
    """How many of the first flags are True without a gap."""
    return int(flags.int().cumprod(0).sum())
