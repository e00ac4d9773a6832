"""Integral regression and DSNT: the place as the mean of a map that sums to 1."""

import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from linsight.losses import l1_loss, map_js, selected_mean
from linsight.models.vision.codecs.base import Codec, Keypoints, Outputs
from linsight.models.vision.codecs.grid import Grid, gaussian_maps
from linsight.models.vision.codecs.heads import MapHead
from linsight.models.vision.codecs.peaks import expectation
from linsight.models.vision.codecs.space import Pixels

__all__ = ["Expectation"]


class Expectation(Codec):
    """softmax over a map, its mean as the place: differentiable, without the rounding of an argmax.

    With `distance` l1 and no divergence it is integral regression (Sun et al. 2018, arXiv 1711.08229); with
    l2 and the divergence it is DSNT (Nibali et al. 2018, arXiv 1801.07372). Outputs `{"maps": ...}` are the
    logits. Score: the probability within `sigma` cells of the mean. No sigma.

    A softmax over maps between 0 and 1 is nearly uniform, and its mean the middle of the map, 47 pixels off
    in a crop of 192 x 256: hence the factor `sharpness`.

    Args:
        space: `Pixels`, without depth.
        stride: Of the map that the head returns.
        sigma: Of the Gaussian that the divergence wants, in cells.
        distance: `l1`: the sum of the distances along both axes; `l2`: the Euclidean distance; in crops.
        divergence: Weight of the Jensen-Shannon divergence to the Gaussian.
        sharpness: Where the learnt factor on the maps begins; None for none.
        upsamplings: Transposed convolutions in the head.

    Warns:
        UserWarning: A sharpness below 5 without divergence.

    Raises:
        ValueError: An unknown distance; sides that the stride does not divide; a weight below 0.
    """

    spaces = (Pixels,)

    def __init__(
        self,
        space: Pixels,
        *,
        stride: int = 4,
        sigma: float = 2.0,
        distance: Literal["l1", "l2"] = "l1",
        divergence: float = 0.0,
        sharpness: float | None = 20.0,
        upsamplings: int = 0,
    ) -> None:
        super().__init__(space)
        self.grid = Grid(space, stride)
        if distance not in ("l1", "l2"):
            raise ValueError(f"distance: expected 'l1' or 'l2', got {distance!r}")
        if not sigma > 0:
            raise ValueError(f"sigma: expected a number of cells above 0, got {sigma}")
        if not divergence >= 0:
            raise ValueError(f"divergence: expected a weight of at least 0, got {divergence}")
        if not divergence and (sharpness is None or sharpness < 5):
            warnings.warn(
                f"sharpness {sharpness}: below 5, a softmax over maps with peaks of 1 is nearly uniform, "
                "and its mean the middle of the crop",
                stacklevel=2,
            )
        self.sigma, self.distance, self.divergence = sigma, distance, divergence
        self.sharpness, self.upsamplings = sharpness, upsamplings

    @property
    def floor(self) -> float:
        """In pixels, of joints three sigmas or more inside: the Gaussian is cut by the border."""
        return 0.02 * self.grid.stride

    def targets(self, points: Tensor) -> Outputs:
        """Places in the crop, and the Gaussian that sums to 1."""
        cells = self.grid.to_cells(points)
        maps = gaussian_maps(cells, self.grid.size, self.sigma)
        maps = maps / maps.sum((-2, -1), keepdim=True)
        return {"mean": self.space.to_inner(points), "maps": maps}

    def head(self, in_channels: int, keypoints: int) -> nn.Module:
        """A 1 x 1 convolution, behind `upsamplings` transposed ones, times the learnt sharpness."""
        return MapHead(in_channels, keypoints, upsamplings=self.upsamplings, sharpness=self.sharpness)

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The distance in crops, and the divergence in nats times its weight."""
        maps = self._same("maps", outputs, targets)
        rows = (*maps, targets["mean"])

        def distance(found: Tensor, wanted: Tensor, mean: Tensor) -> Tensor:
            error = self._inner(found) - mean
            return l1_loss(error) if self.distance == "l1" else _length(error)

        loss = selected_mean(distance, targets["weight"], *rows)
        parts = {"distance": loss.detach()}
        if self.divergence:
            js = selected_mean(
                lambda found, wanted: map_js(_softmax(found), wanted), targets["weight"], *maps
            )
            loss, parts["js"] = loss + self.divergence * js, js.detach()
        return loss, parts

    def decode(self, outputs: Outputs) -> Keypoints:
        """The means in pixels."""
        places = self.space.to_points(self._inner(outputs["maps"]))
        return Keypoints(places, self.score(outputs), None, {})

    def score(self, outputs: Outputs) -> Tensor:
        """The probability of cells whose centre is within sigma of the mean."""
        probability = _softmax(outputs["maps"])
        mean = expectation(probability)
        rows, columns = (
            torch.arange(number, dtype=mean.dtype, device=mean.device) for number in probability.shape[-2:]
        )
        across = (columns - mean[..., 0, None]).square()[..., None, :]
        down = (rows - mean[..., 1, None]).square()[..., :, None]
        return (probability * (across + down <= self.sigma**2)).sum((-2, -1))

    def perfect(self, targets: Outputs) -> Outputs:
        """The logarithm of the Gaussian."""
        return {"maps": targets["maps"].clamp(min=1e-30).log()}

    def mirrored(self, outputs: Outputs) -> Outputs:
        """Maps read from right to left."""
        return {"maps": outputs["maps"].flip(-1)}

    def average(self, outputs: Outputs, others: Outputs) -> Outputs:
        """The mean of the probabilities, not of their logits."""
        both = [_softmax(one["maps"]) for one in (outputs, others)]
        return {"maps": (0.5 * (both[0] + both[1])).clamp(min=1e-30).log()}

    def _inner(self, maps: Tensor) -> Tensor:
        return self.space.to_inner(self.grid.to_pixels(expectation(_softmax(maps))))


def _softmax(maps: Tensor) -> Tensor:
    return maps.flatten(-2).softmax(-1).view_as(maps)


def _length(error: Tensor) -> Tensor:
    """The norm, with a gradient of 0 at 0."""
    square = error.square().sum(-1)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())
