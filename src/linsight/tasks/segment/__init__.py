"""The class of every pixel: scenes of digits on textures."""

from linsight.tasks.segment.colours import COLOURS, coloured, overlaid
from linsight.tasks.segment.task import SegmentConfig, SegmentTask
from linsight.tasks.segment.tiles import predict_tiled

__all__ = ["COLOURS", "SegmentConfig", "SegmentTask", "coloured", "overlaid", "predict_tiled"]
