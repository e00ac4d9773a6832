"""Clips of eyes for a task: every other one follows something, the others jump."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from linsight.config import Config
from linsight.data.gaze.eyes import Eyes, EyeSamples
from linsight.data.gaze.motion import MOTIONS, blinking, sequence

__all__ = ["ClipSamples", "EyeClips"]


class ClipSamples(NamedTuple):
    """Clips of equally many frames."""

    eyes: EyeSamples
    """Of batch * frames pictures, clip by clip."""
    jumping: Bool[Tensor, "batch frames"]
    """Of clips of saccades."""
    moving: Bool[Tensor, "batch frames"]
    """While a saccade is under way."""


@dataclass(frozen=True)
class EyeClips(Config):
    """Clips of one eye each, which moves and blinks: smooth pursuit in even items, saccades in odd ones.

    A clip is a function of (the fields, seed, person, item) alone; see `linsight.data.gaze.sequence`.

    Args:
        eyes: The pictures.
        frames: Of a clip.
        rate: Frames a second.
        blinks: A second, on average; people have about one in three seconds, and a short clip then none.

    Raises ValueError for fewer than one frame, a rate that is not positive, and blinks without end.
    """

    eyes: Eyes = field(default_factory=Eyes)
    frames: int = 12
    rate: float = 15.0
    blinks: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no clip."""
        if self.frames < 1:
            raise ValueError(f"frames: expected at least 1, got {self.frames}")
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"rate: expected a number of frames a second above 0, got {self.rate}")
        blinking(np.zeros((1, 1)), 1, self.rate, self.blinks)

    def samples(
        self, person: Integer[np.ndarray, "batch"], items: Integer[np.ndarray, "batch"], *, seed: int = 0
    ) -> ClipSamples:
        """These clips of these persons, in this order.

        Raises:
            ValueError: No clip; a negative number.
        """
        if len(items) == 0:
            raise ValueError("items: expected at least one clip, got none")
        parts, order, jumping, moving = [], [], [], []
        for motion in MOTIONS:
            rows = np.flatnonzero(items % 2 == MOTIONS.index(motion))
            if len(rows):
                found, path = sequence(
                    self.eyes,
                    person[rows],
                    items[rows],
                    self.frames,
                    motion=motion,
                    rate=self.rate,
                    blinks=self.blinks,
                    seed=seed,
                )
                parts.append(EyeSamples(*(one.unflatten(0, (len(rows), self.frames)) for one in found)))
                order.append(rows)
                moving.append(path.moving)
                jumping.append(torch.full_like(path.moving, motion == "saccades"))
        back = torch.from_numpy(np.argsort(np.concatenate(order)))
        fields = (torch.cat(field)[back].flatten(0, 1) for field in zip(*parts, strict=True))
        return ClipSamples(EyeSamples(*fields), torch.cat(jumping)[back], torch.cat(moving)[back])
