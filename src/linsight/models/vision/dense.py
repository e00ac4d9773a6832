"""A network for dense prediction: a backbone and a decoder, logits of every pixel."""

from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from linsight.config import Config
from linsight.models.vision.backbone import PyramidConfig
from linsight.models.vision.decoders import AnyDecoderConfig, UNetConfig
from linsight.nn import Hinted

__all__ = ["DenseConfig", "DenseModel"]


@dataclass(frozen=True)
class DenseConfig(Config):
    """A backbone, a decoder, and the number of classes."""

    kind: Literal["dense"] = "dense"
    classes: int = 2
    backbone: PyramidConfig = field(default_factory=PyramidConfig)
    decoder: AnyDecoderConfig = field(default_factory=UNetConfig)
    coarse_logits: bool = False
    """Whether the backbone's maps but the finest have classifiers of their own, for training alone."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.classes < 1:
            raise ValueError(f"classes: expected at least 1, got {self.classes}")
        self.decoder.check_pooling(self.backbone.downsample)

    def build(self) -> "DenseModel":
        """The network."""
        return DenseModel(self)


class DenseModel(Hinted):
    """Logits of the class of every pixel: `logits = model(images)`, at the size of the images, any size.

    Args:
        config: See `DenseConfig`.

    Example:
        >>> import torch
        >>> DenseConfig(classes=5).build()(torch.rand(1, 3, 33, 47)).shape
        torch.Size([1, 5, 33, 47])
    """

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.decoder = config.decoder.build(config.backbone.channels, config.backbone.strides, config.classes)
        coarse = config.backbone.channels[1:] if config.coarse_logits else ()
        self.classifiers = nn.ModuleList(nn.Conv2d(channels, config.classes, 1) for channels in coarse)
        self.hint_outputs(*(f"decoder.{name}" for name in self.decoder.outputs), "classifiers")

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Logits `(batch, classes, height, width)` of images `(batch, channels, height, width)` in [0, 1]."""
        maps, indices = self.backbone(images)
        return self.decoder(maps, images.shape[2:], indices)

    def all_logits(self, images: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Those of the pixels, then those of the coarser maps, where they have classifiers."""
        maps, indices = self.backbone(images)
        logits = [self.decoder(maps, images.shape[2:], indices)]
        if self.config.coarse_logits:
            logits += [classify(one) for classify, one in zip(self.classifiers, maps[1:], strict=True)]
        return logits
