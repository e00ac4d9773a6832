"""Numbers of a network of gaze on a split."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.data.noise_laws import AnyNoiseLaw
from linsight.metrics import (
    Sparsification,
    angular_compute,
    angular_update,
    coverage_compute,
    coverage_update,
    sparsification,
)
from linsight.models.vision import GazeNet
from linsight.ops import log_area_ratio, log_map
from linsight.tasks.gaze.affine import FEWEST
from linsight.tasks.gaze.calibration import CalibrationCurve, calibration_curve
from linsight.tasks.gaze.found import Found, angle
from linsight.tasks.head_size import head_size

__all__ = ["COUNTS", "Calibrated", "calibrated", "errors_of", "measures", "person_means", "sparsified"]

COUNTS = (1, 5, 9, 20)
"""Samples that calibrate."""
NOMINAL = (0.5, 0.8, 0.9)


class Calibrated(NamedTuple):
    """What calibration with few samples of each person makes of the errors, in degrees."""

    counts: tuple[int, ...]
    before: Float[Tensor, "persons"]
    """On the pictures that none of the fits has seen; so are `after`."""
    after: dict[str, dict[int, Float[Tensor, "persons"]]]
    """By kind and number of samples."""
    left_out: dict[str, dict[int, Float[Tensor, "persons"]]]
    """What the samples themselves say of it: their leave-one-out errors."""


def calibrated(found: Found) -> Calibrated | None:
    """All kinds at as many of `COUNTS` as leave pictures to measure on; None where none does.

    The samples that calibrate are true: a person who is asked to look at a point does.
    """
    fewest = int(torch.bincount(found.persons).min())
    counts = tuple(count for count in COUNTS if count < fewest)
    if not counts:
        return None
    after: dict[str, dict[int, Tensor]] = {}
    left: dict[str, dict[int, Tensor]] = {}
    curve: CalibrationCurve | None = None
    for kind in ("offset", "ridge", "affine"):
        able = [count for count in counts if kind != "affine" or count >= FEWEST]
        # The largest count decides who is measured on, and is the same for every kind.
        if not able:
            continue
        curve = calibration_curve(kind, found.angles, found.eyes.gaze, found.eyes.person, able)
        after[kind] = {n: torch.rad2deg(row) for n, row in zip(able, curve.after, strict=True)}
        left[kind] = {n: torch.rad2deg(row) for n, row in zip(able, curve.leave_one_out, strict=True)}
    assert curve is not None  # an offset takes any number of samples
    return Calibrated(counts, torch.rad2deg(curve.before), after, left)


def person_means(degrees: Float[Tensor, "pictures"], found: Found) -> Float[Tensor, "persons"]:
    """The mean of each person, in the order of their numbers."""
    persons = found.persons
    number = int(persons.max()) + 1
    total = degrees.new_zeros(number).index_add(0, persons, degrees)
    return total / torch.bincount(persons, minlength=number)


def measures(net: GazeNet, found: Found, law: AnyNoiseLaw, personal: Calibrated | None) -> dict[str, float]:
    """Errors against the clean truth in degrees, of densities against the labels; names carry units."""
    numbers = {**errors_of(found), **_mirror(found)}
    if personal is not None:
        numbers["degrees_before_calibration"] = float(personal.before.mean())
        for kind, row in personal.after.items():
            numbers |= {f"degrees_{kind}_{count}": float(one.mean()) for count, one in row.items()}
    if law.kind != "none":
        numbers["label_degrees"] = float(person_means(angle(found.eyes.label, found.eyes.gaze), found).mean())
        numbers["label_nll_of_law_nats"] = law_nll(net, found, law)
    if found.level is not None and found.nll is not None:
        numbers["label_nll_nats"] = float(found.nll.double().mean())
        cover = coverage_compute(coverage_update(found.level, NOMINAL))
        numbers |= {
            f"coverage_{100 * p:.0f}": one for p, one in zip(NOMINAL, cover.coverage.tolist(), strict=True)
        }
        numbers["coverage_error"] = float(cover.error)
    if found.sigma is not None:
        numbers["sparsification_area"] = float(sparsified(found).area)
        numbers["sigma_degrees"] = float(torch.rad2deg(_spread(found)).mean())
        numbers["sigma_to_visible_rank_correlation"] = rank_correlation(_spread(found), found.eyes.visible)
    device = next(net.parameters()).device
    picture = torch.zeros(1, net.config.backbone.in_channels, *net.config.size, device=device)
    head = torch.zeros(1, 2, device=device)
    return {**numbers, **head_size(net, picture, head), "milliseconds_per_picture": 1e3 * found.seconds}


def errors_of(found: Found) -> dict[str, float]:
    """`degrees` is the mean over persons of their means, each person once."""
    persons = found.persons
    errors = angular_compute(
        angular_update(found.angles, found.eyes.gaze, persons, num_persons=int(persons.max()) + 1)
    )
    return {
        "degrees": float(errors.mean_of_persons),
        "degrees_standard_error": float(errors.standard_error),
        "degrees_pooled": float(errors.pooled_mean),
        "degrees_median": float(errors.median),
        "degrees_p90": float(errors.p90),
        "degrees_worst_person": float(errors.person_means.max()),
    }


def _mirror(found: Found) -> dict[str, float]:
    """Of the mirror image, mirrored back: its error, its distance from the picture, and that of both looks.

    The correlations are near 1 of whatever has learnt that a mirror changes the sign of yaw and not of pitch,
    and near -1 where a sign or the order of the angles is wrong.
    """
    gaze = found.eyes.gaze
    pitch, yaw = (_correlation(found.mirrored[:, axis], found.angles[:, axis]) for axis in (0, 1))
    return {
        "degrees_mirrored": float(person_means(angle(found.mirrored, gaze), found).mean()),
        "degrees_mirror_gap": float(angle(found.mirrored, found.angles).mean()),
        "degrees_flip_test": float(person_means(angle(found.flipped, gaze), found).mean()),
        "mirror_pitch_correlation": pitch,
        "mirror_yaw_correlation": yaw,
    }


def law_nll(net: GazeNet, found: Found, law: AnyNoiseLaw) -> float:
    """-log p of the labels under the law itself about the truth, in the unit that the codec's has.

    Who knows the axis of sight of every person reaches it; no model's is less but by chance.
    """
    residual = log_map(found.eyes.gaze, found.eyes.label)
    nll = -law.log_prob(residual, found.eyes.visible.double())
    return float((nll - log_area_ratio(residual) if net.config.jacobian else nll).mean())


def sparsified(found: Found) -> Sparsification:
    """Mean degrees of what is left as the least sure pictures, and as the worst, are dropped."""
    return sparsification(found.degrees, _spread(found))


def rank_correlation(one: Float[Tensor, "pictures"], other: Float[Tensor, "pictures"]) -> float:
    """Spearman's: the correlation of the ranks, equal values sharing theirs; NaN of a constant."""
    return _correlation(_ranks(one), _ranks(other))


def _ranks(values: Float[Tensor, "pictures"]) -> Float[Tensor, "pictures"]:
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return ((last - counts + last - 1).double() / 2)[place.reshape(-1)]


def _correlation(one: Float[Tensor, "pictures"], other: Float[Tensor, "pictures"]) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale > 0 else math.nan


def _spread(found: Found) -> Float[Tensor, "pictures"]:
    """Sigma of a picture in radians: the root of the mean over the axes."""
    assert found.sigma is not None  # of a codec that has one
    return found.sigma.square().mean(1).sqrt()
