"""Readers of public gaze data, all in our convention; they need the extra `gaze`."""

from linsight.data.gaze.readers.gaze360 import GAZE360_SPLITS, GAZE360_SUBSETS, gaze360, gaze360_list
from linsight.data.gaze.readers.gazehub import GAZEHUB_LAYOUTS, gazehub
from linsight.data.gaze.readers.mpiigaze import mpiifacegaze, mpiigaze
from linsight.data.gaze.readers.record import GazeRecord

__all__ = [
    "GAZE360_SPLITS",
    "GAZE360_SUBSETS",
    "GAZEHUB_LAYOUTS",
    "GazeRecord",
    "gaze360",
    "gaze360_list",
    "gazehub",
    "mpiifacegaze",
    "mpiigaze",
]
