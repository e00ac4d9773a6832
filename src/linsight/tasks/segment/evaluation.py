"""A segmentation network on scenes: what it predicts, the numbers, tables and pictures made of it."""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from linsight.data import Scene, Scenes
from linsight.data.scenes import IGNORED_PIXEL
from linsight.metrics import Segmentation, SegmentationResult
from linsight.models.vision import Decoder, DenseModel
from linsight.nn.upsampling import Upsampler, phase_pattern
from linsight.tasks.base import Progress, Split
from linsight.tasks.exhibits import Evaluation, Exhibit, Heatmap, Pictures, Table
from linsight.tasks.segment.pictures import crops, triptychs

__all__ = ["Predicted", "decoder_pattern", "evaluate_segmentation", "predicted", "side_by_side"]

BATCH = 10
SEED = 0  # of the scenes of an evaluation, whatever the run's seed
SHOWN = 6
NAMES = ("background", *map(str, range(10)))


class Predicted(NamedTuple):
    """Scenes of a split by number, the target and the predicted class of each pixel, and how long it took."""

    numbers: list[int]
    target: Tensor
    masks: Tensor
    seconds: float


def predicted(
    model: DenseModel, data: Scenes, split: Split, count: int, device: torch.device
) -> Iterator[Predicted]:
    """The first scenes of a split, a few at a time.

    Logits have the size of the scenes, so the masks are at the labels' own resolution.
    """
    for first in range(0, count, BATCH):
        numbers = list(range(first, min(first + BATCH, count)))
        scenes = data.scenes(split, np.array(numbers), seed=SEED)
        target = torch.from_numpy(np.stack([scene.semantic for scene in scenes])).long()
        begin = time.perf_counter()
        masks = _masks(model, scenes, device)
        yield Predicted(numbers, target, masks, time.perf_counter() - begin)


def evaluate_segmentation(
    model: DenseModel,
    data: Scenes,
    split: Split,
    count: int,
    *,
    device: torch.device,
    progress: Progress | None = None,
) -> Evaluation:
    """Everything that the report shows of a model on the first scenes of a split."""
    metric = Segmentation(len(NAMES), ignore_index=IGNORED_PIXEL)
    wrong = np.zeros(count)
    seconds = []
    for numbers, target, masks, elapsed in predicted(model, data, split, count, device):
        metric.update(masks, target, numbers)
        wrong[numbers] = ((masks != target) & (target != IGNORED_PIXEL)).flatten(1).sum(1)
        seconds.append(elapsed / len(numbers))
        if progress:
            progress(f"{split} scenes", numbers[-1] + 1, count)
    result = metric.compute()
    pattern = decoder_pattern(model.decoder)
    metrics = {
        "miou": result.miou,
        "boundary_f": result.mean_boundary_f,
        "pixel_accuracy": result.pixel_accuracy,
        "mean_accuracy": result.mean_accuracy,
        "frequency_weighted_iou": result.frequency_weighted_iou,
        "mean_f1": result.mean_f1,
        **({} if pattern is None else {"phase_pattern": pattern}),
        "milliseconds_per_scene": 1e3 * float(np.median(seconds)),
    }
    note = (
        f"{count:,} {split} scenes of {data.size} x {data.size} pixels, of digits and textures that no "
        "training scene has; counts are over all scenes, at the labels' own resolution."
    )
    exhibits: tuple[Exhibit, ...] = (_classes(result, note), _confusion(result))
    exhibits += _shown(model, data, split, wrong, device)
    return Evaluation(split, metrics, exhibits)


@torch.no_grad()
def decoder_pattern(decoder: Decoder) -> float | None:
    """How much of a grid's pattern the upsamplers between a decoder's levels draw on a constant map.

    The mean of their `phase_pattern`, the map having another value in each channel. None where there are no
    upsamplers, or where they need more than a map, as max-unpooling does.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    ups = getattr(decoder, "ups", ())
    for up in ups:
        if not isinstance(up, Upsampler) or up.uses_indices:
            return None
        device = next((one.device for one in decoder.parameters()), torch.device("cpu"))

        def constant(channels: int, side: int) -> Tensor:
            return torch.randn(1, channels, 1, 1, generator=generator).expand(-1, -1, side, side).to(device)  # noqa: B023

        guide = constant(up.skip_channels, 16 * up.scale) if up.uses_skip else None  # pyright: ignore
        found.append(phase_pattern(up(constant(up.in_channels, 16), skip=guide), up.scale))
    return float(np.mean(found)) if found else None


def side_by_side(
    models: Mapping[str, DenseModel], data: Scenes, *, device: torch.device
) -> tuple[Exhibit, ...]:
    """Crops of the first test scenes: image, truth, and a row for each model."""
    scenes = data.scenes("test", np.arange(SHOWN), seed=SEED)
    masks = {name: _masks(model.to(device).eval(), scenes, device).numpy() for name, model in models.items()}
    note = (
        "Test scenes 0 to 5, around the largest digit. Rows: image, truth, then "
        f"{', '.join(models)}. {_COLOURS_NOTE}"
    )
    return (Pictures("side_by_side", "Side by side", crops(scenes, masks), len(scenes), note),)


_COLOURS_NOTE = (
    "0 orange, 1 sky blue, 2 green, 3 yellow, 4 blue, 5 vermilion, 6 pink, 7 white, 8 violet, 9 lime."
)


@torch.inference_mode()
def _masks(model: DenseModel, scenes: list[Scene], device: torch.device) -> Tensor:
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).to(device).float() / 255
    return model(images).argmax(1).cpu()


def _classes(result: SegmentationResult, note: str) -> Table:
    rows = tuple(
        (name, *(f"{100 * value:.1f}" for value in values), f"{100 * share:.2f}")
        for name, *values, share in zip(
            NAMES,
            result.iou.tolist(),
            result.f1.tolist(),
            result.accuracy.tolist(),
            result.boundary_f.tolist(),
            (result.confusion.sum(1) / result.confusion.sum()).tolist(),
            strict=True,
        )
    )
    columns = ("class", "IoU (%)", "F1 (%)", "accuracy (%)", "boundary F, 1 pixel (%)", "share of pixels (%)")
    return Table("classes", "Classes", columns, rows, note)


def _confusion(result: SegmentationResult) -> Heatmap:
    pixels = result.confusion.double()
    shares = (pixels / pixels.sum(1, keepdim=True).clamp_min(1)).numpy()
    note = "Shares of the pixels of a true class; rows sum to 1."
    return Heatmap(
        "confusion", "Confusion of pixels", shares.round(3), NAMES, NAMES, "true class", "predicted class",
        note=note, high=1.0,
    )  # fmt: skip


def _shown(
    model: DenseModel, data: Scenes, split: Split, wrong: np.ndarray, device: torch.device
) -> tuple[Pictures, ...]:
    """The scenes with the most wrong pixels, then the first ones."""
    worst = np.argsort(-wrong, kind="stable")[:SHOWN]
    found = []
    for name, title, numbers in (
        ("mistakes", f"The scenes with the most mistakes, {split} split", worst),
        ("examples", f"The first scenes, {split} split", np.arange(min(SHOWN, len(wrong)))),
    ):
        scenes = data.scenes(split, numbers, seed=SEED)
        masks = _masks(model, scenes, device).numpy()
        pictures = triptychs(scenes, masks, numbers.tolist(), wrong[numbers])
        found.append(Pictures(name, title, pictures, 6, f"Image, truth, prediction. {_COLOURS_NOTE}"))
    return tuple(found)
