"""A network of keypoints: a crop to the outputs of a codec, on the features that the codec asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight.config import Config
from linsight.models.vision.backbone import PyramidConfig
from linsight.models.vision.codecs import (
    Codec,
    Expectation,
    Heatmap,
    Keypoints,
    Outputs,
    Pixels,
    SimCC,
    codec_from_words,
)
from linsight.models.vision.decoders import AnyDecoderConfig, UNetConfig, require_features

__all__ = ["KeypointNet", "KeypointNetConfig"]

Pool = Literal["places", "mean"]


@dataclass(frozen=True)
class KeypointNetConfig(Config):
    """A backbone, the codec of the output, and what stands between: a decoder for maps, a pool for points."""

    kind: Literal["keypoint_net"] = "keypoint_net"
    size: tuple[int, int] = (64, 48)
    """Height and width of the crops in pixels."""
    joints: int = 17
    codec: str = "heatmap"
    """NAME, or NAME OPTION=VALUE ..., of `linsight.models.vision.codecs`. Where no stride is given, maps have
    that of the backbone's finest map (divided by 2 for each upsampling of the head), `simcc` that of the
    coarsest."""
    backbone: PyramidConfig = field(default_factory=PyramidConfig)
    decoder: AnyDecoderConfig = field(default_factory=UNetConfig)
    """Of codecs with maps: `unet` or `fpn`."""
    dim: int = 64
    """Features that maps are made of, or that points are read from with pool `places`."""
    pool: Pool = "places"
    """What codecs of points read: `places`, a layer that knows where on the coarsest map a feature is;
    `mean`: its mean, as published."""
    narrow: int = 32
    """Channels of the coarsest map before the layer of `places`."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name in ("joints", "dim", "narrow"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size: expected height and width of at least 1, got {self.size}")
        require_features(self.decoder)
        self.decoder.check_pooling(self.backbone.downsample)
        self.level(self.build_codec())

    def build_codec(self) -> Codec:
        """The codec, with this crop."""
        height, width = self.size
        first, *words = self.codec.split() or [""]
        finest, coarsest = self.backbone.strides[0], self.backbone.strides[-1]
        ups = [word.removeprefix("upsamplings=") for word in words if word.startswith("upsamplings=")]
        times = 2 ** int(ups[-1]) if ups and ups[-1].isdigit() else 1
        stride = coarsest if first == "simcc" else max(1, finest // times)
        return codec_from_words(self.codec, Pixels(width, height), stride=stride)

    def level(self, codec: Codec) -> int:
        """Which of the backbone's maps, from fine to coarse, the head reads.

        Raises:
            ValueError: A stride that no map has.
        """
        strides = self.backbone.strides
        if isinstance(codec, (Heatmap, Expectation)):
            wanted = codec.grid.stride * 2**codec.upsamplings
        elif isinstance(codec, SimCC):
            wanted = codec.stride
        else:
            return len(strides) - 1
        if wanted not in strides:
            raise ValueError(
                f"codec {self.codec!r}: expected features of a stride that the backbone has, "
                f"{', '.join(map(str, strides))}, got {wanted}"
            )
        return strides.index(wanted)

    def build(self) -> "KeypointNet":
        """The network."""
        return KeypointNet(self)


class KeypointNet(nn.Module):
    """Keypoints of a crop: `outputs = net(images)`, read by `net.codec`; `net.keypoints(images)` does both.

    * Codecs with maps read a decoder's features at the stride of their maps (before their own upsamplings).
    * `simcc` reads the backbone's map of its stride.
    * Codecs of points read the coarsest map: its mean, or a layer over all its places.

    The codec is part of the network, so that what it learns itself, as RLE's flow, reaches the optimiser;
    neither `forward` nor `keypoints` uses that.

    Args:
        config: See `KeypointNetConfig`.

    Cost: that of the backbone, linear in pixels where its mixers are linear in tokens, and of the head.

    Example:
        >>> import torch
        >>> net = KeypointNetConfig(codec="rle").build()
        >>> net.keypoints(torch.rand(2, 3, 64, 48)).xy.shape
        torch.Size([2, 17, 2])
    """

    def __init__(self, config: KeypointNetConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.codec = config.build_codec()
        self.level = config.level(self.codec)
        channels, strides = config.backbone.channels[self.level :], config.backbone.strides[self.level :]
        self.decoder = self.narrow = self.read = None
        inputs = channels[0]
        if isinstance(self.codec, (Heatmap, Expectation)):
            # To the decoder, the cells of the finest map are the pixels.
            relative = tuple(stride // strides[0] for stride in strides)
            self.decoder = config.decoder.build(channels, relative, config.dim)
            inputs = config.dim
        elif config.pool == "places" and not isinstance(self.codec, SimCC):
            self.narrow = nn.Conv2d(channels[0], config.narrow, 1)
            rows, columns = (-(-side // strides[0]) for side in config.size)
            self.read = nn.Linear(config.narrow * rows * columns, config.dim)
            inputs = config.dim
        self.head = self.codec.head(inputs, config.joints)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Outputs:
        """The codec's outputs of crops in [0, 1].

        Raises:
            ValueError: Crops of another size or other channels.
        """
        height, width = images.shape[2:]
        if (height, width) != tuple(self.config.size):
            raise ValueError(
                f"images: expected height and width {tuple(self.config.size)}, got {(height, width)}; "
                "crop them to that"
            )
        maps, indices = self.backbone(images)
        features = maps[self.level]
        if self.decoder is not None:
            finest = (features.shape[2], features.shape[3])
            features = F.gelu(self.decoder(maps[self.level :], finest, indices[self.level :]))
        elif self.narrow is not None and self.read is not None:
            features = F.gelu(self.read(self.narrow(features).flatten(1)))
        return self.head(features)

    def keypoints(
        self,
        images: Float[Tensor, "batch channels height width"],
        *,
        pairs: Sequence[tuple[int, int]] | None = None,
    ) -> Keypoints:
        """What the codec reads from the outputs, places in pixels of the crop.

        Args:
            images: As `forward`.
            pairs: (left, right) joints: the outputs are then the mean of those for the crop and, mirrored
                back, for its mirror image (the flip test), at twice the cost.
        """
        outputs = self(images)
        if pairs is not None:
            mirrored = self.codec.flip(self(images.flip(3)), pairs)
            outputs = self.codec.average(outputs, mirrored)
        return self.codec.decode(outputs)
