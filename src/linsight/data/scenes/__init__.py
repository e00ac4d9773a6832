"""Scenes of digits on textures, for detection and segmentation."""

from linsight.data.scenes.export import ground_truth, picture_name, write_pictures
from linsight.data.scenes.generator import SIZES, Scenes
from linsight.data.scenes.scene import AREA_CLASSES, IGNORED_PIXEL, Scene, count_areas

__all__ = [
    "AREA_CLASSES",
    "IGNORED_PIXEL",
    "SIZES",
    "Scene",
    "Scenes",
    "count_areas",
    "ground_truth",
    "picture_name",
    "write_pictures",
]
