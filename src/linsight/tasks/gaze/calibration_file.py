"""A person's calibration as a file."""

import json
import math
import os
from pathlib import Path

import torch

from linsight.tasks.gaze.calibration import GazeCalibration

__all__ = ["load_calibration", "save_calibration"]

_SHAPES = {"matrix": (2, 2), "shift": (2,), "residual": (2,)}


def save_calibration(calibration: GazeCalibration, file: str | os.PathLike[str]) -> None:
    """Write the calibration as JSON: its matrix, shift and residual, in radians, exactly."""
    values = {name: one.tolist() for name, one in calibration.state_dict().items()}
    Path(file).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def load_calibration(file: str | os.PathLike[str]) -> GazeCalibration:
    """The calibration of a file that `save_calibration` wrote.

    Raises:
        FileNotFoundError: No file is there.
        ValueError: It holds something else.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such file; expected a calibration")
    try:
        values = json.loads(Path(file).read_text(encoding="utf-8"))
        state = {name: torch.tensor(one, dtype=torch.float64) for name, one in values.items()}
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{file}: expected a calibration, got something else ({error})") from None
    found = {name: tuple(one.shape) for name, one in state.items()}
    if found != _SHAPES or not all(math.isfinite(float(one.sum())) for one in state.values()):
        raise ValueError(f"{file}: expected finite numbers of {_SHAPES}, got {found}")
    calibration = GazeCalibration()
    calibration.load_state_dict(state)
    return calibration
