"""A network of gaze on pictures of persons: where it says they look, how sure it is, how long it took."""

import time
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from linsight.data.gaze import Eyes, EyeSamples
from linsight.models.vision import GazeNet
from linsight.models.vision.codecs import Codec, ScaledCodec, VonMisesFisher
from linsight.ops import angular_error, to_vector
from linsight.tasks.base import Progress
from linsight.tasks.joining import joined

__all__ = ["Found", "angle", "deviations", "find"]

BATCH = 100


class Found(NamedTuple):
    """Pictures of a split, and what a network says of each; angles are (pitch, yaw) in radians, float64."""

    eyes: EyeSamples
    angles: Float[Tensor, "pictures 2"]
    mirrored: Float[Tensor, "pictures 2"]
    """What it says of the mirror image, mirrored back."""
    flipped: Float[Tensor, "pictures 2"]
    """By the mean of both."""
    sigma: Float[Tensor, "pictures 2"] | None
    """Deviations in radians; None of a codec that has none."""
    outputs: dict[str, Tensor]
    """Of densities alone: what the codec reads."""
    level: Float[Tensor, "pictures"] | None
    """See `ScaledCodec.level`; None of a codec without a density."""
    nll: Float[Tensor, "pictures"] | None
    """-log p of the labels in nats, over square radians."""
    seconds: float
    """For each picture, without the mirror image."""

    @property
    def degrees(self) -> Float[Tensor, "pictures"]:
        """The angle between what was found and the truth."""
        return angle(self.angles, self.eyes.gaze)

    @property
    def persons(self) -> Int64[Tensor, "pictures"]:
        """The place of each picture's person among the sorted persons."""
        return torch.unique(self.eyes.person, return_inverse=True)[1].reshape(-1)


def angle(one: Float[Tensor, "pictures 2"], other: Float[Tensor, "pictures 2"]) -> Float[Tensor, "pictures"]:
    """Degrees between directions."""
    return torch.rad2deg(angular_error(to_vector(one), to_vector(other)))


@torch.inference_mode()
def find(
    net: GazeNet,
    data: Eyes,
    persons: Integer[np.ndarray, "rows"],
    items: Integer[np.ndarray, "rows"],
    *,
    mirror: bool = True,
    what: str = "pictures",
    progress: Progress | None = None,
) -> Found:
    """The network on these pictures, computed where it is.

    Args:
        net: In evaluation mode.
        data: What to render, the law of its labels included.
        persons, items: Of each picture.
        mirror: Whether to look at mirror images too; without, `mirrored` and `flipped` are `angles`.
        what: Told to `progress`.
        progress: Told how far it is.
    """
    device, codec = next(net.parameters()).device, net.codec
    parts: list[Found] = []
    for first in range(0, len(persons), BATCH):
        rows = slice(first, first + BATCH)
        eyes = data.samples(persons[rows], items[rows])
        images, head = (eyes.image.float() / 255).to(device), eyes.head.float().to(device)
        begin = time.perf_counter()
        outputs = net(images, head)
        keypoints = codec.decode(outputs)
        seconds = (time.perf_counter() - begin) / len(images)
        angles = _angles(keypoints.xy)
        mirrored = flipped = angles
        if mirror:
            others = net.mirrored(images, head)
            mirrored = _angles(codec.decode(others).xy)
            flipped = _angles(codec.decode(codec.average(outputs, others)).xy)
        density = codec if isinstance(codec, ScaledCodec | VonMisesFisher) else None
        targets = codec.encode(
            eyes.label.float()[:, None].to(device), torch.ones(len(images), 1, dtype=torch.int64).to(device)
        )
        parts.append(
            Found(
                eyes,
                angles,
                mirrored,
                flipped,
                None if keypoints.sigma is None else _angles(deviations(codec, keypoints.sigma)),
                {name: one.cpu() for name, one in outputs.items()} if density else {},
                density.level(outputs, targets)[:, 0].cpu() if density else None,
                density.nll(outputs, targets)[:, 0].cpu() if density else None,
                seconds,
            )
        )
        if progress:
            progress(what, min(first + BATCH, len(persons)), len(persons))
    return joined(parts)


def deviations(codec: Codec, sigma: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    """What a codec's sigmas, in radians, are as deviations of its errors; see `ScaledCodec.deviations`."""
    return codec.deviations(sigma) if isinstance(codec, ScaledCodec) else sigma


def _angles(pairs: Float[Tensor, "batch 1 2"]) -> Float[Tensor, "batch 2"]:
    return pairs[:, 0].double().cpu()
