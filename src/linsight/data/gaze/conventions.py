"""The conventions of public gaze data, to and from ours."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from linsight.ops import to_vector

__all__ = ["CONVENTIONS", "convert", "vectors_of"]


class Convention(NamedTuple):
    """How a convention's vectors and angles become ours."""

    signs: tuple[float, float, float]
    """Theirs times these is ours; a diagonal of signs is its own inverse."""
    yaw_first: bool = False
    has_angles: bool = True


CONVENTIONS = {
    "linsight": Convention((1, 1, 1)),
    "mpiigaze": Convention((1, 1, 1)),
    "gazehub": Convention((1, 1, 1), yaw_first=True),
    "xgaze": Convention((-1, -1, -1)),
    "gaze360": Convention((-1, -1, 1), yaw_first=True),
    "unityeyes": Convention((1, -1, 1), has_angles=False),
}
"""The known conventions by name.

`linsight`: camera frame x right, y down, z forward; (pitch, yaw); see `linsight.ops.to_vector`. `mpiigaze`
(and pytorch_mpiigaze): the same. `gazehub` (GazeTR, L2CS): the same vectors, angles (yaw, pitch). `xgaze`
(ETH-XGaze, GazeML, EVE): the same angles, but their helper's vectors point from the target to the eye.
`gaze360`: x left, y up, z away from the camera's eye; angles (yaw, pitch). `unityeyes`: the look vector of
Unity's left-handed frame, x right, y up, z forward, as public code draws it on the pictures; no angles.
"""


def convert(gaze: Tensor, source: str, target: str = "linsight", *, degrees: bool = False) -> Tensor:
    """Gaze of one convention in another: angles become angles, vectors become vectors.

    Args:
        gaze: Angles (..., 2) in the source's order, or vectors (..., 3) of any length.
        source, target: Names in `CONVENTIONS`.
        degrees: The angles that are given are degrees. What is returned is radians in any case.

    Returns:
        The same shape, in the target's order and frame.

    Raises:
        TypeError: Not floating point.
        ValueError: An unknown name; another last axis; angles of a convention that has none; numbers that are
            not finite; radians beyond 2 pi; a pitch beyond a quarter turn by more than 1e-3; a vector shorter
            than 1e-6.

    Example:
        >>> convert(torch.tensor([0.3, 0.2]), "gazehub").tolist() == torch.tensor([0.2, 0.3]).tolist()
        True
    """
    there, here = _convention("source", source), _convention("target", target)
    if not gaze.is_floating_point():
        raise TypeError(f"gaze: expected floating point, got {gaze.dtype}")
    if gaze.ndim == 0 or gaze.shape[-1] not in (2, 3):
        raise ValueError(f"gaze: expected angles (..., 2) or vectors (..., 3), got {tuple(gaze.shape)}")
    if not gaze.isfinite().all():
        raise ValueError("gaze: expected finite numbers, got NaN or infinity")
    if gaze.shape[-1] == 3:
        _check_lengths(gaze)
        return gaze * gaze.new_tensor(there.signs) * gaze.new_tensor(here.signs)
    for name, convention in ((source, there), (target, here)):
        if not convention.has_angles:
            raise ValueError(f"gaze: {name!r} has vectors (..., 3) alone, got angles (..., 2)")
    angles = torch.deg2rad(gaze) if degrees else gaze
    angles = angles.flip(-1) if there.yaw_first else angles
    _check_angles(angles, degrees)
    return angles.flip(-1) if here.yaw_first else angles


def vectors_of(angles: Tensor, convention: str) -> Tensor:
    """The vectors (..., 3) that this convention's own formula makes of its angles (..., 2) in radians.

    Raises ValueError and TypeError as `convert`.
    """
    ours = to_vector(convert(angles, convention))
    return convert(ours, "linsight", convention)


def _convention(name: str, value: str) -> Convention:
    if value not in CONVENTIONS:
        raise ValueError(f"{name}: expected one of {', '.join(CONVENTIONS)}, got {value!r}")
    return CONVENTIONS[value]


def _check_lengths(vectors: Tensor) -> None:
    short = torch.linalg.vector_norm(vectors, dim=-1) < 1e-6
    if short.any():
        raise ValueError(f"gaze: expected vectors of length at least 1e-6, got {int(short.sum())} shorter")


def _check_angles(angles: Tensor, degrees: bool) -> None:
    """Refuse what is no angle in radians; `angles` (pitch, yaw)."""
    most = angles.abs().max().item() if angles.numel() else 0.0
    if most > 2 * math.pi:
        hint = "" if degrees else "; pass degrees=True if they are degrees"
        raise ValueError(f"gaze: expected angles within 2 pi in radians, got {most:.6g}{hint}")
    steep = angles[..., 0].abs().max().item() if angles.numel() else 0.0
    if steep > math.pi / 2 + 1e-3:
        raise ValueError(
            f"gaze: expected a pitch within a quarter turn, got {steep:.6g} rad; is the order of the angles "
            "(pitch, yaw) or (yaw, pitch)?"
        )
