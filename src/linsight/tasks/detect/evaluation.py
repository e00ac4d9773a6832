"""A detector on a split: its detections, and the numbers, tables and pictures made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from linsight.data import Scene, Scenes
from linsight.metrics import average_precision as ap
from linsight.models.vision import found_boxes
from linsight.tasks.base import Progress, Split
from linsight.tasks.detections import SCORE, detection_exhibits, image_errors, number_table
from linsight.tasks.exhibits import Box, Evaluation, Picture, Pictures, Role

__all__ = ["Measured", "detection_evaluation", "measure_detector"]

_BATCH = 50
_SEED = 0  # a split is the same whatever the run's seed
_SHOWN = 8
_LEAST = 0.001


@dataclass(frozen=True)
class Measured:
    """Objects and detections of the first scenes of a split; an image's id is its scene's number."""

    split: Split
    truth: ap.GroundTruth
    found: ap.Detections

    def result(self, protocol: str) -> ap.AveragePrecisionResult:
        """By a protocol of `metrics.average_precision`. Edges are continuous: no protocol adds a pixel."""
        rules = replace(ap.detection_protocol(protocol), plus_one=False)
        return ap.evaluate_detections(self.truth, self.found, rules)


@torch.inference_mode()
def measure_detector(
    model: nn.Module,
    data: Scenes,
    split: Split,
    count: int,
    *,
    most: int = 50,
    suppression: float = 0.6,
    progress: Progress | None = None,
) -> Measured:
    """The detector on the first `count` scenes of a split, computed where the model is.

    `most` and `suppression` are those of `found_boxes`.
    """
    device = next(model.parameters()).device
    names = {number: str(number) for number in range(Scenes.num_classes)}
    metric = ap.AveragePrecision(range(Scenes.num_classes), names=names)
    for start in range(0, count, _BATCH):
        numbers = np.arange(start, min(start + _BATCH, count))
        scenes = data.scenes(split, numbers, seed=_SEED)
        images = torch.from_numpy(np.stack([scene.image for scene in scenes])).to(device).float() / 255
        found = found_boxes(
            model(images),
            (images.shape[2], images.shape[3]),
            most=most,
            least=_LEAST,
            threshold=suppression,
        )
        predictions = [
            {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}
            for boxes, scores, labels, kept in zip(*found, strict=True)
        ]
        metric.update(predictions, [_truth(scene) for scene in scenes], numbers.tolist())
        if progress:
            progress(f"{split} scenes", int(numbers[-1]) + 1, count)
    return Measured(split, *metric.tables())


def detection_evaluation(measured: Measured, data: Scenes) -> Evaluation:
    """COCO's numbers, those that are defined; VOC's beside them; what is wrong, in tables and pictures."""
    results = [measured.result(name) for name in ("coco", "voc10", "voc07")]
    coco = results[0]
    metrics = {name: value for name, value in coco.summary().items() if value == value}
    errors = image_errors(coco.table)
    worst = np.argsort(-(errors.wrong + errors.missed), kind="stable")[:_SHOWN]
    first = np.arange(min(_SHOWN, len(coco.table.images)))
    note = (
        f"Green is what is there, yellow what was found, red what is not so; scores of {SCORE:g} or more, at "
        "IoU 0.5. A number stands by what was found, and by what was missed."
    )
    pictures = [
        Pictures(name, title, _pictures(images, measured, coco.table, data), 4, note)
        for name, title, images in (
            ("pictures", f"The first scenes, {measured.split} split", first),
            ("mistakes", f"The scenes with most errors, {measured.split} split", worst),
        )
    ]
    exhibits = (number_table(results), pictures[0], pictures[1], *detection_exhibits(coco))
    return Evaluation(measured.split, metrics, exhibits)


def _truth(scene: Scene) -> dict[str, np.ndarray]:
    return {
        "boxes": scene.boxes,
        "labels": scene.labels,
        "area": scene.areas,
        "crowd": scene.crowd,
        "difficult": scene.difficult,
    }


def _pictures(
    images: Sequence[int] | np.ndarray, measured: Measured, table: ap.MatchTable, data: Scenes
) -> tuple[Picture, ...]:
    scenes = data.scenes(measured.split, np.asarray(images), seed=_SEED)
    errors = image_errors(table)
    return tuple(
        Picture(
            scene.image.transpose(1, 2, 0) / 255,
            f"{number}: {errors.missed[number]} missed, {errors.wrong[number]} false",
            boxes=(*_there(number, measured, table), *_found(number, measured, table)),
        )
        for number, scene in zip(np.asarray(images).tolist(), scenes, strict=True)
    )


def _there(number: int, measured: Measured, table: ap.MatchTable) -> list[Box]:
    """Boxes of the objects, with the class of those that nothing of a high score takes."""
    taken = table.det_gt()[table.det_score >= SCORE]
    boxes = []
    for row in np.flatnonzero(table.gt_image == number):
        text = str(table.categories[table.gt_category[row]])
        if table.gt_crowd[row]:
            text = f"{text} crowd"
        elif row in taken:
            text = ""
        boxes.append(_box(measured.truth.box[table.gt_row[row]], text, "truth"))
    return boxes


def _found(number: int, measured: Measured, table: ap.MatchTable) -> list[Box]:
    right, ignored = table.det_gt() >= 0, table.det_ignore()
    rows = np.flatnonzero((table.det_image == number) & (table.det_score >= SCORE) & ~ignored)
    return [
        _box(
            measured.found.box[table.det_row[row]],
            f"{table.categories[table.det_category[row]]} {table.det_score[row]:.2f}",
            "found" if right[row] else "wrong",
        )
        for row in rows
    ]


def _box(xyxy: np.ndarray, text: str, role: Role) -> Box:
    left, top, right, bottom = xyxy.tolist()
    return Box((left, top, right, bottom), text, role)
