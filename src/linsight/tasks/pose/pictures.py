"""Skeletons drawn on crops: those of the truth, and those found, with what is wrong."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from linsight.data.people import JOINTS
from linsight.tasks.exhibits import Line, Picture, Pictures, Role
from linsight.tasks.pose.found import Found

__all__ = ["LIMBS", "skeleton_lines", "worst_and_first"]

SHOWN = 8
WRONG = 0.2  # of the larger side of the box

_NAMES = (
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
    ("left_shoulder", "right_shoulder"),
    ("left_hip", "right_hip"),
    *(
        (f"{side}_{one}", f"{side}_{other}")
        for side in ("left", "right")
        for one, other in (
            ("shoulder", "elbow"),
            ("elbow", "wrist"),
            ("shoulder", "hip"),
            ("hip", "knee"),
            ("knee", "ankle"),
        )
    ),
)
LIMBS = tuple((JOINTS.index(one), JOINTS.index(other)) for one, other in _NAMES)
"""The pairs of COCO's joints between which a line is drawn."""


def skeleton_lines(
    xy: Float[Tensor, "joints 2"],
    shown: Bool[Tensor, " joints"],
    role: Role,
    wrong: Bool[Tensor, " joints"] | None = None,
) -> tuple[Line, ...]:
    """Lines between joints that are both shown; from a wrong joint on they are drawn as wrong."""
    places = [(float(x), float(y)) for x, y in xy]
    return tuple(
        Line(
            (places[one], places[other]),
            "wrong" if wrong is not None and (wrong[one] | wrong[other]) else role,
        )
        for one, other in LIMBS
        if shown[one] and shown[other]
    )


def worst_and_first(found: Found) -> tuple[Pictures, Pictures]:
    """The people with the greatest mean error over their size, and the first people of the split."""
    seen = found.people.visibility > 0
    relative = found.distance / found.people.reference[:, None]
    mean = torch.where(seen, relative, 0.0).sum(1) / seen.sum(1).clamp_min(1)
    worst = torch.argsort(mean, descending=True, stable=True)[:SHOWN].tolist()
    note = (
        "Green is the truth, yellow what was found, red dashes lead to joints that are more than a fifth of "
        "the box's larger side off; hidden joints too."
    )
    first = list(range(min(SHOWN, len(mean))))
    return (
        Pictures("mistakes", "People with the largest errors", _pictures(found, worst), 4, note),
        Pictures("pictures", "The first people", _pictures(found, first), 4, note),
    )


def _pictures(found: Found, people: Sequence[int]) -> tuple[Picture, ...]:
    shown = []
    for number in people:
        seen = found.people.visibility[number] > 0
        wrong = (found.distance[number] > WRONG * found.people.reference[number]) & seen
        lines = (
            *skeleton_lines(found.people.truth[number], seen, "truth"),
            *skeleton_lines(found.xy[number], seen, "found", wrong),
        )
        image = np.ascontiguousarray(found.people.image[number].permute(1, 2, 0).double().numpy())
        error = float(found.distance[number][seen].mean())
        caption = f"{number}: {int(wrong.sum())} of {int(seen.sum())} wrong,\nmean {error:.1f} px"
        shown.append(Picture(image, caption, lines=lines))
    return tuple(shown)
