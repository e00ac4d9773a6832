"""Everything that a report shows of a network of gaze over video on a split."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from linsight.data.gaze import NOT_COMPARABLE, EyeClips
from linsight.models.vision import GazeVideoNet
from linsight.tasks.exhibits import Curves, Evaluation, Picture, Pictures, Table
from linsight.tasks.gaze import gaze_arrow
from linsight.tasks.gaze_video.found import FoundClips
from linsight.tasks.gaze_video.measures import Live, degrees, errors_of, live, phases, since_landing

__all__ = ["video_evaluation"]

_MEMORY, _ALONE = "with the frames before", "each frame alone"
_SHOWN = 8  # frames of a clip
_FEWEST = 0.1  # of the frames of a curve's first point, that a later one is the mean of


def video_evaluation(
    net: GazeVideoNet, found: FoundClips, data: EyeClips, split: str, protocol: str
) -> Evaluation:
    """Numbers; errors by what the eye does; curves over time; a clip as it was followed."""
    device = next(net.parameters()).device
    first = slice(0, data.frames)
    images = (found.clips.eyes.image[first].float() / 255).to(device)
    stream = live(net, images, found.clips.eyes.head[first].float().to(device))
    numbers = errors_of(found, data.rate)
    numbers |= {
        "milliseconds_per_frame_live": 1e3 * float(stream.seconds[1:].median()),
        "state_bytes": float(stream.state_bytes[-1]),
        "live_gap_degrees": float(torch.rad2deg((stream.angles - found.angles[0]).abs().max())),
    }
    exhibits = (
        _by_motion(found, data, split, protocol),
        _after_saccades(found, data),
        _since_the_beginning(found, data),
        *(_followed(found, data, motion) for motion in (False, True) if _has(found, motion)),
        _frames(found),
        _stream(stream),
    )
    return Evaluation(split, numbers, exhibits)


def _by_motion(found: FoundClips, data: EyeClips, split: str, protocol: str) -> Table:
    words = {
        "pursuit": "follows something",
        "fixation": "rests between saccades",
        "saccade": "within a saccade",
        "landed": "rests, for less than 0.1 s",
        "hidden": "is behind its lids",
    }
    after, before = (degrees(found, angles) for angles in (found.angles, found.alone))
    rows: list[tuple[str | int | None, ...]] = []
    everything = torch.ones_like(found.clips.moving)
    for name, frames in {"all": everything, **phases(found, data.rate)}.items():
        if frames.any():
            errors = (f"{float(one[frames].mean()):.2f}" for one in (after, before))
            rows.append((words.get(name, name), int(frames.sum()), *errors))
    note = (
        f"{len(found.angles):,} {split} clips of {data.frames} frames, {data.rate:g} a second, protocol "
        f"{protocol}; mean errors of frames in degrees. Alone is the same network with each frame as the "
        "first of a clip: what its memory is worth to it. A network that was trained without one, as "
        "--mixer 'local window=1', is the baseline of linsight compare gaze_video. "
        f"These are {NOT_COMPARABLE}."
    )
    return Table("motions", "What the eye does", ("the eye", "frames", _MEMORY, _ALONE), tuple(rows), note)


def _after_saccades(found: FoundClips, data: EyeClips) -> Curves:
    since = since_landing(found.clips.moving)
    rows = [since == number for number in range(int(since.max()) + 1)]
    return _over_time(
        found,
        data,
        rows,
        "after_saccade",
        "Error after a saccade",
        "milliseconds since the first frame of the fixation",
        "Means over the fixations that last so long. Before its first saccade a clip is not counted.",
    )


def _since_the_beginning(found: FoundClips, data: EyeClips) -> Curves:
    number = torch.arange(data.frames).expand(len(found.angles), -1)
    return _over_time(
        found,
        data,
        [number == one for one in range(data.frames)],
        "memory",
        "Error as the memory fills",
        "milliseconds since the clip began",
        "Means over all clips. At 0 both are the same: there is nothing to remember yet.",
    )


def _over_time(
    found: FoundClips,
    data: EyeClips,
    rows: Sequence[Bool[Tensor, "clips frames"]],
    name: str,
    title: str,
    x_label: str,
    note: str,
) -> Curves:
    """Mean errors of groups of frames, one frame's time apart, up to the first that is too small to tell."""
    sizes = [int(one.sum()) for one in rows]
    least = max(1, _FEWEST * max(sizes, default=0))
    end = next((k for k, size in enumerate(sizes) if size < least), len(sizes))
    times = [1e3 * k / data.rate for k in range(end)]
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        what: (times, [float(errors[one].mean()) for one in rows[:end]])
        for what, errors in ((_MEMORY, degrees(found, found.angles)), (_ALONE, degrees(found, found.alone)))
    }
    return Curves(name, title, series, x_label, "mean error (degrees)", note=f"{note} {NOT_COMPARABLE}.")


def _has(found: FoundClips, jumping: bool) -> bool:
    return bool((found.clips.jumping[:, 0] == jumping).any())


def _followed(found: FoundClips, data: EyeClips, jumping: bool) -> Curves:
    """Yaw over a clip: the truth, and what was found."""
    row = int((found.clips.jumping[:, 0] == jumping).nonzero()[0, 0])
    times = [1e3 * k / data.rate for k in range(data.frames)]
    yaws = {"truth": found.truth, _MEMORY: found.angles, _ALONE: found.alone}
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        name: (times, torch.rad2deg(angles[row, :, 1]).tolist()) for name, angles in yaws.items()
    }
    motion = "saccades" if jumping else "pursuit"
    person = int(found.clips.eyes.person.unflatten(0, found.angles.shape[:2])[row, 0])
    return Curves(
        motion,
        f"A clip of {motion}",
        series,
        "milliseconds",
        "yaw (degrees)",
        note=f"The first such clip, of person {person}. What is constant is the person's own.",
    )


def _frames(found: FoundClips) -> Pictures:
    """Some frames of the first clip, with arrows."""
    eyes, errors = found.clips.eyes, degrees(found, found.angles)[0]
    number = found.angles.shape[1]
    length = eyes.image.shape[3] / 2
    shown = []
    for frame in np.unique(np.linspace(0, number - 1, _SHOWN).round().astype(int)).tolist():
        image = eyes.image[frame].permute(1, 2, 0).double().numpy() / 255
        x, y = eyes.iris[frame].tolist()
        lines = (
            gaze_arrow((x, y), eyes.gaze[frame], length, "truth"),
            gaze_arrow((x, y), found.angles[0, frame], length, "found"),
        )
        grey = np.ascontiguousarray(image.repeat(4 - image.shape[2], 2)[:, :, :3])
        shown.append(Picture(grey, f"frame {frame}: {float(errors[frame]):.1f} degrees", lines=lines))
    note = "Green is the truth, yellow what was found. The truth is the visual axis, which no picture shows."
    return Pictures("frames", "Frames of the first clip", tuple(shown), 4, note)


def _stream(stream: Live) -> Curves:
    frames = list(range(len(stream.seconds)))
    note = (
        f"One clip, a call a frame. The state after the first frame has {stream.state_bytes[0]:,} bytes, "
        f"after the last {stream.state_bytes[-1]:,}. The first call also sets things up."
    )
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        "a call": (frames, (1e3 * stream.seconds).tolist())
    }
    return Curves("live", "A live camera", series, "frame", "milliseconds", note=note)
