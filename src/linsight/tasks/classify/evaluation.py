"""A classifier on a split: its log-probabilities, and the numbers, tables and pictures made of them."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.data.listops import spell
from linsight.metrics import (
    Estimate,
    accuracy_compute,
    accuracy_update,
    calibration_compute,
    calibration_update,
    class_nll_update,
    confusion_compute,
    confusion_update,
    nll_compute,
)
from linsight.models.sequence import ClassifierConfig, SequenceClassifier
from linsight.tasks.base import Progress, Split
from linsight.tasks.classify.sources import DigitSource, PathfinderSource, Source
from linsight.tasks.exhibits import Exhibit, Grid, Heatmap, Table

__all__ = ["Scored", "classification_exhibits", "score"]

_BATCH = 100
_SEED = 0  # of generated examples: a split is the same whatever the run's seed
_SHOWN = 10
_BINS = 4


class Scored(NamedTuple):
    """The first examples of a split: log p(y | x) of every class in float64, the labels, the lengths."""

    log_prob: Float[Tensor, "examples classes"]
    labels: Int[Tensor, " examples"]
    lengths: Int[Tensor, " examples"]


@torch.inference_mode()
def score(
    model: SequenceClassifier, source: Source, split: Split, count: int, progress: Progress | None = None
) -> Scored:
    """The classifier on the first `count` examples of a split, computed where the model is."""
    device = model.head.weight.device
    parts = []
    for start in range(0, count, _BATCH):
        examples = source.examples(split, np.arange(start, min(start + _BATCH, count)), seed=_SEED)
        batch = {name: tensor.to(device) for name, tensor in examples.batch().items()}
        logits = model(batch["x"], batch.get("lengths"))
        log_prob = logits.double().log_softmax(1).cpu()
        parts.append((log_prob, torch.from_numpy(examples.labels), torch.from_numpy(examples.lengths)))
        if progress:
            progress(f"{split} examples", min(start + _BATCH, count), count)
    return Scored(*(torch.cat(part) for part in zip(*parts, strict=True)))


def classification_exhibits(
    scored: Scored, source: Source, split: Split, model: ClassifierConfig
) -> tuple[dict[str, float], tuple[Exhibit, ...]]:
    """Metrics, and a summary, a confusion matrix and examples; of ListOps the accuracy by length too."""
    log_prob, labels, lengths = scored
    accuracy = accuracy_compute(accuracy_update(log_prob, labels))
    nll = nll_compute(class_nll_update(log_prob, labels))
    calibration = calibration_compute(calibration_update(log_prob, labels))
    metrics = {
        "accuracy": accuracy.value.item(),
        "accuracy_standard_error": accuracy.standard_error.item(),
        "chance_accuracy": source.chance,
        "nll_nats": nll.value.item(),
        "calibration_error": calibration.error.item(),
    }
    cells = {
        "data": source.name,
        "split": split,
        "examples": f"{len(labels):,}",
        "accuracy": _percent(accuracy),
        "chance": f"{100 * source.chance:.1f} %",
        "-log p(y | x), nats": f"{nll.value:.3f} ± {nll.standard_error:.3f}",
        "calibration error": f"{100 * calibration.error:.2f} %",
        "tokens": _tokens(lengths, model),
    }
    note = f"{source.note} {_setting(source, model)} The error of accuracy is the binomial one."
    title = f"Classes of {source.name}"
    summary = Table("classification", title, tuple(cells), (tuple(cells.values()),), note)
    matrix = confusion_compute(confusion_update(log_prob, labels)).numpy()
    confusion = Heatmap(
        "confusion", f"Confusion, {source.name}", matrix, source.classes, source.classes,
        "true class", "predicted class", note=source.note,
    )  # fmt: skip
    if isinstance(source, DigitSource | PathfinderSource):
        return metrics, (summary, confusion, *_pictures(scored, source, split))
    return metrics, (summary, _by_length(scored, source), confusion, _expressions(scored, source, split))


def _percent(accuracy: Estimate) -> str:
    return f"{100 * accuracy.value:.2f} ± {100 * accuracy.standard_error:.2f} %"


def _tokens(lengths: Tensor, model: ClassifierConfig) -> str:
    shortest, longest = int(lengths.min()) // model.patch, int(lengths.max()) // model.patch
    return f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"


def _setting(source: Source, model: ClassifierConfig) -> str:
    """How a sequence was cut, without which a number cannot be compared."""
    direction = "causal" if model.causal else "bidirectional"
    if source.vocabulary is not None:
        return f"One token id a step, {direction}."
    if model.patch == 1:
        return f"One pixel a token, as in published figures, {direction}."
    return f"{model.patch} pixels a token, {direction}: not comparable with figures of one pixel a token."


def _by_length(scored: Scored, source: Source) -> Table:
    """Accuracy in bins of equal width between the shortest and the longest."""
    lengths = scored.lengths
    edges = torch.linspace(int(lengths.min()), int(lengths.max()) + 1, _BINS + 1).long()
    rows = []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        inside = (lengths >= low) & (lengths < high)
        if inside.any():
            found = accuracy_compute(accuracy_update(scored.log_prob[inside], scored.labels[inside]))
            rows.append((f"{low:,} to {high - 1:,}", f"{int(inside.sum()):,}", _percent(found)))
    columns = ("tokens", "examples", "accuracy")
    return Table("length", f"Accuracy by length, {source.name}", columns, tuple(rows), source.note)


def _expressions(scored: Scored, source: Source, split: Split) -> Table:
    """The first expressions of the split, each with what it was taken for."""
    items = np.arange(min(_SHOWN, len(scored.labels)))
    examples = source.examples(split, items, seed=_SEED)
    rows = []
    for tokens, label, log_prob in zip(examples.x, examples.labels, scored.log_prob, strict=False):
        text = spell(tokens)
        called = int(log_prob.argmax())
        shown = text if len(text) <= 200 else f"{text[:200]} ..."
        rows.append((shown, int(label), called, f"{log_prob[label].exp():.2f}"))
    columns = ("expression", "value", "predicted", "p(value)")
    return Table("examples", f"The first of {source.name}, {split} split", columns, tuple(rows), source.note)


def _pictures(scored: Scored, source: DigitSource | PathfinderSource, split: Split) -> tuple[Grid, ...]:
    """The first images, and the mistakes that the classifier was surest of."""
    confidence, called = scored.log_prob.max(1)
    wrong = torch.where(called != scored.labels, confidence, -torch.inf)
    surest = wrong.argsort(descending=True, stable=True)[: min(_SHOWN, int((called != scored.labels).sum()))]
    first = torch.arange(min(_SHOWN, len(called)))
    names = ", ".join(f"{i} is {name}" for i, name in enumerate(source.classes) if name != str(i))
    note = "Above each image: its class > what it was taken for." + (f" {names}." if names else "")
    if isinstance(source, DigitSource) and (source.order != np.arange(source.length)).any():
        note += " Shown as images; the classifier reads their pixels permuted."
    grids = []
    for name, title, items in (
        ("examples", f"The first of {source.name}, {split} split", first),
        ("mistakes", f"The surest mistakes, {source.name}, {split} split", surest),
    ):
        if len(items) == 0:
            continue
        pixels = source.examples(split, items.numpy(), seed=_SEED).x
        images = np.empty(pixels.shape, np.float32)
        images[:, source.order] = pixels / 255
        captions = tuple(f"{int(scored.labels[i])} > {int(called[i])}" for i in items.tolist())
        grids.append(
            Grid(
                name, title, images.reshape(-1, *source.shape), len(items), column_labels=captions, note=note
            )
        )
    return tuple(grids)
