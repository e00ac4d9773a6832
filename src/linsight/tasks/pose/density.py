"""The density of labels that a codec has learnt, in the unit of the law that made them."""

import copy
import functools
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from linsight.data.keypoint_noise import AnyKeypointNoise, log_density
from linsight.data.people import PAIRS
from linsight.models.vision.codecs import ScaledCodec
from linsight.tasks import densities_beside as beside
from linsight.tasks.exhibits import Curves, Grid
from linsight.tasks.pose.found import Found
from linsight.tasks.pose.samples import Labelled

__all__ = ["densities_together", "density_exhibits", "law_density", "learnt_density"]

CELLS = 41
JOINTS = 64  # that the mean is over
REACH = (0.02, 1.0)  # most of the labels are in the picture, and the peak is wider than a cell
ABOUT = (
    "The law is about the truth. What was learnt is the mean over {} joints of the density about what was "
    "found, and so wider than the law by what the network itself is wrong. The unit is the larger side of "
    "the box."
)


def learnt_density(
    codec: ScaledCodec, found: Found, points: Float[Tensor, "points 2"], chosen: tuple[Tensor, Tensor]
) -> Float[Tensor, " points"]:
    """The mean over chosen joints of the density of (label - found) / reference that the codec gives.

    With S the larger side of the box in pixels and a crop of W x H, a label at r S pixels from what was found
    has the error -r S / (W, H) in crops, and p(r) = p(error) S^2 / (W H).

    Args:
        codec: What made the outputs.
        found: Of a split.
        points: r.
        chosen: (people, joints), numbers of as many joints.
    """
    return beside.learnt_density(codec, *_scales(found, chosen), points)


def law_density(
    law: AnyKeypointNoise,
    people: Labelled,
    points: Float[Tensor, "points 2"],
    chosen: tuple[Tensor, Tensor],
) -> Float[Tensor, " points"]:
    """The mean over chosen joints of the density of (label - truth) / reference that the law gives.

    Raises ValueError for a law that has no density.
    """
    total = torch.zeros(len(points), dtype=torch.float64)
    for person, joint in zip(*chosen, strict=True):
        truth, unit = people.truth[person], people.reference[person]
        labels = truth + unit * points[:, None]
        seen, units = people.visibility[person].expand(len(points), -1), unit.expand(len(points), 2)
        total += log_density(law, labels, truth.expand_as(labels), seen, units, PAIRS)[:, joint].exp()
    return total / len(chosen[0])


def density_exhibits(codec: ScaledCodec, found: Found, law: AnyKeypointNoise) -> tuple[Grid, Curves, Curves]:
    """The law, what was learnt, and what labels really are about what was found; marginals below."""
    people = found.people
    offset = ((people.labels - found.xy) / people.reference[:, None, None])[found.counted]
    chosen = _some(found)
    sigma, scale = _scales(found, chosen)
    return beside.learnt_beside(
        copy.deepcopy(codec).cpu(),
        sigma,
        scale,
        offset,
        None if law.kind == "none" else functools.partial(law_density, law, people, chosen=chosen),
        axes=("x", "y"),
        unit="sides",
        within=REACH,
        note=f"{ABOUT.format(len(chosen[0]))} Labels are those of all joints, about what was found.",
    )


def densities_together(
    learnt: Mapping[str, tuple[ScaledCodec, Found]], law: AnyKeypointNoise
) -> tuple[Grid, Curves, Curves]:
    """The law, and beside it what several networks learnt of it, of the same joints of the same people."""
    found = next(iter(learnt.values()))[1]
    people = found.people
    about = people.truth if law.kind != "none" else found.xy
    offset = ((people.labels - about) / people.reference[:, None, None])[found.counted]
    reach = float(torch.quantile(offset.abs(), 0.98).clamp(*REACH))
    chosen = _some(found)
    note = ABOUT.format(len(chosen[0]))
    return beside.densities_beside(
        _pictured(learnt, law, reach, chosen), reach, axes=("x", "y"), unit="sides", note=note
    )


def _pictured(
    learnt: Mapping[str, tuple[ScaledCodec, Found]],
    law: AnyKeypointNoise,
    reach: float,
    chosen: tuple[Tensor, Tensor],
) -> dict[str, np.ndarray]:
    points = torch.from_numpy(beside.square_grid(reach, CELLS)).reshape(-1, 2)
    shown: dict[str, Tensor] = {}
    if law.kind != "none":
        people = next(iter(learnt.values()))[1].people
        shown["the law"] = law_density(law, people, points, chosen)
    for name, (codec, found) in learnt.items():
        shown[name] = learnt_density(copy.deepcopy(codec).cpu(), found, points, chosen)
    return {name: one.reshape(CELLS, CELLS).numpy() for name, one in shown.items()}


def _scales(found: Found, chosen: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(joints, 2) of the chosen: sigma in crops, and S / (W, H)."""
    height, width = found.people.image.shape[2:]
    sides = torch.tensor([width, height], dtype=torch.float64)
    sigma = found.outputs["sigma"].expand(*found.xy.shape[:2], -1)[chosen]
    return sigma, found.people.reference[chosen[0], None] / sides


def _some(found: Found) -> tuple[Tensor, Tensor]:
    """Numbers of people and of joints, of as many as the mean is over."""
    rows, joints = found.counted.nonzero().unbind(1)
    step = max(1, len(rows) // JOINTS)
    return rows[::step][:JOINTS], joints[::step][:JOINTS]
