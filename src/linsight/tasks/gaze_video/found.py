"""A network of gaze over video on clips: what it says with its memory, and without."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from linsight.data.gaze import ClipSamples, EyeClips
from linsight.models.vision import GazeVideoNet
from linsight.tasks.base import Progress
from linsight.tasks.joining import joined

__all__ = ["FoundClips", "find_clips"]

BATCH = 10


class FoundClips(NamedTuple):
    """Clips of a split, and what a network says of each frame: (pitch, yaw) in radians, float64."""

    clips: ClipSamples
    angles: Float[Tensor, "clips frames 2"]
    alone: Float[Tensor, "clips frames 2"]
    """Of each frame as if it were the first of its clip."""

    @property
    def truth(self) -> Float[Tensor, "clips frames 2"]:
        """Where the eye looks."""
        return self.clips.eyes.gaze.unflatten(0, self.angles.shape[:2])


@torch.inference_mode()
def find_clips(
    net: GazeVideoNet,
    data: EyeClips,
    persons: Integer[np.ndarray, "rows"],
    items: Integer[np.ndarray, "rows"],
    *,
    what: str = "clips",
    progress: Progress | None = None,
) -> FoundClips:
    """The network on these clips, computed where it is.

    Args:
        net: In evaluation mode.
        data: What to render.
        persons, items: Of each clip.
        what: Told to `progress`.
        progress: Told how far it is.
    """
    device = next(net.parameters()).device
    parts: list[FoundClips] = []
    for first in range(0, len(persons), BATCH):
        rows = slice(first, first + BATCH)
        clips = data.samples(persons[rows], items[rows])
        shape = clips.moving.shape
        images = (clips.eyes.image.float() / 255).to(device)
        head = clips.eyes.head.float().to(device)
        whole, _ = net.gaze(images.unflatten(0, shape), head.unflatten(0, shape))
        alone, _ = net.gaze(images[:, None], head[:, None])
        parts.append(FoundClips(clips, whole.double().cpu(), alone[:, 0].unflatten(0, shape).double().cpu()))
        if progress:
            progress(what, min(first + BATCH, len(persons)), len(persons))
    return joined(parts)
