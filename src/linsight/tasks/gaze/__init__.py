"""Gaze estimation: calibration to a person, and the point on the screen that is looked at."""

from linsight.tasks.gaze.calibration import (
    CalibrationCurve,
    GazeCalibration,
    calibrate,
    calibration_curve,
    calibration_kinds,
    leave_one_out,
)
from linsight.tasks.gaze.screen import Screen, ScreenFit, calibrate_screen, screen_point

__all__ = [
    "CalibrationCurve",
    "GazeCalibration",
    "Screen",
    "ScreenFit",
    "calibrate",
    "calibrate_screen",
    "calibration_curve",
    "calibration_kinds",
    "leave_one_out",
    "screen_point",
]
