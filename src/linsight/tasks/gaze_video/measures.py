"""Numbers of a network of gaze over video on a split."""

import math
import time
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.utils._pytree import tree_leaves

from linsight.models.vision import GazeVideoNet
from linsight.ops import log_map
from linsight.tasks.gaze.found import angle
from linsight.tasks.gaze_video.found import FoundClips

__all__ = ["HIDDEN", "LANDED", "Live", "degrees", "errors_of", "live", "phases", "since_landing"]

LANDED = 0.1
"""Seconds after a saccade that count as just landed."""

HIDDEN = 0.1
"""Share of the iris that is seen, below which nobody can tell where it looks."""


class Live(NamedTuple):
    """A clip as a camera gives it, a call a frame."""

    angles: Float[Tensor, "frames 2"]
    seconds: Float[Tensor, " frames"]
    """Of each call."""
    state_bytes: tuple[int, ...]
    """Of what is carried on, after each frame."""


@torch.inference_mode()
def live(
    net: GazeVideoNet,
    frames: Float[Tensor, "frames channels height width"],
    head: Float[Tensor, "frames 2"],
) -> Live:
    """Where an eye looks, frame by frame with the state carried; inputs on the network's device."""
    state, looks, seconds, sizes = None, [], [], []
    for frame, pose in zip(frames, head, strict=True):
        begin = time.perf_counter()
        look, state = net.gaze(frame[None, None], pose[None, None], state)
        looks.append(look[0, 0].double().cpu())
        seconds.append(time.perf_counter() - begin)
        leaves = (one for one in tree_leaves(state) if isinstance(one, Tensor))
        sizes.append(sum(one.numel() * one.element_size() for one in leaves))
    return Live(torch.stack(looks), torch.tensor(seconds, dtype=torch.float64), tuple(sizes))


def errors_of(found: FoundClips, rate: float) -> dict[str, float]:
    """Degrees against the truth; `degrees` and `degrees_alone` are means over persons of their means.

    `jitter_degrees` is how far the error of a frame is from that of the frame before: 0 of a network whose
    error is the person's own, and what shakes the arrow of one that starts anew at each frame. Phases without
    a frame have NaN.
    """
    person = found.clips.eyes.person.unflatten(0, found.angles.shape[:2])[:, 0]
    numbers: dict[str, float] = {}
    for suffix, angles in (("", found.angles), ("_alone", found.alone)):
        errors = degrees(found, angles)
        means = torch.stack([errors[person == one].mean() for one in person.unique()])
        numbers[f"degrees{suffix}"] = float(means.mean())
        if not suffix:
            spread = float(means.std()) if len(means) > 1 else math.nan
            numbers["degrees_standard_error"] = spread / math.sqrt(len(means))
        for name, rows in phases(found, rate).items():
            numbers[f"degrees_{name}{suffix}"] = float(errors[rows].mean())
        residual = torch.rad2deg(log_map(angles, found.truth))
        # The axes of the plane turn with the prediction; over one frame's step that is next to nothing.
        numbers[f"jitter_degrees{suffix}"] = float(residual.diff(dim=1).norm(dim=-1).mean())
    return numbers


def degrees(found: FoundClips, angles: Float[Tensor, "clips frames 2"]) -> Float[Tensor, "clips frames"]:
    """The angle between these directions and the truth."""
    return angle(angles.flatten(0, 1), found.clips.eyes.gaze).unflatten(0, angles.shape[:2])


def phases(found: FoundClips, rate: float) -> dict[str, Bool[Tensor, "clips frames"]]:
    """Frames by what the eye does; of those that are `hidden` by the lids, whatever it does behind them.

    `pursuit`, `fixation`, `saccade` and `hidden` are all frames, each once; `landed` are those fixations that
    a saccade has just led to.
    """
    clips = found.clips
    hidden = clips.eyes.visible.unflatten(0, clips.moving.shape) < HIDDEN
    since = since_landing(clips.moving)
    return {
        "pursuit": ~clips.jumping & ~hidden,
        "fixation": clips.jumping & ~clips.moving & ~hidden,
        "saccade": clips.moving & ~hidden,
        "landed": (since >= 0) & (since < LANDED * rate) & ~hidden,
        "hidden": hidden,
    }


def since_landing(moving: Bool[Tensor, "clips frames"]) -> Int64[Tensor, "clips frames"]:
    """Frames since the last saccade: 0 of the first frame after it; -1 within one, and before the first."""
    number = torch.arange(moving.shape[1])
    last = torch.where(moving, number, -1).cummax(1).values
    return torch.where((last >= 0) & ~moving, number - last - 1, -1)
