"""The table of decoders."""

from typing import Any

from linsight.config import of_kind
from linsight.models.vision.decoders.base import DecoderConfig
from linsight.models.vision.decoders.fcn import FCNConfig
from linsight.models.vision.decoders.fpn import FPNConfig
from linsight.models.vision.decoders.unet import UNetConfig

__all__ = ["DECODERS", "AnyDecoderConfig", "decoder_config", "require_features"]

AnyDecoderConfig = FCNConfig | UNetConfig | FPNConfig
"""The configuration of one decoder, told apart by `kind`."""

DECODERS: dict[str, type[DecoderConfig]] = {"fcn": FCNConfig, "unet": UNetConfig, "fpn": FPNConfig}
"""The configurations of all decoders by name."""


def decoder_config(kind: str, **options: Any) -> Any:
    """The configuration of the decoder of this name.

    Raises:
        ValueError: An unknown kind, or an option that this kind does not have.
    """
    return of_kind("decoder", DECODERS, kind, options)


def require_features(decoder: AnyDecoderConfig) -> None:
    """Refuse, for networks whose heads read features, a decoder that has none."""
    if decoder.kind == "fcn":
        raise ValueError("decoder: expected 'unet' or 'fpn', got 'fcn', which has scores and no features")
