"""The optical and the visual axis of an eye: kappa is a rotation in the eye's own frame."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from linsight.data.gaze import mirror_angles, optical_axis, visual_axis
from linsight.ops import angular_error, rotation_matrix, to_vector

sides = st.sampled_from([-1.0, 1.0])
optics = st.tuples(st.floats(-1.2, 1.2), st.floats(-3, 3))
kappas = st.tuples(st.floats(-0.1, 0.1), st.floats(-0.2, 0.2))


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_kappa_of_an_eye_that_looks_ahead_points_upwards_and_to_the_nose():
    """A person's left eye has the nose to the left in the image, which is positive yaw."""
    kappa = double(math.radians(1.5), math.radians(5))
    for nasal, sign in ((-1.0, 1), (1.0, -1)):
        found = visual_axis(double(0, 0), kappa, torch.tensor(nasal).double())
        torch.testing.assert_close(found, double(math.radians(1.5), sign * math.radians(5)))


@given(optical=optics, kappa=kappas, nasal=sides)
def test_it_is_the_rotation_of_the_vector_of_kappa(optical, kappa, nasal):
    """Ry(yaw) Rx(pitch) v(kappa), with the matrices written out of rotation vectors."""
    pitch, yaw = optical
    # Our pitch turns from z to y, our yaw from z to x, against the right hand in one case each.
    turn = rotation_matrix(double(0, yaw, 0)) @ rotation_matrix(double(-pitch, 0, 0))
    torch.testing.assert_close(turn @ double(0, 0, -1), to_vector(double(*optical)), rtol=0, atol=1e-12)
    expected = turn @ to_vector(double(kappa[0], -nasal * kappa[1]))
    found = to_vector(visual_axis(double(*optical), double(*kappa), torch.tensor(nasal).double()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@given(optical=optics, kappa=kappas, nasal=sides)
def test_the_angle_between_the_axes_is_kappas_wherever_the_eye_looks(optical, kappa, nasal):
    side = torch.tensor(nasal).double()
    visual = visual_axis(double(*optical), double(*kappa), side)
    angle = angular_error(to_vector(visual), to_vector(double(*optical)))
    expected = angular_error(to_vector(double(*kappa)), to_vector(double(0, 0)))
    assert angle.item() == pytest.approx(expected.item(), abs=1e-12)


@given(visual=st.tuples(st.floats(-1.2, 1.2), st.floats(-3, 3)), kappa=kappas, nasal=sides)
def test_the_optical_axis_is_found_exactly(visual, kappa, nasal):
    side = torch.tensor(nasal).double()
    optical = optical_axis(double(*visual), double(*kappa), side)
    back = visual_axis(optical, double(*kappa), side)
    torch.testing.assert_close(to_vector(back), to_vector(double(*visual)), rtol=0, atol=1e-12)


@given(optical=optics, kappa=kappas, nasal=sides)
def test_mirrored_eyes_have_mirrored_axes(optical, kappa, nasal):
    side = torch.tensor(nasal).double()
    visual = visual_axis(double(*optical), double(*kappa), side)
    mirrored = visual_axis(mirror_angles(double(*optical)), double(*kappa), -side)
    torch.testing.assert_close(mirrored, mirror_angles(visual), rtol=0, atol=1e-12)
