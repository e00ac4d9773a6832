"""`linsight calibrate SAMPLES`: a person's calibration of gaze from few pictures, with an honest error."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from linsight.cli.parsing import parse
from linsight.cli.predicting import box_in, read_picture, trained

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Options", "run"]

DESCRIPTION = """Fit to a person what a trained run of gaze gets wrong about them, and write it for
linsight predict gaze --calibration. What no picture shows is where a person's fovea is; some pictures of them
looking at points that are known do tell it: five take most of it away, nine are usual.

SAMPLES is a JSON list of [{"image": "1.png", "gaze": [PITCH, YAW]}, ...] in degrees; or, in place of gaze,
"eye" and "target": the points [x, y, z] of the camera's frame (x right, y down, z forward) that they looked
from and at. Beside these "box": [x, y, width, height], "right": true, "head": [PITCH, YAW], as for predict.

The errors printed are by leave-one-out: each sample is measured by a fit to the others. That of the samples
that were fitted would flatter.
"""


@dataclass(frozen=True)
class Options:
    """What `linsight calibrate` takes."""

    samples: Annotated[Positional[Path], arg(metavar="SAMPLES")]
    """The JSON file of pictures, and where the person looked in each."""
    run: Path | None = None
    """The run folder; none: runs/gaze, where linsight train gaze puts its run."""
    kind: Literal["offset", "ridge", "affine"] = "ridge"
    """What is written: a shift; a shift and as much of an affine map as the samples bear; an affine map."""
    out: Annotated[Path | None, arg(aliases=["-o"], metavar="FILE")] = None
    """Where to; none: beside the samples, as SAMPLES-calibration.json."""
    json: bool = False
    """Print the errors as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Calibrate; prints the errors of every kind, and the path of the file last."""
    options = parse(Options, arguments, prog="linsight calibrate", description=DESCRIPTION)
    from linsight.tasks.gaze import calibrate, read_looked_at, save_calibration

    samples = read_looked_at(options.samples)
    file = options.out or options.samples.with_name(f"{options.samples.stem}-calibration.json")
    if file.is_dir():
        raise ValueError(f"--out: expected a file, got the folder {file}")
    _, model = trained("gaze", options.run)
    found, truth = _seen(model, samples)
    fitted = calibrate(options.kind, found, truth)
    errors = _errors(found, truth)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_calibration(fitted, file)
    if options.json:
        told = {name: None if math.isnan(one) else round(one, 4) for name, one in errors.items()}
        shown = {"samples": len(samples), "kind": options.kind, "degrees": told, "calibration": str(file)}
        print(json.dumps(shown, indent=2))
        return 0
    print(f"mean error of {len(samples)} samples, by leave-one-out")
    for name, one in errors.items():
        print(f"{name:<8}{'      -' if math.isnan(one) else f'{one:7.2f}'} degrees")
    print(file)
    return 0


def _seen(model: Any, samples: Sequence[Any]) -> "tuple[Tensor, Tensor]":
    """What the network says and what is true, (samples, 2) in radians, right eyes as their mirror images."""
    import torch

    from linsight.data.gaze import mirror_angles
    from linsight.tasks.gaze import gaze_in_box

    found, truth = [], []
    for sample in samples:
        image = read_picture(sample.image)
        box = None if sample.box is None else box_in(",".join(map(str, sample.box)), image)
        look = gaze_in_box(model, image, box, right=sample.right, head=sample.head)
        sides = (look.angles, sample.gaze)
        said, true = (mirror_angles(one) for one in sides) if sample.right else sides
        found.append(said)
        truth.append(true)
    return torch.stack(found), torch.stack(truth)


def _errors(found: "Tensor", truth: "Tensor") -> dict[str, float]:
    """Mean degrees without calibration and, by leave-one-out, with each kind; NaN of too few samples."""
    from linsight.tasks.gaze import calibration_kinds, leave_one_out

    errors = {}
    for kind in calibration_kinds():
        try:
            errors[kind] = math.degrees(float(leave_one_out(kind, found, truth).mean()))
        except ValueError:  # an affine map of fewer samples than it takes
            errors[kind] = math.nan
    return errors
