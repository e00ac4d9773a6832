"""Gaze over video: clips of eyes, a network that remembers the frames before."""

from linsight.tasks.gaze_video.task import GazeVideoConfig, GazeVideoTask

__all__ = ["GazeVideoConfig", "GazeVideoTask"]
