"""`linsight evaluate detections`: average precision of a file of detections, by every protocol asked for."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]

TextFormat = Literal["auto", "yolo", "xyxy", "xywh"]


@dataclass(frozen=True)
class Options:
    """What `linsight evaluate detections` takes."""

    gt: Path
    """Ground truth: COCO's JSON, a folder of VOC's XML files, or a folder with a text file for each image."""
    dt: Path
    """Detections: COCO's results, a folder of VOC's comp4_det_test_CLASS.txt, or of text files."""
    protocol: str = "coco"
    """coco, voc07, voc10, ultralytics; several with commas between are compared."""
    iou: Literal["box", "mask", "keypoints"] = "box"
    """What overlaps; masks and keypoints are in COCO's files alone, and of protocol coco alone."""
    sigmas: tuple[float, ...] = ()
    """One for each keypoint; COCO's seventeen if not given."""
    gt_format: TextFormat = "auto"
    """What the lines of text files of ground truth are, which is never guessed: a class, then a box; yolo:
    centre and size in units of the image; xyxy, xywh: in pixels."""
    dt_format: TextFormat = "auto"
    """The same of detections; the score comes last."""
    categories: Path | None = None
    """For text files: a file with the name of a class on each line, the first being class 0."""
    images: Path | None = None
    """For text files: the folder of the images, whose sizes and names are read."""
    per_class: bool = False
    """Print a row for each class."""
    json: bool = False
    """Print the numbers as JSON."""
    html: Path | None = None
    """Write a page: precision and recall, confusion, kinds of error, worst images."""


def run(arguments: Sequence[str]) -> int:
    """Evaluate; prints the numbers, and the path of the page last."""
    options = parse(
        Options,
        arguments,
        prog="linsight evaluate detections",
        description="Average precision of detections, and why protocols differ about it.",
    )
    from linsight.cli.annotated import Texts
    from linsight.cli.detecting import Request, evaluate

    request = Request(
        protocols=tuple(options.protocol.split(",")),
        overlap=options.iou,
        sigmas=options.sigmas,
        per_class=options.per_class,
        as_json=options.json,
        page=options.html,
        command=shlex.join(["linsight", "evaluate", "detections", *arguments]),
    )
    texts = Texts(options.gt_format, options.dt_format, options.categories, options.images)
    evaluate(options.gt, options.dt, request, texts)
    return 0
