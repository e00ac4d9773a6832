"""Gaze over time: smooth pursuit, saccades and blinks, with the exact direction at every frame."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Integer
from torch import Tensor

from linsight.data import noise
from linsight.data.gaze.eyes import Eyes, EyeSamples
from linsight.data.gaze.persons import PITCH, YAW, counters, frames, persons
from linsight.ops import angular_error, to_vector

__all__ = ["MOTIONS", "Trajectory", "blinking", "fixations", "pursuit", "saccades", "sequence"]

MOTIONS = ("pursuit", "saccades")
"""Smooth pursuit, and saccades between fixations."""

_SHORTEST, _LONGEST = 0.2, 0.6  # seconds of a fixation
_CLOSING, _CLOSED, _OPENING = 0.1, 0.05, 0.15  # seconds of a blink
_BLINK = _CLOSING + _CLOSED + _OPENING


class Trajectory(NamedTuple):
    """Where somebody looks at each frame."""

    gaze: Float64[Tensor, "batch frames 2"]
    """Pitch and yaw in radians."""
    moving: Bool[Tensor, "batch frames"]
    """Whether a saccade is under way; pursuit always moves and never so."""


def pursuit(uniform: Float64[np.ndarray, "batch 10"], num_frames: int, rate: float = 30.0) -> Trajectory:
    """Smooth pursuit: two sines an axis, of 0.08 to 0.25 Hz and of its double; at most 66 degrees a second.

    Args:
        uniform: Numbers in [0, 1), five an axis.
        num_frames: Frames of each.
        rate: Frames a second.

    Raises:
        ValueError: Fewer than one frame, or a rate that is not positive.
    """
    time = _times(num_frames, rate)
    parts = []
    for axis, limit in ((slice(0, 5), PITCH), (slice(5, 10), YAW)):
        slow, large, small, phase, other = torch.from_numpy(uniform)[:, axis, None].unbind(1)
        angle = 2 * math.pi * ((0.08 + 0.17 * slow) * time + phase)
        large, small = limit * (0.4 + 0.4 * large), limit * 0.2 * small
        parts.append(large * angle.sin() + small * (2 * angle + 2 * math.pi * other).sin())
    gaze = torch.stack(parts, dim=-1)
    return Trajectory(gaze, torch.zeros(gaze.shape[:2], dtype=torch.bool))


def saccades(uniform: Float64[np.ndarray, "batch drawn"], num_frames: int, rate: float = 30.0) -> Trajectory:
    """Fixations of 0.2 to 0.6 seconds, and saccades between them.

    A saccade of amplitude A degrees takes 21 + 2.2 A ms (the main sequence, Carpenter 1988, Movements of the
    eyes) and follows 10 s^3 - 15 s^4 + 6 s^5 of its time s, along the straight line of pitch and yaw.

    Args:
        uniform: Numbers in [0, 1), three for each fixation: as many as `fixations` says.
        num_frames: Frames of each.
        rate: Frames a second.

    Raises:
        ValueError: Fewer than one frame; a rate that is not positive; too few numbers.
    """
    time = _times(num_frames, rate)
    needed = fixations(num_frames, rate)
    if uniform.shape[1] < 3 * needed:
        raise ValueError(
            f"uniform: expected {3 * needed} numbers for {num_frames} frames, got {uniform.shape[1]}"
        )
    drawn = torch.from_numpy(uniform[:, : 3 * needed]).unflatten(1, (needed, 3))
    limits = torch.tensor([PITCH, YAW], dtype=torch.float64)
    targets = limits * (2 * drawn[..., 1:] - 1)
    rest = _SHORTEST + (_LONGEST - _SHORTEST) * drawn[:, :, 0]
    degrees = torch.rad2deg(angular_error(to_vector(targets[:, :-1]), to_vector(targets[:, 1:])))
    flight = 0.021 + 0.0022 * degrees
    # Fixation k ends at leave[k], and its saccade to k + 1 lands at land[k].
    land = (rest[:, :-1] + flight).cumsum(1)
    leave = land - flight
    now = time.expand(len(uniform), -1).contiguous()
    at = torch.searchsorted(land, now, right=True).clamp(max=needed - 2)
    share = ((now - leave.gather(1, at)) / flight.gather(1, at)).clamp(0, 1)
    moved = share**3 * (10 - 15 * share + 6 * share**2)
    start, end = (targets.gather(1, step[..., None].expand(-1, -1, 2)) for step in (at, at + 1))
    return Trajectory(start + moved[..., None] * (end - start), (share > 0) & (share < 1))


def blinking(
    uniform: Float64[np.ndarray, "batch drawn"], num_frames: int, rate: float, blinks: float
) -> Float64[Tensor, "batch frames"]:
    """How far the lids are open at each frame, of what they are without blinks: 1, and 0 in a blink's middle.

    A blink takes 0.1 s to close, rests for 0.05 and takes 0.15 to open. Between two is a time of exponential
    law, so that there are `blinks` a second on average; the first begins after such a time too.

    Args:
        uniform: Numbers in [0, 1), one for each blink: as many as 0.3 s go into the clip, and one.
        num_frames: Frames of each.
        rate: Frames a second.
        blinks: A second, at least 0 and less than 1 / 0.3.

    Raises:
        ValueError: Fewer than one frame; a rate that is not positive; blinks out of range.
    """
    time = _times(num_frames, rate)
    if not 0 <= blinks < 1 / _BLINK:
        raise ValueError(f"blinks: expected from 0 to less than {1 / _BLINK:.2f} a second, got {blinks}")
    if blinks == 0:
        return torch.ones(len(uniform), num_frames, dtype=torch.float64)
    waits = -torch.log1p(-torch.from_numpy(uniform)) * (1 / blinks - _BLINK)
    begins = waits.cumsum(1) + _BLINK * torch.arange(uniform.shape[1])
    into = time - begins[..., None]
    closing, opening = 1 - into / _CLOSING, (into - _CLOSING - _CLOSED) / _OPENING
    return torch.maximum(closing, opening).clamp(0, 1).amin(1)


def fixations(num_frames: int, rate: float) -> int:
    """The most fixations that so many frames may show, and one more: each with its saccade takes 0.22 s."""
    return math.ceil(num_frames / rate / _SHORTEST) + 2


def sequence(
    eyes: Eyes,
    person: Integer[np.ndarray, "batch"],
    items: Integer[np.ndarray, "batch"],
    num_frames: int,
    *,
    motion: str = "pursuit",
    rate: float = 30.0,
    blinks: float = 0.0,
    seed: int = 0,
) -> tuple[EyeSamples, Trajectory]:
    """Clips of one eye each: light, head, place and side stay, gaze and lids move, the noise is new.

    A frame is a function of (the eyes, seed, person, item, motion, rate, blinks, its number): a shorter clip
    is the beginning of a longer one. `blinks` is how many there are a second; see `blinking`.

    Returns:
        Samples of batch * num_frames pictures, clip by clip (`unflatten(0, (batch, num_frames))`), and the
        trajectory before any mirror.

    Raises:
        ValueError: An unknown motion; fewer than one frame; a rate that is not positive; negative numbers;
            what `blinking` refuses.
    """
    if motion not in MOTIONS:
        raise ValueError(f"motion: expected one of {', '.join(MOTIONS)}, got {motion!r}")
    _times(num_frames, rate)
    count = 10 if motion == "pursuit" else 3 * fixations(num_frames, rate)
    uniform = noise.uniform(noise.key(seed, f"gaze/{motion}"), counters(person, items), count)
    trajectory = (pursuit if motion == "pursuit" else saccades)(uniform, num_frames, rate)
    lids = noise.uniform(
        noise.key(seed, "gaze/blinks"), counters(person, items), math.ceil(num_frames / rate / _BLINK) + 1
    )
    open_by = blinking(lids, num_frames, rate, blinks)
    still = frames(person, items, seed=seed)
    who = persons(person, seed=seed)
    # The head keeps what it has beyond following the gaze.
    still = still._replace(head=still.head - still.visual / 3)
    clips = []
    for number in range(num_frames):
        frame = still._replace(
            visual=trajectory.gaze[:, number], openness=still.openness * open_by[:, number]
        )
        clips.append(eyes.pictures(person, items, who, frame, seed=seed, epoch=number))
    fields = (torch.stack(field, 1).flatten(0, 1) for field in zip(*clips, strict=True))
    return EyeSamples(*fields), trajectory


def _times(num_frames: int, rate: float) -> Float64[Tensor, "frames"]:
    if num_frames < 1:
        raise ValueError(f"num_frames: expected an integer of at least 1, got {num_frames}")
    if not 0 < rate < math.inf:
        raise ValueError(f"rate: expected a number of frames a second above 0, got {rate}")
    return torch.arange(num_frames, dtype=torch.float64) / rate
