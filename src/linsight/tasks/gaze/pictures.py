"""Gaze drawn on pictures of eyes: arrows of the truth and of what was found."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from linsight.ops import to_vector
from linsight.tasks.exhibits import Line, Picture, Pictures, Role
from linsight.tasks.gaze.found import Found

__all__ = ["gaze_arrow", "worst_and_first"]

SHOWN = 8
BARB, TURN = 0.3, np.radians(25)


def gaze_arrow(
    origin: tuple[float, float], angles: Float[Tensor, "2"], length: float, role: Role = "found"
) -> Line:
    """The gaze as the image sees it: from the origin along (x, y) of its vector, `length` where that is 1.

    Args:
        origin: x and y in pixels, pixel 0 centred at 0.0.
        angles: Pitch and yaw in radians; (0, 0) looks into the camera, and is a dot.
        length: In pixels, of a gaze along the image.
        role: Of the line.
    """
    start = np.asarray(origin, np.float64)
    along = length * to_vector(angles.double())[:2].numpy()
    tip = start + along
    points = [start, tip]
    if np.hypot(*along) > 0:
        for side in (-TURN, TURN):
            turn = np.array([[np.cos(side), -np.sin(side)], [np.sin(side), np.cos(side)]])
            points += [tip - BARB * turn @ along, tip]
    else:
        points = [start]
    return Line(tuple((float(x), float(y)) for x, y in points), role)


def worst_and_first(found: Found) -> tuple[Pictures, Pictures]:
    """The pictures with the greatest errors, and the first of the split, one of each person."""
    note = (
        "Green is the truth, yellow what was found, from where the optical axis leaves the eye. The truth is "
        "the visual axis, which no picture shows: about 5 degrees towards the nose, as the person has it."
    )
    worst = torch.argsort(found.degrees, descending=True, stable=True)[:SHOWN].tolist()
    persons = found.persons
    first = [int((persons == person).nonzero()[0, 0]) for person in range(int(persons.max()) + 1)]
    return (
        Pictures("mistakes", "Pictures with the largest errors", _pictures(found, worst), 4, note),
        Pictures("pictures", "The first picture of each person", _pictures(found, first[:SHOWN]), 4, note),
    )


def _pictures(found: Found, rows: list[int]) -> tuple[Picture, ...]:
    eyes, degrees = found.eyes, found.degrees
    length = eyes.image.shape[3] / 2
    shown = []
    for row in rows:
        image = eyes.image[row].permute(1, 2, 0).double().numpy() / 255
        x, y = eyes.iris[row].tolist()
        lines = (
            gaze_arrow((x, y), eyes.gaze[row], length, "truth"),
            gaze_arrow((x, y), found.angles[row], length, "found"),
        )
        caption = f"person {int(eyes.person[row])}: {float(degrees[row]):.1f} degrees"
        shown.append(
            Picture(np.ascontiguousarray(image.repeat(4 - image.shape[2], 2)[:, :, :3]), caption, lines=lines)
        )
    return tuple(shown)
