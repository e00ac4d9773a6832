"""Networks of vision: pyramid backbones with any mixer, decoders with any upsampler."""

from linsight.models.vision.backbone import Pyramid, PyramidBackbone, PyramidConfig
from linsight.models.vision.decoders import (
    DECODERS,
    FCN,
    FPN,
    AnyDecoderConfig,
    Decoder,
    DecoderConfig,
    FCNConfig,
    FPNConfig,
    UNet,
    UNetConfig,
    climb,
    decoder_config,
)
from linsight.models.vision.dense import DenseConfig, DenseModel
from linsight.models.vision.detector import CentreMaps, Detector, DetectorConfig, Found, found_boxes
from linsight.models.vision.gaze import GazeNet, GazeNetConfig
from linsight.models.vision.gaze_video import GazeVideoNet, GazeVideoNetConfig
from linsight.models.vision.keypoints import KeypointNet, KeypointNetConfig
from linsight.models.vision.parts import ChannelNorm
from linsight.models.vision.presets import SIZES, pyramid
from linsight.models.vision.residual import ResidualBackbone, ResidualConfig
from linsight.models.vision.stage import Stage

__all__ = [
    "DECODERS",
    "FCN",
    "FPN",
    "SIZES",
    "AnyDecoderConfig",
    "CentreMaps",
    "ChannelNorm",
    "Decoder",
    "DecoderConfig",
    "DenseConfig",
    "DenseModel",
    "Detector",
    "DetectorConfig",
    "FCNConfig",
    "FPNConfig",
    "Found",
    "GazeNet",
    "GazeNetConfig",
    "GazeVideoNet",
    "GazeVideoNetConfig",
    "KeypointNet",
    "KeypointNetConfig",
    "Pyramid",
    "PyramidBackbone",
    "PyramidConfig",
    "ResidualBackbone",
    "ResidualConfig",
    "Stage",
    "UNet",
    "UNetConfig",
    "climb",
    "decoder_config",
    "found_boxes",
    "pyramid",
]
