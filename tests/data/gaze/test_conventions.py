"""Conventions: the values of each, round trips between all, and the mirror test."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linsight.data.gaze import (
    CONVENTIONS,
    convert,
    mirror_angles,
    mirror_image,
    mirror_rotation,
    mirror_vectors,
    vectors_of,
)
from linsight.data.geometry import Warp
from linsight.ops import angular_error, rotation_matrix, to_pitchyaw, to_vector

WITH_ANGLES = [name for name, convention in CONVENTIONS.items() if convention.has_angles]
gazes = st.tuples(st.floats(-1.5, 1.5), st.floats(-3.1, 3.1))


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_pair_of_which_all_values_are_known():
    """(pitch, yaw) = (.2, .3) as each public code writes it."""
    ours = double(-0.289629478, -0.198669331, -0.936293364)
    signs = {
        "linsight": (1, 1, 1),
        "mpiigaze": (1, 1, 1),
        "gazehub": (1, 1, 1),
        "xgaze": (-1, -1, -1),
        "gaze360": (-1, -1, 1),
        "unityeyes": (1, -1, 1),
    }
    assert set(signs) == set(CONVENTIONS)
    for name, sign in signs.items():
        theirs = convert(to_vector(double(0.2, 0.3)), "linsight", name)
        torch.testing.assert_close(theirs, ours * double(*sign), rtol=0, atol=5e-10)
    gaze360 = double(0.289629478, 0.198669331, -0.936293364)
    torch.testing.assert_close(vectors_of(double(0.3, 0.2), "gaze360"), gaze360, rtol=0, atol=5e-10)
    for name in ("gazehub", "gaze360"):
        assert convert(double(0.3, 0.2), name).tolist() == [0.2, 0.3]
    for name in ("mpiigaze", "xgaze"):
        assert convert(double(0.2, 0.3), name).tolist() == [0.2, 0.3]


def literal(name: str, angles: Tensor) -> Tensor:
    """The vector of a convention's angles, by the formula in its public code."""
    first, second = angles.tolist()
    pitch, yaw = (second, first) if name in ("gazehub", "gaze360") else (first, second)
    across, down, along = math.cos(pitch) * math.sin(yaw), math.sin(pitch), math.cos(pitch) * math.cos(yaw)
    if name == "xgaze":
        return double(across, down, along)
    if name == "gaze360":
        return double(across, down, -along)
    return double(-across, -down, -along)


@pytest.mark.parametrize("name", WITH_ANGLES)
@given(gaze=gazes)
def test_vectors_are_those_of_the_public_formulas(name, gaze):
    theirs = convert(double(*gaze), "linsight", name)
    torch.testing.assert_close(vectors_of(theirs, name), literal(name, theirs), rtol=0, atol=1e-14)


@pytest.mark.parametrize("source", CONVENTIONS)
@pytest.mark.parametrize("target", CONVENTIONS)
@settings(max_examples=15)
@given(gaze=gazes)
def test_there_and_back_is_the_same(source, target, gaze):
    vector = to_vector(double(*gaze))
    back = convert(convert(vector, source, target), target, source)
    torch.testing.assert_close(back, vector, rtol=0, atol=1e-12)
    if CONVENTIONS[source].has_angles and CONVENTIONS[target].has_angles:
        angles = convert(double(*gaze), "linsight", source)
        torch.testing.assert_close(convert(convert(angles, source, target), target, source), angles)
        # Angles and vectors go the same way.
        theirs = vectors_of(convert(angles, source, target), target)
        expected = convert(vectors_of(angles, source), source, target)
        torch.testing.assert_close(theirs, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CONVENTIONS)
@given(gaze=gazes)
def test_the_mirror_changes_the_sign_of_x_and_of_yaw_in_every_convention(name, gaze):
    """Flip a picture and convert, or convert and flip: the same; in none of them does y or pitch change."""
    vector = to_vector(double(*gaze))
    mirrored = convert(mirror_vectors(vector), "linsight", name)
    torch.testing.assert_close(mirrored, convert(vector, "linsight", name) * double(-1, 1, 1))
    if name in WITH_ANGLES:
        angles = convert(mirror_angles(double(*gaze)), "linsight", name)
        sign = double(-1, 1) if CONVENTIONS[name].yaw_first else double(1, -1)
        torch.testing.assert_close(angles, convert(double(*gaze), "linsight", name) * sign)


@settings(max_examples=40)
@given(gaze=gazes, turn=st.tuples(*[st.floats(-3, 3)] * 3))
def test_mirrors_of_angles_vectors_heads_and_images_are_one_law(gaze, turn):
    angles = double(*gaze)
    torch.testing.assert_close(to_vector(mirror_angles(angles)), mirror_vectors(to_vector(angles)))
    head = rotation_matrix(double(*turn))
    mirrored = mirror_rotation(head)
    torch.testing.assert_close(mirrored @ mirrored.mT, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(mirrored).item() == pytest.approx(1)
    # A mirrored head moves a mirrored point to the mirror of where it was.
    point = double(0.3, -1.0, 2.0)
    torch.testing.assert_close(mirrored @ mirror_vectors(point), mirror_vectors(head @ point))
    # Its front, the third column, is turned the other way.
    front, other = to_pitchyaw(-head[:, 2]), to_pitchyaw(-mirrored[:, 2])
    assert angular_error(to_vector(mirror_angles(front)), to_vector(other)).item() < 1e-12
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    flip = Warp.flip(1, (2, 3))
    assert torch.equal(mirror_image(image), flip.image(image))
    torch.testing.assert_close(
        flip.directions(to_vector(angles)[None, None])[0, 0], mirror_vectors(to_vector(angles))
    )


def test_degrees_are_taken_where_they_are_declared_and_given_back_never():
    expected = double(math.radians(10), math.radians(-20))
    torch.testing.assert_close(convert(double(10, -20), "linsight", degrees=True), expected)
    torch.testing.assert_close(convert(double(-20, 10), "gazehub", degrees=True), expected)


@pytest.mark.parametrize(
    ("gaze", "names", "message"),
    [
        ((0.1, 0.2), ("mpigaze",), "source: expected one of linsight, mpiigaze, .*, got 'mpigaze'"),
        ((0.1, 0.2), ("xgaze", "eve"), "target: expected one of linsight, .*, got 'eve'"),
        ((0.1,), ("xgaze",), r"gaze: expected angles \(\.\.\., 2\) or vectors \(\.\.\., 3\), got \(1,\)"),
        (
            (10.0, 1.0),
            ("xgaze",),
            "expected angles within 2 pi in radians, got 10; pass degrees=True if they",
        ),
        ((1.6, 0.2), ("xgaze",), r"expected a pitch within a quarter turn, got 1.6 rad; is the order"),
        ((0.2, 1.6), ("gazehub",), r"expected a pitch within a quarter turn, got 1.6 rad; is the order"),
        (
            (0.1, 0.2),
            ("unityeyes",),
            r"'unityeyes' has vectors \(\.\.\., 3\) alone, got angles \(\.\.\., 2\)",
        ),
        ((0.1, 0.2), ("xgaze", "unityeyes"), r"'unityeyes' has vectors \(\.\.\., 3\) alone"),
        ((0.0, 0.0, 9e-7), ("xgaze",), "expected vectors of length at least 1e-6, got 1 shorter"),
        ((math.nan, 0.0), ("xgaze",), "gaze: expected finite numbers, got NaN or infinity"),
        ((0.0, math.inf, 1.0), ("xgaze",), "gaze: expected finite numbers, got NaN or infinity"),
    ],
)
def test_what_is_no_gaze_is_refused(gaze, names, message):
    with pytest.raises(ValueError, match=message):
        convert(double(*gaze), *names)


def test_integers_are_refused_and_nothing_stays_nothing():
    with pytest.raises(TypeError, match="gaze: expected floating point, got"):
        convert(torch.zeros(2, dtype=torch.int64), "xgaze")
    assert convert(torch.zeros(0, 2), "gazehub").shape == (0, 2)
    assert convert(torch.zeros(0, 3), "gaze360").shape == (0, 3)
    with pytest.raises(ValueError, match=r"expected angles within 2 pi in radians, got 6\.98\d+$"):
        convert(double(0, 400), "linsight", degrees=True)


def test_a_pitch_a_thousandth_beyond_the_pole_is_rounding():
    angles = double(math.pi / 2 + 9e-4, 0)
    assert convert(angles, "xgaze").tolist() == angles.tolist()
