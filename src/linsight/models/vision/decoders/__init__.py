"""Decoders: maps of several strides to logits of every pixel, with any upsampler by name."""

from linsight.models.vision.decoders.base import Decoder, DecoderConfig, climb
from linsight.models.vision.decoders.build import DECODERS, AnyDecoderConfig, decoder_config, require_features
from linsight.models.vision.decoders.fcn import FCN, FCNConfig
from linsight.models.vision.decoders.fpn import FPN, FPNConfig
from linsight.models.vision.decoders.unet import UNet, UNetConfig

__all__ = [
    "DECODERS",
    "FCN",
    "FPN",
    "AnyDecoderConfig",
    "Decoder",
    "DecoderConfig",
    "FCNConfig",
    "FPNConfig",
    "UNet",
    "UNetConfig",
    "climb",
    "decoder_config",
    "require_features",
]
