"""The density of labels of gaze that a codec has learnt, in degrees of the tangent plane."""

import copy
import functools
import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from linsight.data.noise_laws import AnyNoiseLaw
from linsight.models.vision.codecs import Directions, ScaledCodec
from linsight.ops import angle_residual, log_map
from linsight.tasks import densities_beside as beside
from linsight.tasks.exhibits import Curves, Grid
from linsight.tasks.gaze.found import Found

__all__ = ["densities_together", "density_exhibits", "law_density"]

_CELLS = 41
_PICTURES = 64  # that the means are over
_DEGREE = math.pi / 180
_REACH = (1.0, 45.0)  # degrees
_ABOUT = (
    "The law is about the truth. Learnt is the mean over {} pictures of the density about what was found."
)


def density_exhibits(codec: ScaledCodec, found: Found, law: AnyNoiseLaw) -> tuple[Grid, Curves, Curves]:
    """The law, what was learnt, and what labels really are about what was found; marginals below."""
    chosen = _some(found)
    note = (
        f"{_ABOUT.format(len(chosen))} Labels are those of all pictures about what was found. These two are "
        "wider than the law by what the network itself is wrong, the person's axis of sight before all."
    )
    return beside.learnt_beside(
        copy.deepcopy(codec).cpu(),
        *_scales(codec, found, chosen),
        _offsets(codec, found.angles, found),
        None if law.kind == "none" else functools.partial(law_density, law, found, chosen=chosen),
        axes=("pitch", "yaw"),
        unit="degrees",
        within=_REACH,
        note=note,
    )


def densities_together(
    learnt: Mapping[str, tuple[ScaledCodec, Found]], law: AnyNoiseLaw
) -> tuple[Grid, Curves, Curves]:
    """The law, and beside it what several networks learnt of it, of the same pictures."""
    codec, found = next(iter(learnt.values()))
    chosen = _some(found)
    spread = _offsets(codec, found.angles, found)
    reach = float(torch.quantile(spread.abs().flatten(), 0.98).clamp(*_REACH))
    points = torch.from_numpy(beside.square_grid(reach, _CELLS)).reshape(-1, 2)
    shown = {"the law": law_density(law, found, points, chosen)} if law.kind != "none" else {}
    for name, (one, its) in learnt.items():
        scales = _scales(one, its, chosen)
        shown[name] = beside.learnt_density(copy.deepcopy(one).cpu(), *scales, points)
    note = (
        f"{_ABOUT.format(len(chosen))} It is wider than the law by what the network itself is wrong, the "
        "person's axis of sight before all."
    )
    squares = {name: one.reshape(_CELLS, _CELLS).numpy() for name, one in shown.items()}
    return beside.densities_beside(squares, reach, axes=("pitch", "yaw"), unit="degrees", note=note)


def law_density(
    law: AnyNoiseLaw, found: Found, points: Float[Tensor, "points 2"], chosen: Int64[Tensor, "chosen"]
) -> Float[Tensor, " points"]:
    """The mean over chosen pictures of the density of residuals in degrees that the law gives."""
    clarity = found.eyes.visible[chosen].double()[:, None].expand(-1, len(points))
    places = (_DEGREE * points).expand(len(clarity), -1, -1)
    return law.log_prob(places, clarity).exp().mean(0) * _DEGREE**2


def _some(found: Found) -> Int64[Tensor, "chosen"]:
    """The pictures that means are over, of all persons."""
    number = len(found.angles)
    return torch.arange(0, number, max(1, number // _PICTURES))[:_PICTURES]


def _space(codec: ScaledCodec) -> Directions:
    assert isinstance(codec.space, Directions)  # no other has a gaze
    return codec.space


def _scales(codec: ScaledCodec, found: Found, chosen: Int64[Tensor, "chosen"]) -> tuple[Tensor, Tensor]:
    """(pictures, 2) of the chosen: sigma in the codec's unit, and that of a degree."""
    sigma = found.outputs["sigma"][chosen, 0].expand(-1, 2)
    return sigma, torch.full((len(chosen), 2), _DEGREE / _space(codec).unit, dtype=torch.float64)


def _offsets(
    codec: ScaledCodec, about: Float[Tensor, "pictures 2"], found: Found
) -> Float[Tensor, "pictures 2"]:
    """Residuals of the labels in degrees, in the codec's plane."""
    residual = log_map if _space(codec).residual == "tangent" else angle_residual
    return torch.rad2deg(residual(about, found.eyes.label))
