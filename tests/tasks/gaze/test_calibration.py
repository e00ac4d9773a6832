"""Calibration to a person: what it removes exactly, what it leaves alone, and an error that is honest."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from linsight.data.gaze import frames, mirror_angles, optical_axis, persons
from linsight.ops import angular_error, exp_map, to_vector
from linsight.tasks.gaze import (
    GazeCalibration,
    calibrate,
    calibration_curve,
    calibration_kinds,
    leave_one_out,
)
from linsight.tasks.gaze.affine import Affine, affine_fit, ridge_fit, ridge_path

BENDS = torch.tensor([[1.1, 0.05], [-0.1, 0.9]], dtype=torch.float64)
SHIFT = torch.tensor([0.02, -0.07], dtype=torch.float64)


def gazes(number: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(number, 2, generator=generator, dtype=torch.float64)


def errors(one: Tensor, other: Tensor) -> Tensor:
    return angular_error(to_vector(one), to_vector(other))


def crowd(number: int = 60, wander: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """What a perfect model of the picture says (the optical axis, of left eyes), the truth, the persons."""
    person = np.repeat(np.arange(15), number)
    frame = frames(person, np.tile(np.arange(number), 15))
    who = persons(person)
    optical = optical_axis(frame.visual, who.kappa, torch.full((len(person),), -1.0).double())
    return optical + wander * gazes(len(person), 9), frame.visual, torch.from_numpy(person)


@pytest.mark.parametrize("number", [1, 2, 9])
def test_a_constant_residual_is_removed_exactly_by_the_offset(number):
    prediction, fresh = gazes(number), gazes(50, 1)
    fitted = calibrate("offset", prediction, exp_map(prediction, SHIFT))
    torch.testing.assert_close(fitted(fresh), exp_map(fresh, SHIFT), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["affine", "ridge"])
def test_an_affine_bias_is_removed_exactly(kind):
    prediction, fresh = gazes(9), gazes(50, 1)
    fitted = calibrate(kind, prediction, prediction @ BENDS.mT + SHIFT)
    torch.testing.assert_close(fitted(fresh), fresh @ BENDS.mT + SHIFT, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", calibration_kinds())
@pytest.mark.parametrize("number", [1, 2, 5, 9])
def test_samples_that_are_right_change_nothing(kind, number):
    if kind == "affine" and number < 6:
        return
    fitted = calibrate(kind, gazes(number), gazes(number))
    torch.testing.assert_close(fitted(gazes(50, 1)), gazes(50, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", calibration_kinds())
def test_a_mirrored_person_has_the_mirrored_calibration(kind):
    prediction, truth, fresh = gazes(9), gazes(9) + 0.1 * gazes(9, 2), gazes(20, 3)
    one = calibrate(kind, prediction, truth)(fresh)
    other = calibrate(kind, mirror_angles(prediction), mirror_angles(truth))(mirror_angles(fresh))
    torch.testing.assert_close(other, mirror_angles(one), rtol=0, atol=1e-12)


def test_the_order_of_samples_does_not_matter():
    prediction, truth, order = gazes(9), gazes(9) + 0.1 * gazes(9, 2), torch.randperm(9)
    for kind in calibration_kinds():
        one, other = calibrate(kind, prediction, truth), calibrate(kind, prediction[order], truth[order])
        torch.testing.assert_close(one(gazes(5, 3)), other(gazes(5, 3)), rtol=0, atol=1e-12)


def test_affine_is_the_least_squares_of_torch():
    points, targets = gazes(12), gazes(12, 1)
    whole = torch.cat([points, torch.ones(12, 1, dtype=torch.float64)], 1)
    expected = torch.linalg.lstsq(whole, targets).solution
    found = affine_fit(points, targets)
    torch.testing.assert_close(found.matrix, expected[:2].mT)
    torch.testing.assert_close(found.shift, expected[2])


def literal_ridge(points: Tensor, targets: Tensor, strength: float) -> Affine:
    """The minimum of the penalised sum of squares, with the penalty as rows of data."""
    if math.isinf(strength):
        return Affine(torch.eye(2).double(), (targets - points).mean(0))
    mean = points.mean(0)
    scale = ((points - mean) ** 2).sum(1).mean()
    rows = torch.cat([points - mean, torch.ones(len(points), 1).double()], 1)
    penalty = math.sqrt(strength * scale) * torch.eye(3, dtype=torch.float64)[:2]
    wanted = torch.cat([targets - points, torch.zeros(2, 2).double()])
    solution = torch.linalg.lstsq(torch.cat([rows, penalty]), wanted).solution
    matrix = torch.eye(2).double() + solution[:2].mT
    return Affine(matrix, solution[2] - solution[:2].mT @ mean)


def test_the_leave_one_out_error_of_ridge_in_closed_form_is_that_of_fitting_again():
    """For each strength; the penalty's scale is held at that of all points."""
    points, targets = gazes(9), gazes(9) @ BENDS.mT + 0.05 * gazes(9, 4)
    scale = ((points - points.mean(0)) ** 2).sum(1).mean()
    for strength, found in ridge_path(points, targets).items():
        total = 0.0
        for row in range(9):
            others = torch.arange(9) != row
            own = points[others]
            own_scale = ((own - own.mean(0)) ** 2).sum(1).mean()
            fitted = literal_ridge(own, targets[others], strength * float(scale / own_scale))
            total += float(((fitted.apply(points[row]) - targets[row]) ** 2).sum())
        assert found == pytest.approx(total, rel=1e-9)


def test_ridge_takes_the_strength_whose_leave_one_out_error_is_least():
    for targets in (gazes(9) + 0.03 * gazes(9, 5), gazes(9) @ BENDS.mT, gazes(9) + SHIFT):
        path = ridge_path(gazes(9), targets)
        least = min(path.values())
        best = max(strength for strength, error in path.items() if error == least)
        found, expected = ridge_fit(gazes(9), targets), literal_ridge(gazes(9), targets, best)
        torch.testing.assert_close(found.matrix, expected.matrix, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.shift, expected.shift, rtol=0, atol=1e-9)
    assert ridge_fit(gazes(9), gazes(9) + SHIFT).matrix.allclose(torch.eye(2).double(), atol=1e-9)


def test_points_on_a_line_leave_the_map_alone_across_it():
    """Nothing is known across the line, so nothing is changed there: the nearest to the identity."""
    points = torch.stack([torch.linspace(-1, 1, 7), torch.zeros(7)], 1).double()
    found = affine_fit(points, points * 1.2)
    torch.testing.assert_close(found.matrix, torch.diag(torch.tensor([1.2, 1.0])).double())


def test_kappa_is_most_of_the_error_and_is_calibrated_away_on_samples_not_used():
    """15 persons, predictions perfect but for kappa: 5.4 degrees before; few samples leave little."""
    prediction, truth, person = crowd()
    before = {}
    for kind in ("offset", "ridge"):
        curve = calibration_curve(kind, prediction, truth, person)
        before[kind] = torch.rad2deg(curve.before.mean()).item()
        after = torch.rad2deg(curve.after.mean(1))
        assert 4.5 < before[kind] < 6.5
        assert after[0] < 1.0
        assert (after[1:] < 0.6).all()
        assert (curve.after[2] < curve.before).all(), "nobody is made worse"
        assert curve.leave_one_out[0].isnan().all()
        assert curve.leave_one_out[1:].isfinite().all()
    assert before["offset"] == before["ridge"], "the same samples measure"
    assert calibration_curve("none", prediction, truth, person).after.std(0).max() < 1e-12


def test_the_leave_one_out_error_is_the_error_on_other_samples_on_average():
    """With 3 degrees of noise in the predictions: within a tenth of what unused samples say."""
    prediction, truth, person = crowd(120, wander=0.1)
    for kind in ("offset", "ridge"):
        curve = calibration_curve(kind, prediction, truth, person, (9, 20))
        ratio = curve.leave_one_out.mean(1) / curve.after.mean(1)
        assert ((ratio > 0.85) & (ratio < 1.15)).all()
        # A fit looks better on its own samples than it is.
        rows = (person == 0).nonzero()[:9, 0]
        fitted = calibrate(kind, prediction[rows], truth[rows])
        own = errors(fitted(prediction[rows]), truth[rows]).mean()
        assert own < leave_one_out(kind, prediction[rows], truth[rows]).mean()


def test_leaving_one_out_is_fitting_to_the_others():
    prediction, truth = gazes(7), gazes(7) + 0.1 * gazes(7, 2)
    found = leave_one_out("offset", prediction, truth)
    others = calibrate("offset", prediction[1:], truth[1:])
    assert found[0].item() == pytest.approx(errors(others(prediction[0]), truth[0]).item())
    assert leave_one_out("offset", prediction[:1], truth[:1]).isnan().all()


def test_the_choice_of_samples_is_a_function_of_seed_and_person():
    prediction, truth, person = crowd(30, wander=0.1)
    one = calibration_curve("offset", prediction, truth, person, (3,))
    alone = calibration_curve("offset", *(part[person == 4] for part in (prediction, truth, person)), (3,))
    torch.testing.assert_close(alone.after[:, 0], one.after[:, 4])
    other = calibration_curve("offset", prediction, truth, person, (3,), seed=1)
    assert (other.after != one.after).all()


def test_a_calibration_is_kept_as_a_state():
    fitted = calibrate("ridge", gazes(9), gazes(9) + 0.1 * gazes(9, 2))
    other = GazeCalibration()
    other.load_state_dict(fitted.state_dict())
    torch.testing.assert_close(other(gazes(5, 1)), fitted(gazes(5, 1)), rtol=0, atol=0)
    assert other(gazes(5).float()).dtype == torch.float32
    assert sum(parameter.numel() for parameter in other.parameters()) == 0


def test_what_is_no_calibration_is_refused():
    one = gazes(5)
    with pytest.raises(ValueError, match="kind: expected one of none, offset, affine, ridge, got 'kappa'"):
        calibrate("kappa", one, one)
    with pytest.raises(
        ValueError, match="expected at least 6 samples for 'affine', got 5; use 'ridge' or 'offset'"
    ):
        calibrate("affine", one, one)
    with pytest.raises(ValueError, match="expected at least 6 samples for 'affine', got 5"):
        leave_one_out("affine", gazes(6), gazes(6))
    with pytest.raises(
        ValueError, match=r"truth: expected pitch and yaw, shape \(samples, 2\), .* got \(4, 2\)"
    ):
        calibrate("offset", one, one[:4])
    with pytest.raises(ValueError, match=r"prediction: expected pitch and yaw, .* got \(2,\)"):
        calibrate("offset", one[0], one[0])
    with pytest.raises(ValueError, match="truth: expected finite angles, got NaN or infinity"):
        calibrate("offset", one, one * math.nan)
    with pytest.raises(ValueError, match="prediction: expected at least one sample, got none"):
        calibrate("offset", one[:0], one[:0])
    with pytest.raises(ValueError, match=r"counts: expected numbers of samples of at least 1, got \(0, 5\)"):
        calibration_curve("offset", one, one, torch.zeros(5).long(), (0, 5))
    with pytest.raises(ValueError, match="persons: expected more than 5 samples of each, got 5 of 0"):
        calibration_curve("offset", one, one, torch.zeros(5).long(), (1, 5))


def test_samples_that_calibrate_do_not_measure() -> None:
    """Errors of 1, 2, 4, 8 and 16 degrees, four of them set aside: what is measured is one of the five."""
    degrees = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0], dtype=torch.float64)
    truth = torch.zeros(5, 2, dtype=torch.float64)
    said = torch.stack([torch.deg2rad(degrees), torch.zeros(5, dtype=torch.float64)], 1)
    curve = calibration_curve("none", said, truth, torch.zeros(5, dtype=torch.int64), (4,))
    for measured in (curve.before[0], curve.after[0, 0]):
        assert min(abs(torch.rad2deg(measured) - one) for one in degrees) < 1e-9
