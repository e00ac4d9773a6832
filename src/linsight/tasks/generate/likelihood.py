"""Exact nats of a density on a split, classification both ways, and how far its two factorisations differ."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from linsight.densities import Autoregressive, IndependentBernoulli, LabelPlace, NaiveBayes
from linsight.metrics import (
    Estimate,
    accuracy_compute,
    accuracy_update,
    bits_per_dim,
    calibration_compute,
    calibration_update,
    class_nll_update,
    confusion_compute,
    confusion_update,
    nll_compute,
    nll_update,
)
from linsight.tasks.base import Progress, Split
from linsight.tasks.exhibits import Exhibit, Heatmap, Table
from linsight.tasks.generate.known import KNOWN_NATS, NOTE

__all__ = ["evaluate_likelihood"]

_BATCH = 100
_PLACES: dict[LabelPlace, str] = {"last": "label last: p(x) p(y | x)", "first": "label first: p(y) p(x | y)"}


class _Found(NamedTuple):
    """One factorisation on some images: log p(x, y) of every label, and the true labels."""

    every_label: Float[Tensor, "images classes"]
    labels: Int[Tensor, " images"]

    @property
    def joint(self) -> Float[Tensor, " images"]:
        return self.every_label.gather(1, self.labels[:, None])[:, 0]

    @property
    def image(self) -> Estimate:
        return nll_compute(nll_update(self.every_label.logsumexp(1)))

    @property
    def given(self) -> Float[Tensor, "images classes"]:
        return self.every_label.log_softmax(1)

    @property
    def accuracy(self) -> Estimate:
        return accuracy_compute(accuracy_update(self.given, self.labels))


@torch.inference_mode()
def evaluate_likelihood(
    model: Autoregressive,
    x: Tensor,
    y: Tensor,
    *,
    training: tuple[Tensor, Tensor],
    split: Split,
    bayes_images: int,
    binarisation: str,
    comparable: bool,
    progress: Progress | None = None,
) -> tuple[dict[str, float], tuple[Exhibit, ...]]:
    """Metrics and tables of a density on images x `(number, height, width)` with labels y `(number,)`.

    With the label last, all images are looked at; with the label first, where each takes a pass for every
    class, the first `bayes_images`. Means are taken in float64. Images and
    labels lie on the CPU, wherever the model is. `training` holds those that the counted baselines are fitted
    to; `binarisation` names how the images became bits, `comparable` says whether published figures of
    binarised MNIST may stand beside ours.
    """
    counted = _counted(model, training)

    def nats_table(ours: Estimate) -> Table:
        measured = f"this run: {split} split, {ours.num_examples:,} images"
        return _nats_table(ours, x, counted, measured, binarisation, comparable=comparable)

    if not model.places:
        nats = _batched(model, lambda part: model.log_prob(part), x, f"{split} images", progress)
        image = nll_compute(nll_update(nats))
        return _image_metrics(image, x), (nats_table(image),)
    found: dict[LabelPlace, _Found] = {}
    for place in model.places:
        count = len(x) if place == "last" else min(bayes_images, len(x))
        every = _batched(
            model, lambda part, place=place: model.joint(part, label=place),
            x[:count], f"{split} images, label {place}", progress,
        )  # fmt: skip
        found[place] = _Found(every, y[:count])
    main = found.get("last") or found["first"]
    metrics = _image_metrics(main.image, x)
    for place, seen in found.items():
        metrics[f"accuracy_label_{place}"] = seen.accuracy.value.item()
    if len(found) == 2:
        both = len(found["first"].labels)
        metrics["disagreement_nats"] = (found["first"].joint - found["last"].joint[:both]).abs().mean().item()
    for place, seen in found.items():
        metrics |= _place_metrics(place, seen)
    exhibits = (
        nats_table(main.image),
        _label_table(found, metrics),
        *(_confusion(place, seen) for place, seen in found.items()),
    )
    return metrics, exhibits


def _batched(
    model: Autoregressive,
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    what: str,
    progress: Progress | None,
) -> Tensor:
    """score(images) of all images, computed where the model is; in float64 on the CPU."""
    scores, device = [], model.log_prior.device
    for start in range(0, len(x), _BATCH):
        scores.append(score(x[start : start + _BATCH].to(device)).double().cpu())
        if progress:
            progress(what, min(start + _BATCH, len(x)), len(x))
    return torch.cat(scores)


def _image_metrics(image: Estimate, x: Tensor) -> dict[str, float]:
    return {
        "nll_nats_per_image": image.value.item(),
        "nll_standard_error_nats": image.standard_error.item(),
        "nll_bits_per_pixel": bits_per_dim(image.value.item(), x[0].numel()),
    }


def _place_metrics(place: LabelPlace, seen: _Found) -> dict[str, float]:
    calibration = calibration_compute(calibration_update(seen.given, seen.labels))
    return {
        f"image_nats_label_{place}": seen.image.value.item(),
        f"joint_nats_label_{place}": -seen.joint.mean().item(),
        f"label_nats_label_{place}": nll_compute(class_nll_update(seen.given, seen.labels)).value.item(),
        f"calibration_error_label_{place}": calibration.error.item(),
    }


def _counted(model: Autoregressive, training: tuple[Tensor, Tensor]) -> dict[str, NaiveBayes]:
    """What any model has to beat."""
    size = model.height, model.width
    counted: dict[str, NaiveBayes] = {"independent pixels": IndependentBernoulli(*size).fit(training[0])}
    if model.classes:
        counted["independent pixels given the label"] = NaiveBayes(*size, model.classes).fit(*training)
    return counted


def _nats_table(
    ours: Estimate,
    x: Tensor,
    counted: dict[str, NaiveBayes],
    measured: str,
    binarisation: str,
    *,
    comparable: bool,
) -> Table:
    rows = [("linsight", f"{ours.value:.2f} ± {ours.standard_error:.2f}", binarisation, measured)]
    for name, density in counted.items():
        nats = -density.log_prob(x[: int(ours.num_examples)]).mean().item()
        rows.append((name, f"{nats:.2f}", binarisation, "the same images, counted on the training split"))
    if comparable:
        rows += [(name, f"{nats:.2f}", data, source) for name, nats, data, source in KNOWN_NATS]
    note = (
        NOTE if comparable else "Figures published for binarised MNIST are of other data, or of other bits."
    )
    columns = ("model", "nats", "binarisation", "source")
    return Table("nats", "-log p(x), nats per image", columns, tuple(rows), note)


def _label_table(found: dict[LabelPlace, _Found], metrics: dict[str, float]) -> Table:
    rows = []
    for place, seen in found.items():
        accuracy = seen.accuracy
        rows.append(
            (
                _PLACES[place],
                f"{metrics[f'image_nats_label_{place}']:.2f}",
                f"{metrics[f'joint_nats_label_{place}']:.2f}",
                f"{100 * accuracy.value:.2f} ± {100 * accuracy.standard_error:.2f} %",
                f"{metrics[f'label_nats_label_{place}']:.3f}",
                f"{100 * metrics[f'calibration_error_label_{place}']:.2f} %",
                f"{len(seen.labels):,}",
            )
        )
    note = "Means are over as many images as the last column says."
    if len(found) == 2:
        note += (
            f" On one image the two factorisations differ by {metrics['disagreement_nats']:.2f} nats of "
            "log p(x, y) on average; those of a perfect model do not."
        )
    columns = (
        "factorisation",
        "-log p(x), nats",
        "-log p(x, y), nats",
        "accuracy of p(y | x)",
        "-log p(y | x), nats",
        "calibration error",
        "images",
    )
    return Table("classification", "The label, both ways", columns, tuple(rows), note)


def _confusion(place: LabelPlace, seen: _Found) -> Heatmap:
    matrix = confusion_compute(confusion_update(seen.given, seen.labels)).numpy()
    names = tuple(str(label) for label in range(len(matrix)))
    title = f"Confusion, {_PLACES[place]}"
    return Heatmap(f"confusion_{place}", title, matrix, names, names, "true label", "predicted label")
