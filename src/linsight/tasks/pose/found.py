"""A network of keypoints on people of a split: what it found, how sure it was, how long it took."""

import time
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from linsight.data import People
from linsight.data.keypoint_noise import AnyKeypointNoise
from linsight.data.people import PAIRS
from linsight.models.vision import KeypointNet
from linsight.models.vision.codecs import ScaledCodec
from linsight.tasks.base import Progress, Split
from linsight.tasks.joining import joined
from linsight.tasks.pose.samples import Labelled, labelled

__all__ = ["SEED", "Found", "find"]

BATCH = 50
SEED = 0  # of the people of an evaluation, whatever the run's seed


class Found(NamedTuple):
    """The people of a split, and what a network says of each."""

    people: Labelled
    xy: Float[Tensor, "people joints 2"]
    """In pixels of the crop, float64."""
    flipped: Float[Tensor, "people joints 2"] | None
    """By the mean with the mirror image; None where that was not looked at."""
    score: Float[Tensor, "people joints"]
    outputs: dict[str, Tensor]
    """Of densities alone: what the codec reads."""
    counted: Bool[Tensor, "people joints"]
    """Whose labels have a weight: within the crop."""
    level: Float[Tensor, "people joints"] | None
    """See `ScaledCodec.level`; None of a codec without a density."""
    nll: Float[Tensor, "people joints"] | None
    """-log p of the labels in nats, over fractions of the crop."""
    seconds: float
    """For each crop, without the mirror image."""

    @property
    def distance(self) -> Float[Tensor, "people joints"]:
        """From the truth, in pixels."""
        return torch.linalg.vector_norm(self.xy - self.people.truth, dim=-1)


@torch.inference_mode()
def find(
    net: KeypointNet,
    data: People,
    law: AnyKeypointNoise,
    split: Split,
    count: int,
    *,
    flip: bool = True,
    progress: Progress | None = None,
) -> Found:
    """The network on the first people of a split, computed where it is.

    Args:
        net: In evaluation mode.
        data: Whom to render.
        law: Of the labels.
        split: Of the data.
        count: How many people.
        flip: Whether to do the flip test too, at twice the cost.
        progress: Told how far it is.
    """
    device = next(net.parameters()).device
    parts: list[Found] = []
    for first in range(0, count, BATCH):
        people = labelled(data, law, split, np.arange(first, min(first + BATCH, count)), seed=SEED)
        images = people.image.to(device)
        begin = time.perf_counter()
        outputs = net(images)
        keypoints = net.codec.decode(outputs)
        seconds = (time.perf_counter() - begin) / len(images)
        targets = net.codec.encode(people.labels.float().to(device), people.visibility.to(device))
        known = isinstance(net.codec, ScaledCodec)
        parts.append(
            Found(
                people,
                keypoints.xy.double().cpu(),
                net.keypoints(images, pairs=PAIRS).xy.double().cpu() if flip else None,
                keypoints.score.cpu(),
                {name: one.cpu() for name, one in outputs.items()} if known else {},
                (targets["weight"] > 0).cpu(),
                net.codec.level(outputs, targets).cpu() if isinstance(net.codec, ScaledCodec) else None,
                net.codec.nll(outputs, targets).cpu() if isinstance(net.codec, ScaledCodec) else None,
                seconds,
            )
        )
        if progress:
            progress(f"{split} people", min(first + BATCH, count), count)
    return joined(parts)
