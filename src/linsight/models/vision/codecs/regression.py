"""Plain regression: the coordinates themselves, with a loss that has no scale of its own."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from linsight.losses import l1_loss, l2_loss, selected_mean, smooth_l1_loss, wing_loss
from linsight.models.vision.codecs.base import Codec, Keypoints, Outputs
from linsight.models.vision.codecs.heads import Output, PooledHead
from linsight.models.vision.codecs.space import Directions, Space
from linsight.ops import directions

__all__ = ["PointCodec", "Regression"]

Distance = Literal["l1", "l2", "smooth_l1", "wing", "angular", "cosine"]


class PointCodec(Codec):
    """What codecs share whose head predicts a point: `{"mean": (batch, joints, dim), ...}`, inner."""

    @property
    def floor(self) -> float:
        """Rounding of float32, in the unit of the points."""
        return 1e-4

    def targets(self, points: Tensor) -> Outputs:
        """Inner coordinates."""
        return {"mean": self.space.to_inner(points)}

    def head(self, in_channels: int, keypoints: int) -> nn.Module:
        """The mean over the map, and a linear layer for each output."""
        return PooledHead(in_channels, keypoints, self.outputs())

    def outputs(self) -> dict[str, Output]:
        """What the head returns, the mean first."""
        return {"mean": Output(self.space.dim, self.space.bound(), self.space.centre)}

    def perfect(self, targets: Outputs) -> Outputs:
        """The targets."""
        return {"mean": targets["mean"]}

    def mirrored(self, outputs: Outputs) -> Outputs:
        """The mean mirrored; scales have no side."""
        return {**outputs, "mean": self.space.mirror(outputs["mean"])}

    def places(self, outputs: Outputs) -> Tensor:
        """The points of the mean."""
        return self.space.to_points(outputs["mean"])


class Regression(PointCodec):
    """Coordinates by a linear layer, and a distance: absolute, squared, smooth, wing; of gaze, its angle.

    Outputs `{"mean": ...}`. Score: 1, since nothing says how sure a joint is. No sigma. Errors are in crops,
    or in the unit of `Directions`; the loss sums over coordinates.

    Args:
        space: `Pixels` or `Directions`; the latter for `angular` and `cosine`.
        distance: `l1`, `l2`, `smooth_l1`, `wing`; `angular`: the angle in radians; `cosine`: 1 - its cosine.
        beta: Where `smooth_l1` turns.
        width, curvature: Of `wing`; the published 10 and 2 pixels of a crop of 256.

    Raises:
        ValueError: An unknown distance; `angular` or `cosine` of pixels.
    """

    def __init__(
        self,
        space: Space,
        *,
        distance: Distance = "l1",
        beta: float = 0.02,
        width: float = 10 / 256,
        curvature: float = 2 / 256,
    ) -> None:
        super().__init__(space)
        if distance not in get_args(Distance):
            raise ValueError(f"distance: expected one of {', '.join(get_args(Distance))}, got {distance!r}")
        if distance in ("angular", "cosine") and not isinstance(space, Directions):
            raise ValueError(f"distance: expected one of places for {type(space).__name__}, got {distance!r}")
        self.distance, self.beta, self.width, self.curvature = distance, beta, width, curvature
        self.measure(torch.zeros(1, space.dim), torch.zeros(1, space.dim))

    def measure(self, found: Tensor, wanted: Tensor) -> Tensor:
        """The distance of inner coordinates: `(..., dim)` twice to `(...)`."""
        if self.distance == "angular":
            return directions.angular_error(directions.to_vector(found), directions.to_vector(wanted))
        if self.distance == "cosine":
            gap = directions.to_vector(found) - directions.to_vector(wanted)
            return 0.5 * gap.square().sum(-1)
        error = self.space.error(found, wanted)
        if self.distance == "smooth_l1":
            return smooth_l1_loss(error, self.beta)
        if self.distance == "wing":
            return wing_loss(error, self.width, self.curvature)
        return l1_loss(error) if self.distance == "l1" else l2_loss(error)

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The mean distance of selected joints."""
        loss = selected_mean(self.measure, targets["weight"], *self._same("mean", outputs, targets))
        return loss, {self.distance: loss.detach()}

    def decode(self, outputs: Outputs) -> Keypoints:
        """The points of the mean."""
        return Keypoints(self.places(outputs), self.score(outputs), None, {})

    def score(self, outputs: Outputs) -> Tensor:
        """1."""
        return torch.ones_like(outputs["mean"][..., 0])
