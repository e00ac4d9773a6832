"""Codecs of keypoints and gaze: encode, head, loss, decode, score, flip, each by name."""

from linsight.models.vision.codecs.angles import Bins, Pinball, VonMisesFisher
from linsight.models.vision.codecs.base import Codec, Keypoints, Outputs
from linsight.models.vision.codecs.build import CODECS, codec_names, codec_options, make_codec
from linsight.models.vision.codecs.grid import Grid, gaussian_maps
from linsight.models.vision.codecs.heads import BinHead, MapHead, PooledHead
from linsight.models.vision.codecs.heatmap import Heatmap
from linsight.models.vision.codecs.integral import Expectation
from linsight.models.vision.codecs.likelihood import Likelihood, ScaledCodec
from linsight.models.vision.codecs.peaks import (
    argmax_peak,
    dark_peak,
    dark_peak_1d,
    expectation,
    quarter_peak,
)
from linsight.models.vision.codecs.regression import PointCodec, Regression
from linsight.models.vision.codecs.rle import RLE
from linsight.models.vision.codecs.simcc import SimCC
from linsight.models.vision.codecs.space import Directions, Pixels, Space
from linsight.models.vision.codecs.words import codec_from_words

__all__ = [
    "CODECS",
    "RLE",
    "BinHead",
    "Bins",
    "Codec",
    "Directions",
    "Expectation",
    "Grid",
    "Heatmap",
    "Keypoints",
    "Likelihood",
    "MapHead",
    "Outputs",
    "Pinball",
    "Pixels",
    "PointCodec",
    "PooledHead",
    "Regression",
    "ScaledCodec",
    "SimCC",
    "Space",
    "VonMisesFisher",
    "argmax_peak",
    "codec_from_words",
    "codec_names",
    "codec_options",
    "dark_peak",
    "dark_peak_1d",
    "expectation",
    "gaussian_maps",
    "make_codec",
    "quarter_peak",
]
