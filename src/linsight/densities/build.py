"""The table of densities of pixels and the short way to build one."""

from typing import Any

from linsight.config import of_kind
from linsight.densities.deepnade import DeepNADEConfig
from linsight.densities.fvsbn import FVSBNConfig
from linsight.densities.gated_pixelcnn import GatedPixelCNNConfig
from linsight.densities.made import MADEConfig
from linsight.densities.nade import NADEConfig
from linsight.densities.pixelcnn import PixelCNNConfig
from linsight.densities.pixelwise import PixelDensity, PixelDensityConfig

__all__ = ["AnyPixelDensityConfig", "build", "config", "kinds"]

AnyPixelDensityConfig = (
    FVSBNConfig | NADEConfig | DeepNADEConfig | MADEConfig | PixelCNNConfig | GatedPixelCNNConfig
)
"""The configuration of one density, told apart by `kind`."""

_CONFIGS: dict[str, type[PixelDensityConfig]] = {
    "fvsbn": FVSBNConfig,
    "nade": NADEConfig,
    "deepnade": DeepNADEConfig,
    "made": MADEConfig,
    "pixelcnn": PixelCNNConfig,
    "gated_pixelcnn": GatedPixelCNNConfig,
}


def kinds() -> tuple[str, ...]:
    """The names of all densities of pixels."""
    return tuple(_CONFIGS)


def config(kind: str, **options: Any) -> Any:
    """The configuration of the density of this name.

    Raises:
        ValueError: An unknown kind, or an option that this kind does not have.
    """
    return of_kind("density", _CONFIGS, kind, options)


def build(kind: str, **options: Any) -> PixelDensity:
    """The density of this name; `options` are the fields of its configuration.

    Example:
        >>> build("fvsbn", height=8, width=8, label="none")
        FVSBN()
    """
    return config(kind, **options).build()
