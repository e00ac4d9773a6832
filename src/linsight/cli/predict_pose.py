"""`linsight predict pose IMAGE`: the joints of a person, as a skeleton on the picture."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg

from linsight.cli.parsing import parse
from linsight.cli.predicting import PredictOptions, box_in, files_in, read_picture, seen, trained, write_files

__all__ = ["Options", "run"]

DESCRIPTION = """Write the picture with the skeleton of one person; print each joint's name, score, x and y.

The person is cropped as in training: about --box, a quarter larger and enlarged to the crop's shape, or about
the whole picture. Places are in pixels of the picture, the centre of its first pixel at 0. What scores are
depends on the codec of the run; with plain coordinates they are all 1.
"""


@dataclass(frozen=True)
class Options(PredictOptions):
    """What `linsight predict pose` takes."""

    box: Annotated[str | None, arg(metavar="X,Y,WIDTH,HEIGHT")] = None
    """Where the person is, in pixels from the upper left; none: the whole picture is the crop."""
    score: float | None = None
    """The least score of a joint that is drawn; none: all are."""


def run(arguments: Sequence[str]) -> int:
    """Predict; prints the joints, and the path of the picture last."""
    options = parse(Options, arguments, prog="linsight predict pose", description=DESCRIPTION)
    from linsight.data.people import JOINTS
    from linsight.models.vision import KeypointNet
    from linsight.reports.figures import png_of
    from linsight.tasks.exhibits import Box, Picture, Pictures
    from linsight.tasks.pose import found_in_box, skeleton_lines

    image = read_picture(options.image)
    box = None if options.box is None else box_in(options.box, image)
    made, model = trained("pose", options.run)
    assert isinstance(model, KeypointNet)  # the model of this task
    (file,) = files_in(options, made, "pose.png")
    found = found_in_box(model, image, box)
    shown = found.score >= (float("-inf") if options.score is None else options.score)
    boxes = () if box is None else (Box(box, role="truth"),)
    picture = Picture(image, "", boxes, skeleton_lines(found.xy, shown, "found"))
    title = f"Joints in {options.image.name}"
    write_files({file: png_of(Pictures("pose", title, (picture,), 1))})
    rows: list[dict[str, Any]] = []
    for joint, name in enumerate(JOINTS):
        row = {"joint": name, "xy": _rounded(found.xy[joint]), "score": float(found.score[joint])}
        rows.append(row if found.sigma is None else {**row, "sigma": _rounded(found.sigma[joint])})
    if options.json:
        told = {
            **seen(options, made, image),
            "box": None if box is None else list(box),
            "joints": rows,
            "picture": str(file),
        }
        print(json.dumps(told, indent=2))
        return 0
    for row in rows:
        print(f"{row['joint']:<16}{row['score']:7.3f}" + "".join(f"{place:10.2f}" for place in row["xy"]))
    print(file)
    return 0


def _rounded(numbers: Any) -> list[float]:
    return [round(number, 2) for number in numbers.tolist()]
