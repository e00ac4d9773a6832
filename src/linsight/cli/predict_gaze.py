"""`linsight predict gaze IMAGE`: where an eye looks, in degrees and as an arrow on the picture."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from linsight.cli.parsing import parse
from linsight.cli.predicting import PredictOptions, box_in, files_in, read_picture, seen, trained, write_files

__all__ = ["Options", "run"]

DESCRIPTION = """Write the picture with the gaze of one eye as an arrow; print pitch and yaw in degrees, and
the standard deviation of each where the run's codec has one.

Pitch is positive upwards, yaw to the left of the picture; 0 and 0 look into the camera. The crop is --box,
enlarged to the shape of training's pictures, or the whole picture: it should be about 37 mm wide, with the
eye in its middle. A model of synthetic eyes says nothing reliable of photographs.
"""


@dataclass(frozen=True)
class Options(PredictOptions):
    """What `linsight predict gaze` takes."""

    box: Annotated[str | None, arg(metavar="X,Y,WIDTH,HEIGHT")] = None
    """Where the eye is, in pixels from the upper left; none: the whole picture is the crop."""
    right: bool = False
    """The eye is the person's right one, whose nose is to the right in the picture."""
    head: Annotated[str | None, arg(metavar="PITCH,YAW")] = None
    """The pose of the head in degrees, for a model that takes it; --head=-5,10 where pitch is negative."""
    calibration: Annotated[Path | None, arg(metavar="FILE")] = None
    """The person's calibration, which linsight calibrate has written."""


def run(arguments: Sequence[str]) -> int:
    """Predict; prints the angles, and the path of the picture last."""
    options = parse(Options, arguments, prog="linsight predict gaze", description=DESCRIPTION)
    from linsight.models.vision import GazeNet
    from linsight.reports.figures import png_of
    from linsight.tasks.exhibits import Box, Picture, Pictures
    from linsight.tasks.gaze import gaze_arrow, gaze_in_box, load_calibration

    image = read_picture(options.image)
    box = None if options.box is None else box_in(options.box, image)
    head = None if options.head is None else _pose(options.head)
    calibration = None if options.calibration is None else load_calibration(options.calibration)
    made, model = trained("gaze", options.run)
    assert isinstance(model, GazeNet)  # the model of this task
    (file,) = files_in(options, made, "gaze.png")
    found = gaze_in_box(model, image, box, right=options.right, head=head, calibration=calibration)
    marks = () if box is None else (Box(box, role="truth"),)
    arrow = gaze_arrow(found.middle, found.angles, found.width / 2)
    picture = Picture(image, "", marks, (arrow,))
    write_files({file: png_of(Pictures("gaze", f"Gaze in {options.image.name}", (picture,), 1))})
    degrees = {"pitch": found.angles[0], "yaw": found.angles[1]}
    sigma = None if found.sigma is None else dict(zip(degrees, found.sigma, strict=True))
    if options.json:
        told = {
            **seen(options, made, image),
            "box": None if box is None else list(box),
            "degrees": {name: round(math.degrees(one), 4) for name, one in degrees.items()},
            "sigma_degrees": sigma and {name: round(math.degrees(one), 4) for name, one in sigma.items()},
            "picture": str(file),
        }
        print(json.dumps(told, indent=2))
        return 0
    for name, one in degrees.items():
        about = f"  +- {math.degrees(sigma[name]):.2f}" if sigma else ""
        print(f"{name:<6}{math.degrees(one):+8.2f}{about}")
    print(file)
    return 0


def _pose(text: str) -> tuple[float, float]:
    try:
        pitch, yaw = (float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(f"--head: expected PITCH,YAW in degrees, got {text!r}") from None
    if not (abs(pitch) <= 90 and abs(yaw) <= 180):
        raise ValueError(f"--head: expected a pitch within 90 and a yaw within 180 degrees, got {text!r}")
    return math.radians(pitch), math.radians(yaw)
