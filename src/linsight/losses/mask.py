"""Losses of masks by name, and sums of them: cross entropy, focal, OHEM, Dice, Jaccard, Tversky, Lovasz."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.losses.focal import focal_mean
from linsight.losses.overlap import lovasz_softmax, tversky
from linsight.losses.pixels import cross_entropy, hardest_cross_entropy

__all__ = ["MASK_LOSSES", "mask_loss", "mask_loss_terms"]

REDUCE = ("image", "batch")
ABSENT = ("skip", "count")


def mask_loss(
    name: str,
    logits: Tensor,
    target: Tensor,
    *,
    ignore_index: int = 255,
    reduce: str = "image",
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    keep: float = 0.25,
    false_positives: float = 0.5,
    false_negatives: float = 0.5,
    eps: float = 1.0,
    absent: str = "skip",
) -> Tensor:
    """The loss of this name, or a weighted sum of several: `ce`, `ce+dice`, `0.5*ce+2*lovasz`.

    * `ce`: cross entropy in nats, by class weights over the sum of the weights; `ohem`, that of the hardest
      pixels (Shrivastava et al. 2016, arXiv 1604.03540); `focal` (Lin et al. 2017, arXiv 1708.02002),
      whose mean is over pixels.
    * `dice` 1 - (2 I + eps) / (P + Y + eps) (Milletari et al. 2016, arXiv 1606.04797), `jaccard`
      1 - (I + eps) / (U + eps), `tversky` 1 - (I + eps) / (I + a FP + b FN + eps) (Salehi et al. 2017,
      arXiv 1706.05721), `lovasz` (Berman et al. 2018, arXiv 1705.08790): of each class, the mean over those
      that the target has.

    Ignored pixels are selected away before anything is computed: whatever stands there, NaN included,
    touches neither the value nor a gradient.

    **What a split of the batch changes.** With `reduce="image"` the loss is that of each image's own pixels,
    and the mean over images: equal parts of a batch, on several devices or one after another, have the same
    mean as the whole. With `reduce="batch"` all pixels are pooled, and the normaliser (pixels, weights,
    regions) is the batch's own: parts of it have others, and their mean is another number.

    Args:
        name: Of `MASK_LOSSES`, with `+` between terms and `WEIGHT*` before one; spaces do not count.
        logits: `(batch, classes, height, width)`, any real numbers. One channel is a binary mask: the logit
            of class 1 against class 0, of which region losses take class 1 alone.
        target: `(batch, height, width)`, integers: class numbers or `ignore_index`.
        ignore_index: The target of pixels that do not count.
        reduce: What a normaliser counts, see above.
        class_weights: For `ce` and `ohem`: at least 0, one for each class (of a binary mask, two).
        label_smoothing: For `ce` and `ohem`: the share of the target spread over all classes, in [0, 1).
        gamma: For `focal`.
        keep: For `ohem`: the share of pixels that is kept, in (0, 1].
        false_positives: For `tversky`: a.
        false_negatives: For `tversky`: b.
        eps: For `dice`, `jaccard`, `tversky`: against 0 / 0, and against the noise of regions of few pixels.
        absent: For losses of regions: leave out (`skip`) or `count` classes that the target does not have.

    Returns:
        A scalar; an image without a valid pixel contributes 0 with zero gradient, and counts as an image.
        Cost: O(pixels classes), and a sort of the pixels for each class in `lovasz`.

    Raises:
        TypeError: Logits that are not floating point, a target that is not of integers.
        ValueError: A name that is not known; shapes that do not fit; a label outside 0..classes - 1; an
            option outside its range.

    Example:
        >>> logits = torch.tensor([0.8, 0.2]).logit().view(1, 1, 1, 2)
        >>> target = torch.tensor([[[1, 0]]])
        >>> round(mask_loss("dice", logits, target, eps=0.0).item(), 6)
        0.2
    """
    terms = mask_loss_terms(name)
    target = _checked(logits, target, ignore_index, reduce, absent)
    binary = logits.shape[1] == 1
    options = _Options(
        class_weights, label_smoothing, gamma, keep, false_positives, false_negatives, eps,
        absent == "count", binary,
    )  # fmt: skip
    options.check(2 if binary else logits.shape[1])
    total = logits.new_zeros((), dtype=torch.promote_types(logits.dtype, torch.float32))
    images = 0
    for scores, labels in _groups(logits, target, ignore_index, pooled=reduce == "batch"):
        images += len(labels)
        if labels.numel() == 0:
            total = total + scores.sum()  # 0, and a part of the graph
            continue
        log_prob = _log_prob(scores)
        for term, weight in terms:
            total = total + weight * MASK_LOSSES[term](log_prob, labels, options).sum()
    return total / max(1, images)


def mask_loss_terms(name: str) -> tuple[tuple[str, float], ...]:
    """The terms of a sum by name, each with its weight: `0.5*ce+dice` is (("ce", 0.5), ("dice", 1.0)).

    Raises:
        ValueError: A term that is not known, or a weight that is not a number of at least 0.
    """
    terms = []
    for part in name.replace(" ", "").split("+"):
        weight, star, term = part.rpartition("*")
        if term not in MASK_LOSSES:
            raise ValueError(f"name: expected a sum of {', '.join(MASK_LOSSES)}, got {term!r} in {name!r}")
        try:
            value = float(weight) if star else 1.0
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise ValueError(f"name: expected a weight of at least 0 before '*', got {weight!r} in {name!r}")
        terms.append((term, value))
    return tuple(terms)


@dataclass(frozen=True)
class _Options:
    class_weights: Tensor | None
    label_smoothing: float
    gamma: float
    keep: float
    false_positives: float
    false_negatives: float
    eps: float
    absent: bool
    binary: bool

    def check(self, classes: int) -> None:
        weights = self.class_weights
        if weights is not None and weights.shape != (classes,):
            raise ValueError(f"class_weights: expected shape ({classes},), got {tuple(weights.shape)}")
        if weights is not None and not (weights.isfinite() & (weights >= 0)).all():
            raise ValueError(f"class_weights: expected finite numbers of at least 0, got {weights.tolist()}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected a share in [0, 1), got {self.label_smoothing}")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep: expected a share in (0, 1], got {self.keep}")
        for name in ("false_positives", "false_negatives", "eps"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a number of at least 0, got {getattr(self, name)}")

    def regions(self, log_prob: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """p and y of each class that has a region of its own."""
        first = int(self.binary)
        truth = torch.zeros_like(log_prob).scatter_(1, labels[:, None], 1.0)
        return log_prob[:, first:].exp(), truth[:, first:]

    def overlap(self, log_prob: Tensor, labels: Tensor, rates: tuple[float, float], eps: float) -> Tensor:
        prob, truth = self.regions(log_prob, labels)
        a, b = rates
        return tversky(prob, truth, false_positives=a, false_negatives=b, eps=eps, absent=self.absent)


def _ce(log_prob: Tensor, labels: Tensor, options: _Options) -> Tensor:
    return cross_entropy(
        log_prob,
        labels,
        class_weights=options.class_weights,
        label_smoothing=options.label_smoothing,
    )


def _focal(log_prob: Tensor, labels: Tensor, options: _Options) -> Tensor:
    return focal_mean(log_prob.gather(1, labels[:, None])[:, 0], gamma=options.gamma)


def _ohem(log_prob: Tensor, labels: Tensor, options: _Options) -> Tensor:
    return hardest_cross_entropy(
        log_prob,
        labels,
        keep=options.keep,
        class_weights=options.class_weights,
        label_smoothing=options.label_smoothing,
    )


def _dice(log_prob: Tensor, labels: Tensor, options: _Options) -> Tensor:
    return options.overlap(log_prob, labels, (0.5, 0.5), options.eps / 2)


def _jaccard(log_prob: Tensor, labels: Tensor, options: _Options) -> Tensor:
    return options.overlap(log_prob, labels, (1.0, 1.0), options.eps)


def _tversky(log_prob: Tensor, labels: Tensor, options: _Options) -> Tensor:
    rates = (options.false_positives, options.false_negatives)
    return options.overlap(log_prob, labels, rates, options.eps)


def _lovasz(log_prob: Tensor, labels: Tensor, options: _Options) -> Tensor:
    return lovasz_softmax(*options.regions(log_prob, labels), absent=options.absent)


MASK_LOSSES: dict[str, Callable[[Tensor, Tensor, _Options], Tensor]] = {
    "ce": _ce,
    "focal": _focal,
    "ohem": _ohem,
    "dice": _dice,
    "jaccard": _jaccard,
    "tversky": _tversky,
    "lovasz": _lovasz,
}
"""Every loss of a mask by name: of each image, by (log_prob, labels) of the pixels that count."""


def _checked(logits: Tensor, target: Tensor, ignore_index: int, reduce: str, absent: str) -> Tensor:
    """The target as int64."""
    if not logits.is_floating_point():
        raise TypeError(f"logits: expected floating point, got {logits.dtype}")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target: expected integers, got {target.dtype}")
    if logits.ndim != 4 or logits.shape[1] < 1:
        raise ValueError(f"logits: expected shape (batch, classes, height, width), got {tuple(logits.shape)}")
    expected = (len(logits), *logits.shape[2:])
    if target.shape != expected:
        raise ValueError(f"target: expected shape {expected} for these logits, got {tuple(target.shape)}")
    for name, value, known in (("reduce", reduce, REDUCE), ("absent", absent, ABSENT)):
        if value not in known:
            raise ValueError(f"{name}: expected {' or '.join(map(repr, known))}, got {value!r}")
    target = target.long()
    classes = max(2, logits.shape[1])
    outside = (target != ignore_index) & ((target < 0) | (target >= classes))
    if outside.any():
        value = int(target[outside][0])
        raise ValueError(f"target: expected 0 to {classes - 1}, or {ignore_index} to ignore, got {value}")
    return target


def _groups(
    logits: Tensor, target: Tensor, ignore_index: int, *, pooled: bool
) -> list[tuple[Tensor, Tensor]]:
    """The scores (images, channels, pixels) and labels of the valid pixels, of images that have as many.

    All at once where all pixels are valid, else one by one; pooled, all are those of one image.
    """
    scores, labels = logits.flatten(2), target.flatten(1)
    if pooled:
        scores, labels = scores.transpose(0, 1).flatten(1)[None], labels.flatten()[None]
    valid = labels != ignore_index
    if valid.all():
        return [(scores, labels)]
    return [
        (one[None, :, where], own[None, where]) for one, own, where in zip(scores, labels, valid, strict=True)
    ]


def _log_prob(scores: Tensor) -> Tensor:
    if scores.dtype in (torch.bfloat16, torch.float16):
        scores = scores.float()
    if scores.shape[1] > 1:
        return scores.log_softmax(1)
    return torch.cat([F.logsigmoid(-scores), F.logsigmoid(scores)], 1)
