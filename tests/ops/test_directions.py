"""Directions: hand values, literal formulas in float64, laws of the sphere, gradients where they are hard."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.autograd import gradcheck

from linsight.ops import (
    angle_residual,
    angular_error,
    exp_map,
    log_area_ratio,
    log_map,
    mean_direction,
    rotation_matrix,
    to_pitchyaw,
    to_vector,
    wrap_angle,
)

DEGREE = math.pi / 180
pitches = st.floats(-math.pi / 2, math.pi / 2)
yaws = st.floats(-math.pi, math.pi)
lengths = st.floats(0, math.pi - 2e-3)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def literal_log(base: Tensor, target: Tensor) -> Tensor:
    """The tangent residual as it is defined: vectors, their inner products, and the angle by acos."""
    p, y = base.tolist()
    u, v = to_vector(base), to_vector(target)
    e_p = double(math.sin(p) * math.sin(y), -math.cos(p), math.sin(p) * math.cos(y))
    e_y = double(-math.cos(y), 0, math.sin(y))
    w = v - (u @ v) * u
    theta = math.acos(float((u @ v).clamp(-1, 1)))
    return theta / w.norm() * torch.stack([w @ e_p, w @ e_y])


def literal_exp(base: Tensor, residual: Tensor) -> Tensor:
    """The vector at a residual, by the exponential map of the sphere."""
    p, y = base.tolist()
    e_p = double(math.sin(p) * math.sin(y), -math.cos(p), math.sin(p) * math.cos(y))
    e_y = double(-math.cos(y), 0, math.sin(y))
    theta = float(residual.norm())
    ratio = math.sin(theta) / theta if theta else 1.0
    return math.cos(theta) * to_vector(base) + ratio * (residual[0] * e_p + residual[1] * e_y)


def test_the_vector_of_a_known_pair():
    expected = double(-0.289629478, -0.198669331, -0.936293364)
    torch.testing.assert_close(to_vector(double(0.2, 0.3)), expected, rtol=0, atol=5e-10)


def test_zero_looks_into_the_camera_and_signs_are_up_and_the_images_left():
    assert to_vector(double(0, 0)).tolist() == [0, 0, -1]
    assert to_vector(double(0.3, 0))[1] < 0, "y points down, so up is negative"
    assert to_vector(double(0, 0.3))[0] < 0, "x points right, so left is negative"


@given(pitch=pitches, yaw=yaws, length=st.floats(1e-3, 1e3))
def test_angles_of_vectors_of_any_length_come_back(pitch, yaw, length):
    angles = double(pitch, yaw)
    back = to_pitchyaw(length * to_vector(angles))
    # Yaw means less and less towards a pole; the direction is what comes back.
    assert angular_error(to_vector(back), to_vector(angles)).item() < 1e-14
    assert back[0].item() == pytest.approx(pitch, abs=3e-8)
    if abs(pitch) < 1.5 and abs(yaw) < 3.1:
        torch.testing.assert_close(back, angles, rtol=0, atol=1e-13)


def test_at_the_poles_pitch_is_a_quarter_turn_and_yaw_0_with_finite_gradients():
    for sign in (1.0, -1.0):
        for zero in (0.0, -0.0):
            vector = double(zero, -sign, zero).requires_grad_()
            angles = to_pitchyaw(vector)
            assert angles.tolist() == [sign * math.pi / 2, 0]
            angles.sum().backward()
            assert vector.grad is not None
            assert vector.grad.isfinite().all()


def test_float32_keeps_small_pitches_that_asin_of_a_length_above_1_would_lose():
    vector = torch.tensor([0.0, -1.0000001, -1e-4])
    assert to_pitchyaw(vector)[0].item() == pytest.approx(math.pi / 2 - 1e-4, abs=1e-7)


def test_the_angle_between_two_known_directions():
    found = angular_error(to_vector(double(0.2, 0.3)), to_vector(double(0.25, 0.2))) / DEGREE
    assert found.item() == pytest.approx(6.276320399, abs=5e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degrees", [0.01, 0.1, 1.0, 90.0, 179.9])
def test_the_angle_is_exact_where_acos_is_not(dtype, degrees):
    """acos in float32 has 0.0949 for 0.1 degrees and 0 for 0.01."""
    turned = torch.tensor([0.0, degrees * DEGREE], dtype=torch.float64)
    one, other = to_vector(torch.zeros(2, dtype=dtype)), to_vector(turned).to(dtype)
    assert angular_error(one, other).item() / DEGREE == pytest.approx(degrees, rel=2e-6, abs=1e-5)


def test_antipodes_are_half_a_turn_apart_and_lengths_do_not_matter():
    u = to_vector(double(0.2, 0.3))
    assert angular_error(u, -u).item() == math.pi
    assert angular_error(u, u).item() == 0
    assert angular_error(5 * u, to_vector(double(0.25, 0.2))).item() / DEGREE == pytest.approx(6.2763204)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("sign", [1, -1, 0])
def test_the_gradient_of_the_angle_is_finite_at_a_match_at_the_antipode_and_at_no_vector(dtype, sign):
    u = to_vector(torch.tensor([0.2, 0.3])).to(dtype)
    prediction = (sign * u).clone().requires_grad_()
    angular_error(prediction, u).backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_half_precision_is_measured_in_float32():
    u = torch.tensor([[0.0, 0.0, -1.0]], dtype=torch.bfloat16)
    assert angular_error(u, u).dtype == torch.float32
    assert to_vector(torch.zeros(2, dtype=torch.float16)).dtype == torch.float32


def test_gradients_equal_finite_differences():
    angles = (0.6 * torch.randn(2, 5, 2, dtype=torch.float64)).requires_grad_()
    vectors = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    residual = (0.5 * torch.randn(5, 2, dtype=torch.float64)).requires_grad_()
    tiny = (1e-3 * torch.randn(5, 2, dtype=torch.float64)).requires_grad_()
    assert gradcheck(to_pitchyaw, vectors)
    assert gradcheck(lambda v: angular_error(v[:2], v[2:]), vectors)
    assert gradcheck(lambda a: log_map(a[0], a[1]), angles)
    assert gradcheck(lambda a, r: log_map(a[0], a[0] + r), (angles, tiny))
    assert gradcheck(lambda a, r: exp_map(a[0], r), (angles, residual))
    assert gradcheck(lambda a, r: exp_map(a[0], r), (angles, tiny))
    for rotation in (vectors, 1e-3 * vectors.detach(), torch.zeros(3, dtype=torch.float64)):
        assert gradcheck(rotation_matrix, rotation.detach().clone().requires_grad_())
    for point in (residual, tiny):
        assert gradcheck(log_area_ratio, point)


def test_the_tangent_residual_of_a_known_pair():
    found = log_map(double(0.2, 0.3), double(0.25, 0.2))
    torch.testing.assert_close(found, double(0.051042854, -0.096923561), rtol=0, atol=5e-10)
    torch.testing.assert_close(found / DEGREE, double(2.924540, -5.553311), rtol=0, atol=5e-7)


@given(p=st.floats(-1.5, 1.5), y=yaws, q=pitches, z=yaws)
def test_the_residual_is_its_definition_and_as_long_as_the_angle(p, y, q, z):
    base, target = double(p, y), double(q, z)
    theta = angular_error(to_vector(base), to_vector(target)).item()
    found = log_map(base, target)
    assert found.norm().item() == pytest.approx(min(theta, math.pi - 1e-3), abs=1e-9)
    if 1e-3 < theta < math.pi - 2e-3:
        torch.testing.assert_close(found, literal_log(base, target), rtol=1e-6, atol=1e-9)


@given(p=pitches, y=yaws, length=lengths, way=yaws)
def test_exp_and_log_invert_one_another(p, y, length, way):
    base, residual = double(p, y), double(length * math.cos(way), length * math.sin(way))
    target = exp_map(base, residual)
    expected = literal_exp(base, residual)
    assert angular_error(to_vector(target), expected).item() < 1e-12
    # Near the antipode the direction is known to rounding over the distance from it.
    tolerance = 1e-13 / min(1.0, math.pi - length) + 1e-13
    torch.testing.assert_close(log_map(base, target), residual, rtol=0, atol=1e2 * tolerance)


@given(p=pitches, y=yaws, turns=st.integers(-2, 2))
def test_whole_turns_of_yaw_change_no_residual_and_no_direction(p, y, turns):
    base, moved = double(p, y), double(p, y + 2 * math.pi * turns)
    target = double(0.1, -3.0)
    torch.testing.assert_close(log_map(moved, target), log_map(base, target), rtol=0, atol=1e-10)


@given(p=pitches, y=yaws, q=pitches, z=yaws)
def test_a_mirror_turns_the_yaw_of_the_residual_round_and_leaves_its_pitch(p, y, q, z):
    flip = double(1, -1)
    base, target = double(p, y), double(q, z)
    mirrored = log_map(flip * base, flip * target)
    torch.testing.assert_close(mirrored, flip * log_map(base, target), rtol=0, atol=1e-9)


def test_bases_targets_and_residuals_broadcast():
    base, one = torch.rand(4, 1, 2).double(), torch.rand(3, 2).double()
    for function in (log_map, exp_map, angle_residual):
        whole = function(base, one)
        assert whole.shape == (4, 3, 2)
        torch.testing.assert_close(whole[2, 1], function(base[2, 0], one[1]))
        torch.testing.assert_close(function(base[:, 0], one[0]), whole[:, 0])
        torch.testing.assert_close(function(base[0, 0], one), whole[0])
    assert angular_error(to_vector(base), to_vector(one)).shape == (4, 3)


def test_ten_degrees_of_yaw_at_four_pitches():
    """10.0, 8.66, 5.0 and 1.73 degrees of angle at pitch 0, 30, 60 and 80."""
    pitch = double(0, 30, 60, 80) * DEGREE
    base = torch.stack([pitch, torch.zeros(4, dtype=torch.float64)], dim=1)
    target = base + double(0, 10 * DEGREE)
    lengths = log_map(base, target).norm(dim=1) / DEGREE
    torch.testing.assert_close(lengths, double(10.0, 8.66, 5.0, 1.73), rtol=0, atol=6e-3)
    assert angle_residual(base, target)[:, 1].allclose(double(10 * DEGREE))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_match_has_residual_0_and_the_gradient_of_the_identity(dtype):
    base = torch.tensor([0.7, 0.3], dtype=dtype)
    target = base.clone().requires_grad_()
    residual = log_map(base, target)
    assert residual.tolist() == [0, 0]
    pitch, yaw = (torch.autograd.grad(part, target, retain_graph=True)[0] for part in residual)
    torch.testing.assert_close(pitch, torch.tensor([1, 0], dtype=dtype))
    torch.testing.assert_close(yaw, torch.tensor([0, math.cos(0.7)], dtype=dtype), rtol=1e-6, atol=0)
    at = torch.zeros(2, dtype=dtype, requires_grad=True)
    assert torch.autograd.grad(exp_map(base, at).sum(), at)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 1e-30, 1e-22, 1e-12, 1e-5, 9e-4])
def test_at_the_antipode_the_length_is_clamped_and_there_is_no_gradient(dtype, offset):
    base = torch.tensor([0.0, 0.0], dtype=dtype, requires_grad=True)
    target = torch.tensor([offset, math.pi], dtype=dtype)
    residual = log_map(base, target)
    assert residual.norm().item() == pytest.approx(math.pi - 1e-3, rel=1e-6)
    residual.sum().backward()
    assert base.grad is not None
    assert base.grad.tolist() == [0, 0]


def test_wrapping_is_into_the_half_open_turn():
    angles = double(0, math.pi, -math.pi, 3 * math.pi, -3.5 * math.pi, 7)
    expected = double(0, math.pi, math.pi, math.pi, 0.5 * math.pi, 7 - 2 * math.pi)
    torch.testing.assert_close(wrap_angle(angles), expected, rtol=0, atol=1e-14)
    residual = angle_residual(double(0.1, 3.0), double(0.3, -3.0))
    torch.testing.assert_close(residual, double(0.2, 2 * math.pi - 6), rtol=0, atol=1e-14)


def test_the_area_of_the_plane_over_that_of_the_sphere():
    """1.021 at 20 degrees, 1.209 at 60; from the series to the formula without a step; finite beyond pi."""
    ratio = log_area_ratio(double(0, 20 * DEGREE)).exp(), log_area_ratio(double(60 * DEGREE, 0)).exp()
    assert [round(one.item(), 3) for one in ratio] == [1.021, 1.209]
    near = torch.stack([double(0.00999, 0.01001), double(0, 0)], dim=1)
    expected = (near[:, 0] / near[:, 0].sin()).log()
    torch.testing.assert_close(log_area_ratio(near), expected, rtol=1e-8, atol=0)
    beyond = double(4, 0).requires_grad_()
    log_area_ratio(beyond).backward()
    assert beyond.grad is not None
    assert beyond.grad.tolist() == [0, 0]
    assert log_area_ratio(double(0, 0)).item() == 0


def test_a_density_over_the_plane_becomes_one_per_steradian():
    """The Jacobian of exp_map: an area of the plane over its image's on the sphere, by differences."""
    base, residual, step = double(0.4, -0.2), double(0.5, 0.7), 1e-4
    shifts = double(0, 0), double(0, step), double(step, 0)
    corner, right, up = (to_vector(exp_map(base, residual + shift)) for shift in shifts)
    area = torch.linalg.cross(right - corner, up - corner).norm()
    assert math.log(step**2 / area.item()) == pytest.approx(log_area_ratio(residual).item(), abs=2e-4)


def test_the_mean_of_directions_is_no_mean_of_angles():
    """Yaw 179 and -179 degrees average to 180, where the mean of the numbers is 0."""
    yaw = double(179, -179) * DEGREE
    vectors = to_vector(torch.stack([torch.zeros(2, dtype=torch.float64), yaw], dim=1))
    torch.testing.assert_close(mean_direction(vectors), double(0, 0, 1), rtol=0, atol=1e-15)
    weighted = mean_direction(vectors, double(1, 0))
    torch.testing.assert_close(weighted, vectors[0], rtol=0, atol=1e-15)
    torch.testing.assert_close(mean_direction(vectors[:, None], dim=0)[0], mean_direction(vectors))
    assert mean_direction(torch.stack([vectors[0], -vectors[0]])).isnan().all()


@given(vector=st.tuples(*[st.floats(-4, 4)] * 3))
def test_rotations_are_scipys(vector):
    found = rotation_matrix(double(*vector))
    expected = torch.from_numpy(Rotation.from_rotvec(vector).as_matrix())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda bad: to_vector(bad), "angles"),
        (lambda bad: log_map(bad, torch.zeros(2)), "base"),
        (lambda bad: log_map(torch.zeros(2), bad), "target"),
        (lambda bad: exp_map(torch.zeros(2), bad), "residual"),
        (lambda bad: exp_map(bad, torch.zeros(2)), "base"),
        (lambda bad: angle_residual(bad, torch.zeros(2)), "base"),
        (lambda bad: angle_residual(torch.zeros(2), bad), "target"),
        (lambda bad: log_area_ratio(bad), "residual"),
    ],
)
def test_other_shapes_and_dtypes_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=rf"{name}: expected shape \(\.\.\., 2\), got \(4, 5\)"):
        call(torch.zeros(4, 5))
    with pytest.raises(ValueError, match=rf"{name}: expected shape \(\.\.\., 2\), got \(\)"):
        call(torch.tensor(1.0))
    with pytest.raises(TypeError, match=rf"{name}: expected floating point, got torch.int64"):
        call(torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (to_pitchyaw, "vector"),
        (rotation_matrix, "vector"),
        (mean_direction, "vectors"),
        (lambda bad: angular_error(bad, torch.zeros(3)), "one"),
        (lambda bad: angular_error(torch.zeros(3), bad), "other"),
    ],
)
def test_what_is_no_vector_is_refused_by_name(call, name):
    with pytest.raises(ValueError, match=rf"{name}: expected shape \(\.\.\., 3\), got \(4, 2\)"):
        call(torch.zeros(4, 2))


def test_averaging_over_the_coordinates_is_refused():
    with pytest.raises(ValueError, match="dim: expected an axis before the last, which holds x, y, z, got"):
        mean_direction(torch.zeros(2, 3), dim=-1)
