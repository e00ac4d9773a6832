"""Heads: features to the outputs that a codec reads."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from linsight.nn import Hinted
from linsight.nn.upsampling import make_upsampler
from linsight.nn.upsampling.base import zero_bias

__all__ = ["BinHead", "MapHead", "Output", "PooledHead"]


class Output(NamedTuple):
    """One output of a pooled head: its width a joint, what follows the linear layer, where it begins."""

    width: int
    activation: nn.Module
    start: float = 0.0


class PooledHead(Hinted):
    """The mean over the map, then a linear layer for each output: a dict of `(batch, joints, width)`.

    In float32 under autocast: bfloat16 would round places in a crop of 256 pixels to whole pixels.

    Args:
        in_channels: Of the features.
        keypoints: Joints.
        outputs: By name.
        feature_norm: Divide what the first layer makes by the features' length before the bias, as the first
            code of RLE does.

    Raises:
        ValueError: Numbers below 1; features of other channels or another rank.
    """

    def __init__(
        self, in_channels: int, keypoints: int, outputs: Mapping[str, Output], *, feature_norm: bool = False
    ) -> None:
        super().__init__()
        _check_sizes(in_channels, keypoints)
        self.in_channels, self.keypoints, self.feature_norm = in_channels, keypoints, feature_norm
        self.layers, self.activations = nn.ModuleDict(), nn.ModuleDict()
        for name, one in outputs.items():
            layer = nn.Linear(in_channels, keypoints * one.width)
            nn.init.xavier_uniform_(layer.weight, gain=0.01)
            nn.init.constant_(layer.bias, one.start)
            self.layers[name], self.activations[name] = layer, one.activation
        self.hint_outputs("layers")

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Outputs of features `(batch, in_channels)` or `(batch, in_channels, height, width)`."""
        if features.ndim not in (2, 4) or features.shape[1] != self.in_channels:
            raise ValueError(
                f"features: expected (batch, {self.in_channels}) or (batch, {self.in_channels}, height, "
                f"width), got {tuple(features.shape)}"
            )
        with torch.autocast(features.device.type, enabled=False):
            like = next(self.parameters())
            x = features.to(like.dtype)
            pooled = x.mean((2, 3)) if x.ndim == 4 else x
            outputs = {}
            for number, (name, layer) in enumerate(self.layers.items()):
                read = (
                    nn.functional.normalize(pooled, eps=1e-6) if self.feature_norm and not number else pooled
                )
                values = layer(read).unflatten(1, (self.keypoints, -1))
                outputs[name] = self.activations[name](values)
            return outputs


class MapHead(Hinted):
    """A map for each joint: `{"maps": (batch, joints, height, width)}`, in float32 at least.

    Args:
        in_channels: Of the features.
        keypoints: Joints.
        upsamplings: Transposed convolutions before the last layer, each twice as fine; Xiao et al. 2018 has
            3.
        width: Channels of those.
        sharpness: A learnt factor on the maps, from this value on; None for none.

    Raises:
        ValueError: Numbers below 1; features of other channels or another rank.
    """

    def __init__(
        self,
        in_channels: int,
        keypoints: int,
        *,
        upsamplings: int = 0,
        width: int = 256,
        sharpness: float | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(in_channels, keypoints)
        self.in_channels = in_channels
        stages: list[nn.Module] = []
        for number in range(upsamplings):
            up = make_upsampler("deconv4", width if number else in_channels, width)
            stages.append(nn.Sequential(up, nn.GroupNorm(1, width), nn.ReLU()))
        self.stages = nn.Sequential(*stages)
        self.last = nn.Conv2d(width if upsamplings else in_channels, keypoints, 1)
        nn.init.normal_(self.last.weight, std=1e-3)
        zero_bias(self.last)
        self.hint_outputs("last")
        self.sharpness = None if sharpness is None else nn.Parameter(torch.tensor(float(sharpness)))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Maps of features `(batch, in_channels, height, width)`."""
        _check_map(features, self.in_channels)
        maps = self.last(self.stages(features))
        maps = maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps
        return {"maps": maps if self.sharpness is None else self.sharpness * maps}


class BinHead(Hinted):
    """Logits over bins of each axis: `{"x": (batch, joints, bins_x), "y": ...}`, in float32 under autocast.

    A 1 x 1 convolution to one map a joint, flattened, and a linear layer for each axis (Li et al. 2022).

    Args:
        in_channels: Of the features.
        keypoints: Joints.
        grid: (height, width) of the features.
        bins: By axis.

    Raises:
        ValueError: Numbers below 1; features of another shape.
    """

    def __init__(
        self, in_channels: int, keypoints: int, grid: tuple[int, int], bins: Mapping[str, int]
    ) -> None:
        super().__init__()
        _check_sizes(in_channels, keypoints)
        self.in_channels, self.grid = in_channels, grid
        self.reduce = nn.Conv2d(in_channels, keypoints, 1)
        self.layers = nn.ModuleDict(
            {name: nn.Linear(grid[0] * grid[1], number) for name, number in bins.items()}
        )
        self.hint_outputs("layers")

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Logits of features `(batch, in_channels, *grid)`."""
        _check_map(features, self.in_channels)
        if tuple(features.shape[2:]) != self.grid:
            raise ValueError(f"features: expected a map of {self.grid}, got {tuple(features.shape[2:])}")
        with torch.autocast(features.device.type, enabled=False):
            flat = self.reduce(features.to(self.reduce.weight.dtype)).flatten(2)
            return {name: layer(flat) for name, layer in self.layers.items()}


def _check_sizes(in_channels: int, keypoints: int) -> None:
    for name, value in (("in_channels", in_channels), ("keypoints", keypoints)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")


def _check_map(features: Tensor, channels: int) -> None:
    if features.ndim != 4 or features.shape[1] != channels:
        raise ValueError(
            f"features: expected (batch, {channels}, height, width), got {tuple(features.shape)}"
        )
