"""`linsight predict detect IMAGE`: boxes of objects, on the picture and as COCO's results."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from linsight.cli.parsing import parse
from linsight.cli.predicting import PredictOptions, files_in, read_picture, seen, trained, write_files

__all__ = ["Options", "run"]

DESCRIPTION = """Write the picture with the boxes of what was found, and all detections, those of low scores
too, as a file of COCO's results, which linsight evaluate detections --dt reads; print class, score, corners.

The picture is looked at whole, whatever its size, at its own scale: objects should be about as large, in
pixels, as those of training.
"""


@dataclass(frozen=True)
class Options(PredictOptions):
    """What `linsight predict detect` takes."""

    score: float = 0.25
    """The least score that is drawn and printed, 0 to 1."""
    image_id: int | None = None
    """The picture's id among the results; none: the number that is its name, as in 000012.png, else 0."""


def run(arguments: Sequence[str]) -> int:
    """Predict; prints the objects, and the paths of the files last."""
    options = parse(Options, arguments, prog="linsight predict detect", description=DESCRIPTION)
    if not 0 <= options.score <= 1:
        raise ValueError(f"--score: expected a number from 0 to 1, got {options.score}")
    import torch

    from linsight.models.vision import Detector, found_boxes
    from linsight.reports.figures import png_of
    from linsight.tasks.detect import DetectConfig
    from linsight.tasks.exhibits import Box, Picture, Pictures

    image = read_picture(options.image)
    found, model = trained("detect", options.run)
    task = found.config.task
    assert isinstance(model, Detector)  # the model of this task
    assert isinstance(task, DetectConfig)
    picture_file, results_file = files_in(options, found, "boxes.png", "detections.json")
    pixels = torch.from_numpy(image).float().permute(2, 0, 1)[None].to(next(model.parameters()).device)
    size = image.shape[0], image.shape[1]
    with torch.inference_mode():
        maps = model(pixels)
    detected = found_boxes(maps, size, most=task.detections, least=0.001, threshold=task.suppression)
    boxes, scores, labels = (part[0][detected.kept[0]].tolist() for part in detected[:3])
    rows = [
        {"class": label, "score": score, "xyxy": [round(edge, 2) for edge in box]}
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]
    shown = [row for row in rows if row["score"] >= options.score]
    marks = tuple(Box(tuple(row["xyxy"]), f"{row['class']} {row['score']:.2f}") for row in shown)
    drawn = Pictures("boxes", f"Detections in {options.image.name}", (Picture(image, "", marks),), 1)
    image_id = _image_id(options)
    results = [
        {"image_id": image_id, "category_id": row["class"], "bbox": _xywh(row["xyxy"]), "score": row["score"]}
        for row in rows
    ]
    content = json.dumps(results, allow_nan=False) + "\n"
    write_files({picture_file: png_of(drawn), results_file: content.encode()})
    if options.json:
        told = {
            **seen(options, found, image),
            "objects": shown,
            "picture": str(picture_file),
            "detections": str(results_file),
        }
        print(json.dumps(told, indent=2))
        return 0
    for row in shown:
        print(f"{row['class']}  {row['score']:.3f}  " + "  ".join(f"{edge:8.2f}" for edge in row["xyxy"]))
    print(picture_file)
    print(results_file)
    return 0


def _image_id(options: Options) -> int:
    if options.image_id is not None:
        return options.image_id
    name = options.image.stem
    return int(name) if re.fullmatch(r"[0-9]{1,18}", name) else 0


def _xywh(xyxy: list[float]) -> list[float]:
    left, top, right, bottom = xyxy
    return [left, top, round(right - left, 2), round(bottom - top, 2)]
