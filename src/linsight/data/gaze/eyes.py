"""Eyes without end: pictures with exact gaze, of persons whose axis of sight no picture shows."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, Integer, UInt8
from torch import Tensor

from linsight.config import Config
from linsight.data import noise
from linsight.data.gaze.eye import EyeParameters
from linsight.data.gaze.mirror import mirror_angles
from linsight.data.gaze.persons import Frames, Persons, counters, eye_of, frames, persons
from linsight.data.gaze.render import iris_centre, pixels, render
from linsight.data.noise_laws import AnyNoiseLaw, NoNoise
from linsight.ops import exp_map

__all__ = ["NOT_COMPARABLE", "EyeSamples", "Eyes"]

NOT_COMPARABLE = "synthetic eyes: not comparable with MPIIGaze, Gaze360 or ETH-XGaze"
"""What every report of numbers on these eyes says."""

Side = Literal["left", "right"]


class EyeSamples(NamedTuple):
    """Pictures and all that is known of them; angles are (pitch, yaw) in radians."""

    image: UInt8[Tensor, "batch channels height width"]
    gaze: Float64[Tensor, "batch 2"]
    """The visual axis: the truth."""
    label: Float64[Tensor, "batch 2"]
    """The truth with the noise of the law: what a model is trained on."""
    optical: Float64[Tensor, "batch 2"]
    """The axis that the picture shows."""
    head: Float64[Tensor, "batch 2"]
    kappa: Float64[Tensor, "batch 2"]
    """The visual axis is so far above the optical axis, and towards the nose of it."""
    centre: Float64[Tensor, "batch 2"]
    """Where the centre of the eyeball is seen: indices of pixel centres, x and y."""
    iris: Float64[Tensor, "batch 2"]
    """Where the optical axis leaves the eyeball, likewise."""
    visible: Float32[Tensor, "batch"]
    """The share of the iris that is seen: the clarity of label noise that depends on one."""
    eye_mask: Bool[Tensor, "batch height width"]
    """Pixels between the lids."""
    person: Int64[Tensor, "batch"]
    left: Bool[Tensor, "batch"]
    """Whether it is the person's left eye."""
    mirrored: Bool[Tensor, "batch"]
    """Whether picture and labels are those of the mirror image."""


@dataclass(frozen=True)
class Eyes(Config):
    """Pictures of eyes, each a function of (the fields, seed, person, item) alone.

    Every person has radii, colours, lids, habits of light and kappa, the angle between the optical axis,
    which the picture shows, and the visual axis, which is the label: without calibration there is an error by
    person that no picture tells. Pictures vary gaze, head, light, glint, exposure, lids, pupil, side and
    place. The same numbers make the same eyes in any batch, up to rounding of float32 (one grey level).

    Args:
        size: Height and width in pixels; the width is 37.5 mm, so 60 are MPIIGaze's 1.6 pixels a mm.
        channels: 1 for grey, 3 for colours.
        supersample: Samples along each side of a pixel.
        perspective: A pinhole 600 mm away in place of the weak perspective.
        sensor: Standard deviation of the noise of each pixel.
        mirror_right: Right eyes and their labels are mirrored, so that one network serves both.
        law: The noise of the labels, in the tangent plane at the truth (`linsight.ops.exp_map`), radians.

    Cost: about 1.5 ms of one thread for a grey picture of 36 x 60.

    Raises ValueError for a negative `sensor`.
    """

    size: tuple[int, int] = (36, 60)
    channels: int = 1
    supersample: int = 2
    perspective: bool = False
    sensor: float = 0.015
    mirror_right: bool = True
    law: AnyNoiseLaw = field(default_factory=NoNoise)

    def __post_init__(self) -> None:
        """Refuse noise that is none."""
        if not 0 <= self.sensor < 1:
            raise ValueError(f"sensor: expected a standard deviation from 0 to 1, got {self.sensor}")

    def samples(
        self,
        person: Integer[np.ndarray, "persons"],
        items: Integer[np.ndarray, "items"],
        *,
        seed: int = 0,
        side: Side | None = None,
    ) -> EyeSamples:
        """These pictures of these persons.

        Args:
            person: Numbers of persons, without end.
            items: Numbers of their pictures, without end too.
            seed: Of all.
            side: None takes the item's own; "left" and "right" show either eye of the same moment, both of
                which look the same way.

        Raises:
            ValueError: A negative number; different numbers of persons and items; what `render` refuses.
        """
        if person.shape != items.shape:
            raise ValueError(
                f"items: expected {len(person)}, one for each person, got {len(items)}; repeat the person"
            )
        frame = frames(person, items, seed=seed)
        if side is not None:
            frame = frame._replace(left=torch.full_like(frame.left, side == "left"))
        return self.pictures(person, items, persons(person, seed=seed), frame, seed=seed)

    def pictures(
        self,
        number: Integer[np.ndarray, "batch"],
        items: Integer[np.ndarray, "batch"],
        person: Persons,
        frame: Frames,
        *,
        seed: int = 0,
        epoch: int = 0,
    ) -> EyeSamples:
        """Pictures of any persons and frames; the numbers choose the noise of pixels and labels."""
        mirrored = ~frame.left if self.mirror_right else torch.zeros_like(frame.left)
        eyes = _mirrored_where(mirrored, eye_of(person, frame))
        seen = render(
            eyes,
            self.size,
            channels=self.channels,
            supersample=self.supersample,
            perspective=self.perspective,
        )
        gaze = torch.where(mirrored[:, None], mirror_angles(frame.visual), frame.visual)
        count = counters(number, items)
        drawn = self.law.num_uniforms(2)
        uniform = noise.uniform(noise.key(seed, "gaze/labels"), count, drawn, epoch=epoch)
        residual = self.law.residual(torch.from_numpy(uniform), seen.visible.double())
        return EyeSamples(
            image=self._exposed(seen.image, count, seed, epoch),
            gaze=gaze,
            label=exp_map(gaze, residual) if residual.any() else gaze,
            optical=eyes.optical,
            head=eyes.head,
            kappa=person.kappa,
            centre=pixels(eyes.centre, self.size),
            iris=pixels(iris_centre(eyes, self.perspective), self.size),
            visible=seen.visible,
            eye_mask=seen.eye_mask,
            person=torch.from_numpy(number.astype(np.int64)),
            left=frame.left,
            mirrored=mirrored,
        )

    def _exposed(self, image: Tensor, count: Integer[np.ndarray, "batch"], seed: int, epoch: int) -> Tensor:
        """The picture with the sensor's noise, in 256 levels."""
        batch, *shape = image.shape
        number = int(np.prod(shape))
        levels = 255 * image
        if self.sensor > 0:
            half = -(-number // 2)
            words = noise.words(noise.key(seed, "gaze/sensor"), count, half, epoch=epoch)
            # The sum of four bytes: nearly normal, of mean 510 and variance (256^2 - 1) / 3.
            four = words.astype("<u8").view(np.uint8).reshape(batch, 2 * half, 4)[:, :number]
            normal = (torch.from_numpy(four.sum(2, dtype=np.int16)).float() - 510) * (3 / (256**2 - 1)) ** 0.5
            levels += 255 * self.sensor * normal.reshape(batch, *shape)
        return levels.round_().clamp_(0, 255).to(torch.uint8)


def _mirrored_where(which: Bool[Tensor, "batch"], eyes: EyeParameters) -> EyeParameters:
    pairs = zip(eyes.mirrored(), eyes, strict=True)
    return EyeParameters(
        *(torch.where(which.reshape(-1, *[1] * (own.ndim - 1)), other, own) for other, own in pairs)
    )
