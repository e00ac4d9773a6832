"""An eye and what is around it, in numbers: geometry, lids, light and colours of a batch."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.data.gaze.mirror import mirror_angles
from linsight.ops import to_vector

__all__ = ["DISTANCE", "FIELD", "EyeParameters", "optical_axis", "visual_axis"]

FIELD = 37.5
"""Width of the image in millimetres: what the normalised camera of MPIIGaze sees, 60 pixels at 1.6 a mm."""

DISTANCE = 600.0
"""From the camera to the eye in millimetres, where there is perspective."""


class EyeParameters(NamedTuple):
    """What is rendered, one number, pair or colour for each image of a batch.

    Millimetres from the middle of the image, x right and y down; radians; colours are red, green, blue in
    [0, 1]. What has a side is told from the nose's, so that a mirrored eye has the same numbers but for those
    that `mirrored` changes.
    """

    optical: Float[Tensor, "batch 2"]
    """Pitch and yaw of the optical axis, which is what the picture shows."""
    head: Float[Tensor, "batch 2"]
    """Pitch and yaw of the head."""
    centre: Float[Tensor, "batch 2"]
    """Centre of the eyeball, x and y."""
    eyeball: Float[Tensor, "batch"]
    """Radius of the eyeball."""
    iris: Float[Tensor, "batch"]
    """Radius of the iris."""
    pupil: Float[Tensor, "batch"]
    """Radius of the pupil as a share of the iris's."""
    nasal: Float[Tensor, "batch"]
    """-1 where the nose is to the left in the image, as of a person's left eye, and 1 where to the right."""
    lid: Float[Tensor, "batch 2"]
    """Middle of the line between the corners of the lids."""
    half_width: Float[Tensor, "batch"]
    """From that middle to a corner, of a head that looks ahead."""
    upper: Float[Tensor, "batch"]
    """Height of the upper lid's parabola, with the gaze straight ahead and openness 1."""
    lower: Float[Tensor, "batch"]
    """Height of the lower lid's."""
    openness: Float[Tensor, "batch"]
    """A factor on both; 0 is closed."""
    tilt: Float[Tensor, "batch"]
    """Slope of the line between the corners: positive where the outer one is higher."""
    skew: Float[Tensor, "batch"]
    """How much higher the lids are on the side of the nose."""
    crease: Float[Tensor, "batch"]
    """From the upper lid to its crease."""
    lash: Float[Tensor, "batch"]
    """Darkness of the lashes, 0 to 1."""
    light: Float[Tensor, "batch 3"]
    """Direction to the light, of length 1."""
    ambient: Float[Tensor, "batch"]
    """Share of the light that comes from everywhere."""
    glint: Float[Tensor, "batch"]
    """Exponent of the reflection's lobe on the cornea."""
    glint_strength: Float[Tensor, "batch"]
    sclera: Float[Tensor, "batch 3"]
    iris_colour: Float[Tensor, "batch 3"]
    skin: Float[Tensor, "batch 3"]
    orders: Float[Tensor, "batch 2"]
    """Whole numbers of rays around the iris, of two textures."""
    phases: Float[Tensor, "batch 2"]
    """Of those textures."""
    contrast: Float[Tensor, "batch"]
    """Of the iris's texture."""
    waves: Float[Tensor, "batch waves 2"]
    """Of the skin's texture: radians a mm towards the nose, and downwards."""
    wave_phases: Float[Tensor, "batch waves"]

    def mirrored(self) -> "EyeParameters":
        """The eye whose picture is this one's with left and right exchanged."""
        flip = self.centre.new_tensor([-1, 1])
        return self._replace(
            optical=mirror_angles(self.optical),
            head=mirror_angles(self.head),
            centre=self.centre * flip,
            lid=self.lid * flip,
            nasal=-self.nasal,
            light=self.light * self.light.new_tensor([-1, 1, 1]),
        )

    def rows(self, start: int, stop: int) -> "EyeParameters":
        """The images from `start` to `stop`, exclusive."""
        return EyeParameters(*(field[start:stop] for field in self))


def visual_axis(optical: Tensor, kappa: Tensor, nasal: Tensor) -> Tensor:
    """Where a person looks whose optical axis is `optical`: turned by kappa in the eye's own frame.

    Args:
        optical: (..., 2), pitch and yaw in radians.
        kappa: (..., 2), radians upwards and towards the nose.
        nasal: (...), -1 where the nose is to the left in the image, 1 where to the right.

    Returns:
        (..., 2), pitch and yaw: Ry(yaw) Rx(pitch) applied to the vector of (kappa_up, -nasal kappa_nose).
    """
    pitch, yaw = optical.unbind(-1)
    x, y, z = to_vector(_in_image(kappa, nasal)).unbind(-1)
    down, along = y * pitch.cos() + z * pitch.sin(), z * pitch.cos() - y * pitch.sin()
    turned = torch.atan2(-x, -along) + yaw
    return torch.stack([torch.atan2(-down, torch.hypot(x, along)), turned], dim=-1)


def optical_axis(visual: Tensor, kappa: Tensor, nasal: Tensor) -> Tensor:
    """The optical axis of a person who looks along `visual`; inverts `visual_axis`, exactly.

    Arguments as there. The pitch has to leave room for kappa: |sin pitch| at most the length of kappa's
    vector without its x, which holds up to 80 degrees.
    """
    pitch, yaw = visual.unbind(-1)
    x, y, z = to_vector(_in_image(kappa, nasal)).unbind(-1)
    level = torch.hypot(y, z)
    raised = torch.asin((pitch.sin() / level).clamp(-1, 1))
    own = torch.atan2(-y, -z)
    along = level * raised.cos()
    return torch.stack([raised - own, yaw - torch.atan2(-x, along)], dim=-1)


def _in_image(kappa: Tensor, nasal: Tensor) -> Tensor:
    up, nose = kappa.unbind(-1)
    return torch.stack([up, -nasal * nose], dim=-1)
