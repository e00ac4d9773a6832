"""The density of labels of gaze that a codec has learnt, in degrees of the tangent plane."""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.data.noise_laws import AnyNoiseLaw
from linsight.models.vision.codecs import Directions, ScaledCodec
from linsight.ops import angle_residual, log_map
from linsight.tasks.densities_beside import learnt_beside
from linsight.tasks.exhibits import Curves, Grid
from linsight.tasks.gaze.found import Found

__all__ = ["density_exhibits"]

PICTURES = 64  # that the means are over
DEGREE = math.pi / 180


def density_exhibits(codec: ScaledCodec, found: Found, law: AnyNoiseLaw) -> tuple[Grid, Curves, Curves]:
    """The law, what was learnt, and what labels really are about what was found; marginals below."""
    eyes, space = found.eyes, codec.space
    assert isinstance(space, Directions)  # no other has a gaze
    residual = log_map if space.residual == "tangent" else angle_residual
    chosen = torch.arange(0, len(eyes.gaze), max(1, len(eyes.gaze) // PICTURES))[:PICTURES]

    def density(points: Float[Tensor, "points 2"]) -> Float[Tensor, " points"]:
        clarity = eyes.visible[chosen].double()[:, None].expand(-1, len(points))
        places = (DEGREE * points).expand(len(clarity), -1, -1)
        return law.log_prob(places, clarity).exp().mean(0) * DEGREE**2

    note = (
        f"The law is about the truth. Learnt is the mean over {len(chosen)} pictures of the density about "
        "what was found; labels are those of all pictures about what was found. These two are wider than the "
        "law by what the network itself is wrong, the person's axis of sight before all."
    )
    return learnt_beside(
        copy.deepcopy(codec).cpu(),
        found.outputs["sigma"][chosen, 0].expand(-1, 2),
        torch.full((len(chosen), 2), DEGREE / space.unit, dtype=torch.float64),
        torch.rad2deg(residual(found.angles, eyes.label)),
        None if law.kind == "none" else density,
        axes=("pitch", "yaw"),
        unit="degrees",
        within=(1.0, 45.0),
        note=note,
    )
