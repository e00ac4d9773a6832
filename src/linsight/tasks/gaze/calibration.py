"""Calibration to a person from few samples, with an honest error."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from linsight.data import noise
from linsight.ops import angular_error, exp_map, log_map, to_vector
from linsight.tasks.gaze.affine import FEWEST, Affine, affine_fit, ridge_fit

__all__ = [
    "CalibrationCurve",
    "GazeCalibration",
    "calibrate",
    "calibration_curve",
    "calibration_kinds",
    "leave_one_out",
]

_KINDS = ("none", "offset", "affine", "ridge")


class GazeCalibration(nn.Module):
    """What makes a model's gaze a person's: x -> exp_map(A x + b, r), the identity as it is built.

    Its state is buffers: `state_dict` keeps a person's calibration, and it is exported with a model.
    """

    matrix: Tensor
    shift: Tensor
    residual: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(2, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("residual", torch.zeros(2, dtype=torch.float64))

    def forward(self, prediction: Tensor) -> Tensor:
        """The calibrated (pitch, yaw) (..., 2) of a model's, in radians."""
        moved = prediction.double() @ self.matrix.mT + self.shift
        return exp_map(moved, self.residual).to(prediction.dtype)


def calibration_kinds() -> tuple[str, ...]:
    """The names of the calibrations."""
    return _KINDS


def calibrate(kind: str, prediction: Tensor, truth: Tensor) -> GazeCalibration:
    """Fit a calibration to a person's samples.

    `none` changes nothing. `offset` is the mean of the tangent residuals (`linsight.ops.log_map`), two
    parameters. `affine` is least squares on pitch and yaw, six parameters. `ridge` is the same shrunk to a
    shift, as far as the leave-one-out error says.

    Args:
        kind: One of `calibration_kinds()`.
        prediction: (samples, 2), what the model says: pitch and yaw in radians.
        truth: (samples, 2), where the person looked.

    Raises:
        ValueError: An unknown kind; other shapes; no samples; angles that are not finite; `affine` with fewer
            than 6 samples, whose 12 numbers are twice its parameters.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind: expected one of {', '.join(_KINDS)}, got {kind!r}")
    prediction, truth = _samples(prediction, truth)
    found = GazeCalibration()
    if kind == "offset":
        found.residual.copy_(log_map(prediction, truth).mean(0))
    elif kind == "affine":
        if len(prediction) < FEWEST:
            raise ValueError(
                f"prediction: expected at least {FEWEST} samples for 'affine', got {len(prediction)}; "
                "use 'ridge' or 'offset'"
            )
        _take(found, affine_fit(prediction, truth))
    elif kind == "ridge":
        _take(found, ridge_fit(prediction, truth))
    return found


def leave_one_out(kind: str, prediction: Tensor, truth: Tensor) -> Float64[Tensor, "samples"]:
    """The angular error in radians at each sample of a calibration fitted to the others.

    Everything is fitted again, the strength of `ridge` too. NaN for a single sample, which leaves none.

    Raises:
        ValueError: As `calibrate`; `affine` needs one sample more.
    """
    prediction, truth = _samples(prediction, truth)
    number = len(prediction)
    if number == 1:
        calibrate(kind, prediction, truth)
        return torch.full((1,), math.nan, dtype=torch.float64)
    errors = []
    for row in range(number):
        others = torch.arange(number) != row
        fitted = calibrate(kind, prediction[others], truth[others])
        errors.append(_error(fitted(prediction[row]), truth[row]))
    return torch.stack(errors)


class CalibrationCurve(NamedTuple):
    """Mean angular errors in radians, by number of samples and by person."""

    counts: tuple[int, ...]
    before: Float64[Tensor, "persons"]
    """Without calibration, on the samples that no fit has seen."""
    after: Float64[Tensor, "counts persons"]
    """With it, on the same samples."""
    leave_one_out: Float64[Tensor, "counts persons"]
    """What the calibration samples themselves say of it; NaN for one sample."""


def calibration_curve(
    kind: str,
    prediction: Tensor,
    truth: Tensor,
    persons: Tensor,
    counts: Sequence[int] = (1, 5, 9, 20),
    *,
    seed: int = 0,
) -> CalibrationCurve:
    """How much of each person's error a few samples take away.

    Of each person as many samples as the largest count are set aside, in an order that is a function of
    (seed, person); the first n calibrate, and all other samples measure: the same ones for every n.

    Args:
        kind: One of `calibration_kinds()`.
        prediction, truth: (samples, 2), pitch and yaw in radians.
        persons: (samples,), integers of at least 0; the columns of the curve are their sorted values.
        counts: Numbers of calibration samples.
        seed: Of the choice.

    Raises:
        ValueError: As `calibrate`; a count below 1; a person with no sample beyond the largest count.
    """
    prediction, truth = _samples(prediction, truth)
    if len(counts) == 0 or min(counts) < 1:
        raise ValueError(f"counts: expected numbers of samples of at least 1, got {tuple(counts)}")
    before, after, left = [], [], []
    for person in persons.unique().tolist():
        rows = (persons == person).nonzero()[:, 0]
        if len(rows) <= max(counts):
            raise ValueError(
                f"persons: expected more than {max(counts)} samples of each, got {len(rows)} of {person}"
            )
        order = noise.words(noise.key(seed, "gaze/calibration"), np.array([person]), len(rows))[0]
        rows = rows[torch.from_numpy(np.argsort(order, kind="stable"))]
        kept = rows[max(counts) :]
        before.append(_error(prediction[kept], truth[kept]).mean())
        for count in counts:
            used = rows[:count]
            fitted = calibrate(kind, prediction[used], truth[used])
            after.append(_error(fitted(prediction[kept]), truth[kept]).mean())
            left.append(_left_out(kind, prediction[used], truth[used]))
    shape = (len(before), len(counts))
    return CalibrationCurve(
        tuple(counts),
        torch.stack(before),
        torch.stack(after).reshape(shape).mT,
        torch.stack(left).reshape(shape).mT,
    )


def _left_out(kind: str, prediction: Tensor, truth: Tensor) -> Tensor:
    """The mean leave-one-out error; NaN where the others are too few to fit."""
    if kind == "affine" and len(prediction) <= FEWEST:
        return torch.tensor(math.nan, dtype=torch.float64)
    return leave_one_out(kind, prediction, truth).mean()


def _error(prediction: Tensor, truth: Tensor) -> Tensor:
    return angular_error(to_vector(prediction), to_vector(truth))


def _take(calibration: GazeCalibration, affine: Affine) -> None:
    calibration.matrix.copy_(affine.matrix)
    calibration.shift.copy_(affine.shift)


def _samples(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    for name, angles in (("prediction", prediction), ("truth", truth)):
        if angles.ndim != 2 or angles.shape[1] != 2 or len(angles) != len(prediction):
            raise ValueError(
                f"{name}: expected pitch and yaw, shape (samples, 2), as of the prediction, "
                f"got {tuple(angles.shape)}"
            )
        if not angles.isfinite().all():
            raise ValueError(f"{name}: expected finite angles, got NaN or infinity")
    if len(prediction) == 0:
        raise ValueError("prediction: expected at least one sample, got none")
    return prediction.detach().double(), truth.detach().double()
