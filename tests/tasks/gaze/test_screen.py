"""The point of a screen that is looked at: rays on planes, and pixels from nine points."""

import math

import pytest
import torch
from torch import Tensor

from linsight.ops import rotation_matrix, to_vector
from linsight.tasks.gaze import Screen, calibrate_screen, screen_point

# A camera at the middle of the upper edge of a screen of 1920 x 1080 pixels of 0.0277 cm, in its own plane.
SCREEN = Screen((26.592, 0.5, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 0.0277)
EYE = torch.tensor([2.0, 5.0, 60.0], dtype=torch.float64)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def nine() -> Tensor:
    columns, rows = torch.meshgrid(double(100, 960, 1820), double(100, 540, 980), indexing="xy")
    return torch.stack([columns.flatten(), rows.flatten()], 1)


def test_rays_by_hand():
    """From 60 cm in front of the plane z = 0: ahead, 45 degrees to the left, along the plane, away."""
    gaze = torch.stack([double(0, 0, -1), double(-1, 0, -1) / math.sqrt(2), double(1, 0, 0), double(0, 0, 1)])
    points, meets = screen_point(EYE, gaze, double(0, 0, 0), double(0, 0, 1))
    assert meets.tolist() == [True, True, False, False]
    torch.testing.assert_close(points[0], double(2, 5, 0))
    torch.testing.assert_close(points[1], double(-58, 5, 0))
    assert points[2:].isnan().all()


def test_a_plane_is_the_same_from_either_side_and_from_any_of_its_points():
    gaze = to_vector(double(0.1, 0.2))
    plane, normal = double(0, 0, 5), to_vector(double(0.3, -0.2))
    one, _ = screen_point(EYE, gaze, plane, normal)
    aside = torch.linalg.cross(normal, double(1, 0, 0))
    other, _ = screen_point(EYE, gaze, plane + 3 * aside, -normal)
    torch.testing.assert_close(one, other)
    assert ((one - plane) * normal).sum().item() == pytest.approx(0, abs=1e-12)
    turn, shift = rotation_matrix(double(0.4, -1.0, 2.0)), double(3, 1, -2)
    moved, _ = screen_point(turn @ EYE + shift, turn @ gaze, turn @ plane + shift, turn @ normal)
    torch.testing.assert_close(moved, turn @ one + shift)


def test_missing_the_screen_harms_no_gradient():
    gaze = torch.stack([double(0, 0, -1), double(1, 0, 0)]).requires_grad_()
    points, meets = screen_point(EYE, gaze, double(0, 0, 0), double(0, 0, 1))
    points[meets].sum().backward()
    assert gaze.grad is not None
    assert gaze.grad.isfinite().all()


def test_a_mark_that_is_looked_at_is_the_pixel_that_is_found():
    marks = nine()
    places = (
        double(26.592, 0.5, 0.0) + marks[:, :1] * double(-0.0277, 0, 0) + marks[:, 1:] * double(0, 0.0277, 0)
    )
    pixels, meets = SCREEN.pixels(EYE, places - EYE)
    assert meets.all()
    torch.testing.assert_close(pixels, marks, rtol=0, atol=1e-9)
    # Who looks to the image's left looks to the screen's right: the camera faces the person.
    left, ahead = (SCREEN.pixels(EYE, to_vector(double(0, yaw)))[0] for yaw in (0.1, 0.0))
    assert left[0] > ahead[0]
    _, behind = SCREEN.pixels(EYE, double(0, 0, 1))
    assert not behind


@pytest.mark.parametrize("kind", ["affine", "ridge"])
def test_nine_points_find_what_the_geometry_gets_wrong(kind):
    bend = torch.tensor([[1.03, 0.01], [-0.02, 0.96]]).double()
    marks, fresh = nine(), 900 * torch.rand(20, 2, dtype=torch.float64)
    wrong = (marks - double(30, -12)) @ torch.linalg.inv(bend).mT
    fit = calibrate_screen(wrong, marks, SCREEN, kind=kind)
    torch.testing.assert_close(fit.apply(fresh), fresh @ bend.mT + double(30, -12), rtol=0, atol=0.02)
    assert fit.pixels.shape == (9,)
    assert fit.pixels.max() < 0.1
    torch.testing.assert_close(fit.centimetres, fit.pixels * 0.0277)


def test_the_error_is_that_of_points_left_out():
    """Nine points with 20 pixels of noise: more than on the points themselves, of the noise's size."""
    ratios = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        places = nine() + 20 * torch.randn(9, 2, generator=generator, dtype=torch.float64)
        for kind in ("affine", "ridge"):
            fit = calibrate_screen(places, nine(), SCREEN, kind=kind)
            own = (fit.apply(places) - nine()).norm(dim=1)
            assert own.mean() < fit.pixels.mean()
            ratios.append(fit.pixels.mean() / 20)
    # Two numbers of deviation 20 are 25 long on average, and the fit adds its own.
    assert 1.2 < torch.stack(ratios).mean() < 2.0


def test_few_points_have_a_fit_and_no_error():
    one = calibrate_screen(nine()[:1] - 5, nine()[:1], SCREEN)
    torch.testing.assert_close(one.apply(nine()), nine() + 5)
    assert one.pixels.isnan().all()
    assert calibrate_screen(nine()[:6], nine()[:6], SCREEN, kind="affine").pixels.isnan().all()


def test_what_is_no_screen_is_refused():
    with pytest.raises(ValueError, match="right, down: expected orthogonal directions of length 1"):
        Screen((0, 0, 0), (1, 0, 0), (1, 0, 0), 0.03)
    with pytest.raises(ValueError, match="pitch: expected a number above 0, got 0"):
        Screen((0, 0, 0), (1, 0, 0), (0, 1, 0), 0.0)
    with pytest.raises(ValueError, match=r"gaze: expected shape \(\.\.\., 3\), got \(2,\)"):
        screen_point(EYE, double(0, 1), EYE, EYE)
    with pytest.raises(ValueError, match="kind: expected 'affine' or 'ridge', got 'offset'"):
        calibrate_screen(nine(), nine(), SCREEN, kind="offset")
    with pytest.raises(
        ValueError, match=r"targets: expected shape \(points, 2\), as of the places, got \(8, 2\)"
    ):
        calibrate_screen(nine(), nine()[:8], SCREEN)
    with pytest.raises(
        ValueError, match="places: expected finite places, got NaN or infinity; leave out what"
    ):
        calibrate_screen(nine() * math.nan, nine(), SCREEN)
    with pytest.raises(ValueError, match="places: expected at least 6 points for 'affine', got 5"):
        calibrate_screen(nine()[:5], nine()[:5], SCREEN, kind="affine")
    with pytest.raises(ValueError, match="places: expected at least 1 points for 'ridge', got 0"):
        calibrate_screen(nine()[:0], nine()[:0], SCREEN)
