"""Persons and what varies between their pictures, drawn from counters."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Integer
from torch import Tensor

from linsight.data import noise
from linsight.data.gaze.eye import EyeParameters, optical_axis
from linsight.ops import to_vector

__all__ = ["MOST_ITEMS", "PITCH", "YAW", "Frames", "Persons", "eye_of", "frames", "persons"]

PITCH, YAW = math.radians(25), math.radians(35)
"""The visual axis is uniform within these of the camera's."""

MOST_ITEMS = 2**32
"""Pictures of a person; the number of a picture in the counter is person * MOST_ITEMS + item."""

_PERSON_DRAWS, _FRAME_DRAWS = 48, 24
_WAVES = 4

# Red, green, blue of irises: dark brown, brown, hazel, green, grey, blue.
_IRISES = (
    (0.20, 0.11, 0.06),
    (0.34, 0.19, 0.09),
    (0.42, 0.33, 0.16),
    (0.33, 0.43, 0.26),
    (0.45, 0.50, 0.52),
    (0.30, 0.47, 0.64),
)
# From the darkest to the lightest skin.
_SKINS = ((0.24, 0.14, 0.10), (0.46, 0.29, 0.20), (0.68, 0.48, 0.36), (0.86, 0.68, 0.57), (0.94, 0.79, 0.70))


class Persons(NamedTuple):
    """What a person keeps in all pictures; lengths in mm, angles in radians, both as of their left eye."""

    kappa: Float64[Tensor, "batch 2"]
    """The visual axis is so far above the optical axis, and towards the nose of it."""
    eyeball: Float64[Tensor, "batch"]
    iris: Float64[Tensor, "batch"]
    offset: Float64[Tensor, "batch 2"]
    """Of the eyeball's centre from the middle between the corners: away from the nose, and down."""
    lids: Float64[Tensor, "batch 6"]
    """Half width, upper and lower height, tilt, skew, crease."""
    openness: Float64[Tensor, "batch"]
    lash: Float64[Tensor, "batch"]
    sclera: Float64[Tensor, "batch 3"]
    iris_colour: Float64[Tensor, "batch 3"]
    skin: Float64[Tensor, "batch 3"]
    texture: Float64[Tensor, "batch 5"]
    """Two orders, two phases, contrast."""
    waves: Float64[Tensor, "batch waves 3"]
    """Frequencies across and down, phase."""
    pupil: Float64[Tensor, "batch"]
    light: Float64[Tensor, "batch 2"]
    """Pitch and yaw of where the light usually is."""
    ambient: Float64[Tensor, "batch"]


class Frames(NamedTuple):
    """What a picture has of its own, the same for both eyes."""

    visual: Float64[Tensor, "batch 2"]
    """Pitch and yaw of the visual axis: where the person looks."""
    head: Float64[Tensor, "batch 2"]
    openness: Float64[Tensor, "batch"]
    """A factor."""
    shift: Float64[Tensor, "batch 2"]
    """Of all from the middle of the image, in mm: no detector is exact."""
    pupil: Float64[Tensor, "batch"]
    """A factor."""
    light: Float64[Tensor, "batch 2"]
    """Added to pitch and yaw of the person's light."""
    ambient: Float64[Tensor, "batch"]
    """A factor."""
    glint: Float64[Tensor, "batch"]
    glint_strength: Float64[Tensor, "batch"]
    gain: Float64[Tensor, "batch"]
    """The exposure."""
    left: Bool[Tensor, "batch"]
    """Whether it is the person's left eye, whose nose is to the left in the image."""


def persons(numbers: Integer[np.ndarray, "batch"], *, seed: int = 0) -> Persons:
    """The persons of these numbers, each a function of (seed, number).

    kappa is N(5, 1.5) degrees towards the nose and N(1.5, 1) upwards: a choice of ours. Radii of the eyeball
    are U(11.5, 12.5) mm, of the iris U(5.4, 6.4).

    Raises ValueError for a negative number.
    """
    draw = _Draws(seed, "gaze/persons", numbers, _PERSON_DRAWS)
    iris = _between(draw.one(), 0, len(_IRISES) - 1)
    tone = _between(draw.one(), 0, len(_SKINS) - 1)
    return Persons(
        kappa=torch.deg2rad(torch.stack([draw.normal(1.5, 1.0), draw.normal(5.0, 1.5)], 1)),
        eyeball=draw.between(11.5, 12.5),
        iris=draw.between(5.4, 6.4),
        offset=torch.stack([draw.between(-2, 2), draw.between(-1.5, 1.5)], 1),
        lids=torch.stack(
            [
                draw.between(12.6, 14.6),
                draw.between(4.4, 6.2),
                draw.between(3.6, 5.0),
                draw.between(-0.03, 0.14),
                draw.between(-0.05, 0.3),
                draw.between(1.2, 3.2),
            ],
            1,
        ),
        openness=draw.between(0.82, 1.08),
        lash=draw.between(0.35, 0.95),
        sclera=_sclera(draw.between(0.78, 0.93), draw.between(0, 1)),
        iris_colour=_blend(_IRISES, iris) * draw.between(0.85, 1.15)[:, None],
        skin=_blend(_SKINS, tone) * draw.between(0.92, 1.06)[:, None],
        texture=torch.stack(
            [
                draw.between(7, 14).floor(),
                draw.between(16, 27).floor(),
                draw.between(0, 2 * math.pi),
                draw.between(0, 2 * math.pi),
                draw.between(0.05, 0.3),
            ],
            1,
        ),
        waves=torch.stack(
            [
                torch.stack([draw.between(-0.7, 0.7), draw.between(-0.7, 0.7), draw.between(0, 6.3)], 1)
                for _ in range(_WAVES)
            ],
            1,
        ),
        pupil=draw.between(0.32, 0.5),
        light=torch.stack([draw.between(0.0, 0.7), draw.between(-0.8, 0.8)], 1),
        ambient=draw.between(0.3, 0.6),
    )


def frames(
    numbers: Integer[np.ndarray, "batch"], items: Integer[np.ndarray, "batch"], *, seed: int = 0
) -> Frames:
    """What these pictures of these persons have of their own, each a function of (seed, person, item).

    The visual axis is uniform within 25 degrees of pitch and 35 of yaw. The head follows it by a third, give
    or take. Every other eye, at random, is a right one.

    Raises ValueError for a negative number, or an item of `MOST_ITEMS` or more.
    """
    draw = _Draws(seed, "gaze/frames", counters(numbers, items), _FRAME_DRAWS)
    visual = torch.stack([draw.between(-PITCH, PITCH), draw.between(-YAW, YAW)], 1)
    wander = torch.deg2rad(torch.stack([draw.normal(0, 5), draw.normal(0, 7)], 1))
    return Frames(
        visual=visual,
        head=visual / 3 + wander,
        openness=draw.normal(1.0, 0.08).clamp(0.55, 1.25),
        shift=torch.stack([draw.normal(0, 0.5), draw.normal(0, 0.4)], 1),
        pupil=draw.between(0.8, 1.2),
        light=torch.stack([draw.normal(0, 0.25), draw.normal(0, 0.35)], 1),
        ambient=draw.between(0.75, 1.25),
        glint=draw.between(150, 600),
        glint_strength=draw.between(0.35, 1.0),
        gain=draw.between(0.75, 1.2),
        left=draw.one() < 0.5,
    )


def eye_of(person: Persons, frame: Frames) -> EyeParameters:
    """The eye in the picture: the person's, turned to where the frame looks, on the frame's side."""
    nasal = torch.where(frame.left, -1.0, 1.0).double()
    optical = optical_axis(frame.visual, person.kappa, nasal)
    pitch, yaw = frame.head.unbind(1)
    # The eyeball's centre is 9 mm behind the corners of the lids, so that it moves aside as the head turns.
    behind = 9 * torch.stack([pitch.cos() * yaw.sin(), pitch.sin()], 1)
    across = torch.stack([-nasal, torch.ones_like(nasal)], 1)
    half_width, upper, lower, tilt, skew, crease = person.lids.unbind(1)
    aim = person.light * across + frame.light * across
    # Lights are in front of the face.
    light = to_vector(torch.stack([aim[:, 0].clamp(-0.3, 1.2), -aim[:, 1].clamp(-1.2, 1.2)], 1))
    gain = frame.gain[:, None]
    return EyeParameters(
        optical=optical,
        head=frame.head,
        centre=person.offset * across + behind + frame.shift,
        eyeball=person.eyeball,
        iris=person.iris,
        pupil=(person.pupil * frame.pupil).clamp(0.25, 0.6),
        nasal=nasal,
        lid=frame.shift,
        half_width=half_width,
        upper=upper,
        lower=lower,
        openness=person.openness * frame.openness,
        tilt=tilt,
        skew=skew,
        crease=crease,
        lash=person.lash,
        light=light,
        ambient=(person.ambient * frame.ambient).clamp(0.2, 0.75),
        glint=frame.glint,
        glint_strength=frame.glint_strength,
        sclera=person.sclera * gain,
        iris_colour=person.iris_colour * gain,
        skin=person.skin * gain,
        orders=person.texture[:, :2],
        phases=person.texture[:, 2:4],
        contrast=person.texture[:, 4],
        waves=person.waves[:, :, :2],
        wave_phases=person.waves[:, :, 2],
    )


def counters(
    numbers: Integer[np.ndarray, "batch"], items: Integer[np.ndarray, "batch"]
) -> Integer[np.ndarray, "batch"]:
    """person * MOST_ITEMS + item. Raises ValueError for what has no such number."""
    for name, values, most in (("persons", numbers, 2**31), ("items", items, MOST_ITEMS)):
        wrong = (values < 0) | (values >= most)
        if wrong.any():
            raise ValueError(f"{name}: expected integers from 0 to {most - 1}, got {values[wrong][0]}")
    return numbers.astype(np.int64) * MOST_ITEMS + items.astype(np.int64)


class _Draws:
    """Columns of uniform numbers, each taken once and in order."""

    def __init__(self, seed: int, stream: str, items: Integer[np.ndarray, "batch"], count: int) -> None:
        self._columns = iter(torch.from_numpy(noise.uniform(noise.key(seed, stream), items, count)).unbind(1))

    def one(self) -> Tensor:
        return next(self._columns)

    def between(self, least: float, most: float) -> Tensor:
        return _between(self.one(), least, most)

    def normal(self, mean: float, deviation: float) -> Tensor:
        return mean + deviation * torch.special.ndtri(self.one().clamp(2.0**-54, 1 - 2.0**-53))


def _between(uniform: Tensor, least: float, most: float) -> Tensor:
    return least + (most - least) * uniform


def _sclera(white: Tensor, warm: Tensor) -> Tensor:
    """White, a little bluish (warm 0) or yellowish (warm 1)."""
    return torch.stack([white, white * (0.975 - 0.015 * warm), white * (0.99 - 0.10 * warm)], 1)


def _blend(colours: tuple[tuple[float, float, float], ...], place: Tensor) -> Tensor:
    """The colours along a line through those of the table, which are at 0, 1, 2, ..."""
    table = torch.tensor(colours, dtype=torch.float64)
    low = place.long().clamp(max=len(colours) - 2)
    share = (place - low)[:, None]
    return table[low] * (1 - share) + table[low + 1] * share
