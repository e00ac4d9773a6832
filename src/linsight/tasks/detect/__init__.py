"""Objects and their boxes: digits in scenes, by a detector of centres."""

from linsight.tasks.detect.evaluation import Measured, measure_detector
from linsight.tasks.detect.task import DetectConfig, DetectTask

__all__ = ["DetectConfig", "DetectTask", "Measured", "measure_detector"]
