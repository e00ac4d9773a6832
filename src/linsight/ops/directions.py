"""Directions as unit vectors and as (pitch, yaw): conversion, angles, and the tangent plane of the sphere."""

import math

import torch
from torch import Tensor

__all__ = [
    "angle_residual",
    "angular_error",
    "exp_map",
    "log_area_ratio",
    "log_map",
    "mean_direction",
    "rotation_matrix",
    "to_pitchyaw",
    "to_vector",
    "wrap_angle",
]

_SERIES = 1e-4  # below this theta^2 (or sin^2 theta) four terms are exact to 1e-16
_FARTHEST = math.pi - 1e-3


def to_vector(angles: Tensor) -> Tensor:
    """The unit vector of (pitch, yaw): v = -(cos p sin y, sin p, cos p cos y).

    Camera frame: x right, y down, z forward, right-handed; (0, 0) looks into the camera, v = (0, 0, -1).
    Positive pitch looks up, positive yaw to the image's left.

    Args:
        angles: (..., 2), pitch and yaw in radians.

    Returns:
        (..., 3), of length 1. bfloat16 and float16 become float32, here and everywhere in this file.

    Raises:
        TypeError: Not floating point.
        ValueError: The last axis is not 2.

    Example:
        >>> [round(x, 9) for x in to_vector(torch.tensor([0.2, 0.3], dtype=torch.float64)).tolist()]
        [-0.289629478, -0.198669331, -0.936293364]
    """
    pitch, yaw = _parts("angles", angles, 2)
    return torch.stack([-pitch.cos() * yaw.sin(), -pitch.sin(), -pitch.cos() * yaw.cos()], dim=-1)


def to_pitchyaw(vector: Tensor) -> Tensor:
    """The (pitch, yaw) of a vector of any positive length: atan2(-y, hypot(x, z)), atan2(-x, -z).

    atan2 keeps small angles and cannot leave its domain, as asin does for lengths above 1. At the poles yaw
    is 0, and the gradient of yaw too.

    Args:
        vector: (..., 3).

    Returns:
        (..., 2) in radians: pitch within [-pi/2, pi/2], yaw within [-pi, pi].

    Raises:
        TypeError: Not floating point.
        ValueError: The last axis is not 3.
    """
    x, y, z = _parts("vector", vector, 3)
    pole = (x == 0) & (z == 0)
    # At a pole atan2(-0, -0) would be -pi, and its gradient 0 / 0.
    x, z = torch.where(pole, 0.0, x), torch.where(pole, -1.0, z)
    level = torch.where(pole, 0.0, torch.hypot(x, z))
    return torch.stack([torch.atan2(-y, level), torch.atan2(0 - x, 0 - z)], dim=-1)


def angular_error(one: Tensor, other: Tensor) -> Tensor:
    """The angle between vectors, 2 atan2(|u - v|, |u + v|) of their unit vectors u and v, in radians.

    Exact to rounding at every angle. acos of the cosine is 0 in float32 for a true 0.01 degrees, with a
    gradient of NaN at a match; here the gradient at a match, and at the antipode, is 0.

    Args:
        one, other: (..., 3), of any positive length; they broadcast.

    Returns:
        (...), within [0, pi].

    Raises:
        TypeError: Not floating point.
        ValueError: A last axis is not 3.

    Source: W. Kahan, How futile are mindless assessments of roundoff in floating-point computation, 2006.
    """
    u, v = (
        torch.nn.functional.normalize(_floating(name, tensor, 3), dim=-1, eps=1e-30)
        for name, tensor in (("one", one), ("other", other))
    )
    return 2 * torch.atan2(_length(u - v), _length(u + v))


def wrap_angle(angle: Tensor) -> Tensor:
    """The same angle within (-pi, pi], in radians; the gradient is 1."""
    wrapped = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    return torch.where(wrapped <= -math.pi, wrapped + 2 * math.pi, wrapped)


def angle_residual(base: Tensor, target: Tensor) -> Tensor:
    """(pitch, yaw) of `target` less that of `base`, the yaw wrapped: (..., 2) in radians.

    Ten degrees of yaw are ten degrees of angle at pitch 0, and 1.7 at pitch 80: `log_map` measures the same
    everywhere. Arguments and errors as `log_map`.
    """
    difference = _floating("target", target, 2) - _floating("base", base, 2)
    return torch.stack([difference[..., 0], wrap_angle(difference[..., 1])], dim=-1)


def log_map(base: Tensor, target: Tensor) -> Tensor:
    """Where `target` lies in the plane that touches the sphere at `base`.

    r = theta / |w| (w . e_p, w . e_y), with w = v - (u . v) u, theta the angle between u and v, and the unit
    vectors e_p = dv/dp and e_y = dv/dyaw / cos p at u: |r| = theta, whatever the pitch, and nothing wraps.
    Computed from differences of the angles, without cancellation; 0 with a finite gradient at a match.

    Args:
        base: (..., 2), pitch and yaw of u in radians: usually the prediction.
        target: (..., 2), pitch and yaw of v; they broadcast.

    Returns:
        (..., 2) in radians. Within 1e-3 of the antipode, where the direction is undefined, its length is
        pi - 1e-3 and there is no gradient.

    Raises:
        TypeError: Not floating point.
        ValueError: A last axis is not 2.

    Example:
        >>> u, v = torch.tensor([[0.2, 0.3], [0.25, 0.2]], dtype=torch.float64)
        >>> [round(x, 9) for x in log_map(u, v).tolist()]
        [0.051042854, -0.096923561]
    """
    (pitch, yaw), (aim, aside) = _parts("base", base, 2), _parts("target", target, 2)
    rise, turn = aim - pitch, aside - yaw
    halves = 2 * (turn / 2).sin() ** 2  # 1 - cos turn
    up = rise.sin() + aim.cos() * pitch.sin() * halves
    left = aim.cos() * turn.sin()
    ahead = rise.cos() - aim.cos() * pitch.cos() * halves
    square = up**2 + left**2
    near = (square < _SERIES) & (ahead > 0)
    # What lies so near behind is replaced below; here it must only stay finite, its gradient too.
    sine = torch.where(near | (square < 9e-7), 1.0, square).sqrt()
    theta = torch.atan2(sine, ahead)
    series = 1 + square * (1 / 6 + square * (3 / 40 + square * (15 / 336)))
    residual = torch.stack([up, left], dim=-1) * torch.where(near, series, theta / sine)[..., None]
    behind = (ahead < 0) & (torch.atan2(square.sqrt(), ahead) > _FARTHEST)
    return torch.where(behind[..., None], _farthest(up, left).detach(), residual)


def exp_map(base: Tensor, residual: Tensor) -> Tensor:
    """The direction at `residual` in the plane that touches the sphere at `base`; inverts `log_map`.

    v = cos theta u + sin theta / theta (r_p e_p + r_y e_y), theta = |r|.

    Args:
        base: (..., 2), pitch and yaw in radians.
        residual: (..., 2) in radians; they broadcast.

    Returns:
        (..., 2), pitch and yaw in radians.

    Raises:
        TypeError: Not floating point.
        ValueError: A last axis is not 2.
    """
    (pitch, yaw), (up, left) = _parts("base", base, 2), _parts("residual", residual, 2)
    square = up**2 + left**2
    theta = torch.where(square < _SERIES, 1.0, square).sqrt()
    series = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
    ratio = torch.where(square < _SERIES, series, theta.sin() / theta)
    # cos theta near 0 by its series too: the derivative of sqrt has no limit there.
    level = 1 - square / 2 * (1 - square / 12 * (1 - square / 30))
    cosine = torch.where(square < _SERIES, level, theta.cos())
    # In the frame that is turned by yaw alone, the plane of u and e_p is the plane of x = 0.
    across = -ratio * left
    down = -cosine * pitch.sin() - ratio * up * pitch.cos()
    forward = -cosine * pitch.cos() + ratio * up * pitch.sin()
    vector = torch.stack(torch.broadcast_tensors(across, down, forward), dim=-1)
    found = to_pitchyaw(vector)
    return torch.stack([found[..., 0], wrap_angle(found[..., 1] + yaw)], dim=-1)


def log_area_ratio(residual: Tensor) -> Tensor:
    """log(theta / sin theta) with theta = |residual|: the area of the tangent plane over that of the sphere.

    Added to a log density over the plane it makes one per steradian: 1.021 at 20 degrees, 1.209 at 60. Exact
    up to the mass outside |residual| < pi, where it is held at its value for pi - 1e-3.

    Args:
        residual: (..., 2) in radians.

    Returns:
        (...), 0 at 0 with a gradient of 0.

    Raises:
        TypeError: Not floating point.
        ValueError: The last axis is not 2.
    """
    up, left = _parts("residual", residual, 2)
    square = up**2 + left**2
    near = square < _SERIES
    theta = torch.where(near, 1.0, square).sqrt().clamp(max=_FARTHEST)
    return torch.where(near, square * (1 / 6 + square / 180), (theta / theta.sin()).log())


def mean_direction(vectors: Tensor, weights: Tensor | None = None, dim: int = -2) -> Tensor:
    """The unit vector along the (weighted) sum of unit vectors: the mean of directions, never of angles.

    Args:
        vectors: (..., number, 3), of length 1.
        weights: One for each vector, as precisions 1 / sigma^2; None weighs all the same.
        dim: The axis of the vectors that are averaged.

    Returns:
        `vectors` without the axis `dim`; NaN where the vectors cancel.

    Raises:
        TypeError: Not floating point.
        ValueError: The last axis is not 3; `dim` is the last axis.
    """
    vectors = _floating("vectors", vectors, 3)
    if dim % vectors.ndim == vectors.ndim - 1:
        raise ValueError(f"dim: expected an axis before the last, which holds x, y, z, got {dim}")
    if weights is not None:
        vectors = vectors * weights[..., None]
    total = vectors.sum(dim)
    return total / torch.linalg.vector_norm(total, dim=-1, keepdim=True)


def rotation_matrix(vector: Tensor) -> Tensor:
    """The matrix of a rotation vector, axis times angle, by Rodrigues: I + a K + b K^2.

    K is the cross product with the vector, a = sin t / t, b = (1 - cos t) / t^2, t the vector's length; the
    gradient at 0 is finite.

    Args:
        vector: (..., 3) in radians.

    Returns:
        (..., 3, 3), orthonormal with determinant 1.

    Raises:
        TypeError: Not floating point.
        ValueError: The last axis is not 3.
    """
    x, y, z = _parts("vector", vector, 3)
    square = x**2 + y**2 + z**2
    near = square < _SERIES
    theta = torch.where(near, 1.0, square).sqrt()
    first = torch.where(near, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), theta.sin() / theta)
    half = (theta / 2).sin() / theta
    second = torch.where(near, (1 - square / 12 * (1 - square / 30)) / 2, 2 * half**2)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=x.dtype, device=x.device)
    return identity + first[..., None, None] * cross + second[..., None, None] * (cross @ cross)


def _farthest(up: Tensor, left: Tensor) -> Tensor:
    """A residual of the greatest length towards (up, left), or upwards where that is 0."""
    length = torch.hypot(up, left)
    up = torch.where(length == 0, 1.0, up)
    towards = torch.stack([up, left], dim=-1) / torch.where(length == 0, 1.0, length)[..., None]
    return towards * _FARTHEST


def _length(vector: Tensor) -> Tensor:
    """The norm over the last axis, with a gradient of 0 at 0."""
    square = (vector**2).sum(-1)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def _parts(name: str, tensor: Tensor, size: int) -> tuple[Tensor, ...]:
    return _floating(name, tensor, size).unbind(-1)


def _floating(name: str, tensor: Tensor, size: int) -> Tensor:
    """The tensor in float32 or better, its last axis checked."""
    if not tensor.is_floating_point():
        raise TypeError(f"{name}: expected floating point, got {tensor.dtype}")
    if tensor.ndim == 0 or tensor.shape[-1] != size:
        raise ValueError(f"{name}: expected shape (..., {size}), got {tuple(tensor.shape)}")
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
