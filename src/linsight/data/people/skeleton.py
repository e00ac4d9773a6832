"""The angles of a body's joints to the 17 places that COCO marks, in metres."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from linsight.data.keypoints import flip_pairs

__all__ = ["JOINTS", "PAIRS", "PLACES", "Angles", "Skeleton", "rotation", "rounded", "skeleton"]

JOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""COCO's keypoints of a person, in COCO's order; left is the person's own."""

PLACES = (*JOINTS, "neck", "head")
"""What a skeleton has: the joints, the neck between the shoulders, and the centre of the head."""

PAIRS = flip_pairs(JOINTS)
"""(left, right) joints, which a mirror exchanges."""

_THIGH, _SHANK, _TRUNK, _UPPER_ARM, _FOREARM, _NECK = 0.43, 0.42, 0.50, 0.29, 0.25, 0.20
_HIP, _SHOULDER = 0.12, 0.19  # half-widths
_FACE = ((0.0, 0.0, 0.115), (0.04, 0.035, 0.095), (0.11, 0.0, 0.0))  # nose, left eye, left ear
_FINEST = 2.0**20


class Angles(NamedTuple):
    """What a body does, in radians, all zero when it stands with hanging arms and looks at the camera.

    Where there are two sides, the left one is first.
    """

    scale: Float64[np.ndarray, "batch"]
    """Of all lengths."""
    turn: Float64[np.ndarray, "batch 3"]
    """Yaw about the vertical, pitch forwards, roll to the right, of the whole body."""
    trunk: Float64[np.ndarray, "batch 2"]
    """Bend forwards, and twist of the shoulders against the hips."""
    head: Float64[np.ndarray, "batch 2"]
    """Yaw and pitch against the shoulders."""
    hip: Float64[np.ndarray, "batch 2 2"]
    """By side: swing, forwards negative, and spread, outwards positive."""
    knee: Float64[np.ndarray, "batch 2"]
    """Bent backwards."""
    shoulder: Float64[np.ndarray, "batch 2 2"]
    """By side: swing, forwards negative, and lift, outwards negative."""
    elbow: Float64[np.ndarray, "batch 2"]
    """Bent forwards."""

    def mirrored(self) -> "Angles":
        """The body as a mirror shows it: left does what right did, and turns are the other way."""
        yaw_roll, twist = np.array([-1.0, 1.0, -1.0]), np.array([1.0, -1.0])
        return Angles(
            self.scale,
            self.turn * yaw_roll,
            self.trunk * twist,
            self.head * -twist,
            self.hip[:, ::-1],
            self.knee[:, ::-1],
            self.shoulder[:, ::-1],
            self.elbow[:, ::-1],
        )


class Skeleton(NamedTuple):
    """Places in metres from the middle of the hips, in the camera's axes: x right, y down, z away."""

    places: Float64[np.ndarray, "batch 19 3"]
    """In the order of `PLACES`."""
    trunk: Float64[np.ndarray, "batch 3 3"]
    """Columns: which way the shoulders' left, up and forwards are."""
    head: Float64[np.ndarray, "batch 3 3"]
    """The same of the head."""
    scale: Float64[np.ndarray, "batch"]

    def at(self, position: Float64[np.ndarray, "batch 3"]) -> "Skeleton":
        """The same with the middle of the hips at these places."""
        return self._replace(places=self.places + position[:, None])


def skeleton(angles: Angles) -> Skeleton:
    """Where the joints are: each segment is turned by the angles of all joints between it and the hips.

    With R_a the rotation about axis a of the body (x to its left, y up, z forwards), and C = diag(1, -1, -1)
    from the body's axes to the camera's:

        root = C R_y(yaw) R_x(pitch) R_z(roll)
        trunk = root R_x(bend) R_y(twist);      head = trunk R_y(yaw) R_x(pitch)
        thigh = root R_x(swing) R_z(+-spread);  shank = thigh R_x(knee)
        arm = trunk R_x(swing) R_z(-+lift);     forearm = arm R_x(-elbow)

    Lengths in metres: thigh 0.43, shank 0.42, trunk 0.50, upper arm 0.29, forearm 0.25, neck to the centre
    of the head 0.20; half-widths of hips 0.12 and shoulders 0.19; the nose is 0.115 in front of that centre,
    ears 0.11 and eyes 0.04 aside.

    Results are rounded to 2^-20 (a micrometre), which removes the last bits, in which the sines of two
    machines may differ.
    """
    yaw, pitch, roll = angles.turn.T
    root = np.diag([1.0, -1.0, -1.0]) @ rotation(1, yaw) @ rotation(0, pitch) @ rotation(2, roll)
    trunk = root @ rotation(0, angles.trunk[:, 0]) @ rotation(1, angles.trunk[:, 1])
    head = trunk @ rotation(1, angles.head[:, 0]) @ rotation(0, angles.head[:, 1])
    neck = _along(trunk, 0.0, _TRUNK)
    centre = neck + _along(head, 0.0, _NECK)
    found = {"nose": centre + _along(head, *_FACE[0]), "neck": neck, "head": centre}
    for side, (name, sign) in enumerate((("left", 1.0), ("right", -1.0))):
        for part, (aside, up, forwards) in zip(("eye", "ear"), _FACE[1:], strict=True):
            found[f"{name}_{part}"] = centre + _along(head, sign * aside, up, forwards)
        swing, lift = angles.shoulder[:, side].T
        arm = trunk @ rotation(0, swing) @ rotation(2, -sign * lift)
        shoulder = neck + _along(trunk, sign * _SHOULDER)
        elbow = shoulder + _along(arm, 0.0, -_UPPER_ARM)
        forearm = arm @ rotation(0, -angles.elbow[:, side])
        swing, spread = angles.hip[:, side].T
        thigh = root @ rotation(0, swing) @ rotation(2, sign * spread)
        hip = _along(root, sign * _HIP)
        knee = hip + _along(thigh, 0.0, -_THIGH)
        shank = thigh @ rotation(0, angles.knee[:, side])
        found |= {
            f"{name}_shoulder": shoulder,
            f"{name}_elbow": elbow,
            f"{name}_wrist": elbow + _along(forearm, 0.0, -_FOREARM),
            f"{name}_hip": hip,
            f"{name}_knee": knee,
            f"{name}_ankle": knee + _along(shank, 0.0, -_SHANK),
        }
    places = np.stack([found[name] for name in PLACES], 1) * angles.scale[:, None, None]
    return Skeleton(rounded(places), rounded(trunk), rounded(head), rounded(angles.scale))


def rotation(axis: int, angle: Float64[np.ndarray, "batch"]) -> Float64[np.ndarray, "batch 3 3"]:
    """Right-handed rotation matrices about a coordinate axis."""
    matrix = np.zeros((len(angle), 3, 3))
    one, other = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, axis, axis] = 1
    matrix[:, one, one] = matrix[:, other, other] = np.cos(angle)
    matrix[:, other, one] = np.sin(angle)
    matrix[:, one, other] = -matrix[:, other, one]
    return matrix


def rounded(values: Float64[np.ndarray, "*any"]) -> Float64[np.ndarray, "*any"]:
    """To the nearest multiple of 2^-20."""
    return np.rint(values * _FINEST) / _FINEST


def _along(
    frame: Float64[np.ndarray, "batch 3 3"], aside: float, up: float = 0.0, forwards: float = 0.0
) -> Float64[np.ndarray, "batch 3"]:
    return frame @ np.array([aside, up, forwards])
