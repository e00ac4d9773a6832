"""Pyramid backbones from tiny to large, with one mixer throughout."""

from typing import Any, Literal

from linsight.mixers import config
from linsight.models.sequence import SequenceConfig
from linsight.models.vision.backbone import PyramidConfig

__all__ = ["SIZES", "Size", "pyramid"]

Size = Literal["tiny", "small", "base", "large"]

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "tiny": ((32, 64, 128, 256), (1, 1, 2, 1)),
    "small": ((64, 128, 256, 512), (2, 2, 4, 2)),
    "base": ((96, 192, 384, 768), (2, 2, 9, 2)),
    "large": ((128, 256, 512, 1024), (3, 3, 18, 3)),
}
"""Widths and depths of the four stages: 1.2, 9.0, 28 and 84 million parameters with linear attention."""


def pyramid(size: Size = "tiny", mixer: Any = None, **options: Any) -> PyramidConfig:
    """The configuration of a backbone of this size with this mixer in every block.

    Args:
        size: `tiny`, `small`, `base`, `large`.
        mixer: A mixer's configuration, any kind; None for linear attention.
        options: Other fields of `PyramidConfig`.

    Raises:
        ValueError: An unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"size: expected one of {', '.join(SIZES)}, got {size!r}")
    mixers = (config("linear") if mixer is None else mixer,)
    stages = tuple(
        SequenceConfig(dim=dim, layers=layers, mlp_dim=2 * dim, mixers=mixers)
        for dim, layers in zip(*SIZES[size], strict=True)
    )
    return PyramidConfig(stages=stages, **options)
