"""Gaze: eyes of persons, codecs of directions, calibration to a person, the point that is looked at."""

from linsight.tasks.gaze.calibration import (
    CalibrationCurve,
    GazeCalibration,
    calibrate,
    calibration_curve,
    calibration_kinds,
    leave_one_out,
)
from linsight.tasks.gaze.calibration_file import load_calibration, save_calibration
from linsight.tasks.gaze.looked_at import LookedAt, read_looked_at
from linsight.tasks.gaze.looking import Look, gaze_in_box
from linsight.tasks.gaze.pictures import gaze_arrow
from linsight.tasks.gaze.roles import PersonRoles
from linsight.tasks.gaze.screen import Screen, ScreenFit, calibrate_screen, screen_point
from linsight.tasks.gaze.task import GazeConfig, GazeTask

__all__ = [
    "CalibrationCurve",
    "GazeCalibration",
    "GazeConfig",
    "GazeTask",
    "Look",
    "LookedAt",
    "PersonRoles",
    "Screen",
    "ScreenFit",
    "calibrate",
    "calibrate_screen",
    "calibration_curve",
    "calibration_kinds",
    "gaze_arrow",
    "gaze_in_box",
    "leave_one_out",
    "load_calibration",
    "read_looked_at",
    "save_calibration",
    "screen_point",
]
