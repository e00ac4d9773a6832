"""Heatmaps: a Gaussian drawn at each joint, read back by its peak."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from linsight.losses import heatmap_mse, selected_mean
from linsight.models.vision.codecs.base import Codec, Keypoints, Outputs
from linsight.models.vision.codecs.grid import Convention, Grid, gaussian_maps
from linsight.models.vision.codecs.heads import MapHead
from linsight.models.vision.codecs.peaks import argmax_peak, dark_peak, largest, quarter_peak
from linsight.models.vision.codecs.space import Pixels

__all__ = ["Heatmap", "PeakDecoder"]

PeakDecoder = Literal["argmax", "quarter", "dark"]


class Heatmap(Codec):
    """Maps of a Gaussian with peak 1; squared error; the peak by argmax, quarter shift or DARK.

    Outputs `{"maps": (batch, joints, height, width)}`, the map `stride` times coarser than the crop. Score:
    the largest value of the map. No sigma.

    Args:
        space: `Pixels`, without depth.
        stride: Of the map that the head returns.
        sigma: Of the Gaussian, in cells.
        convention: Where a place falls in the map; see `Grid`.
        decoder: `argmax`, `quarter`, `dark`.
        blur: Before `dark`, sigma in cells; 0 for none. Published DARK blurs by 2 (a kernel of 11).
        clip: Values below it count as this in `dark`; UDP has 1e-3.
        cut: Draw nothing beyond this many sigmas; None draws everything.
        upsamplings: Transposed convolutions in the head.
        shift_flipped: Move the map of a mirrored image by a cell, as code with `rounded` maps does.

    Raises:
        ValueError: An unknown decoder or convention; sides that the stride does not divide; maps below 3 x 3
            with `dark`.

    Cost: O(joints height width) memory an image, which is what regression does without.
    """

    spaces = (Pixels,)

    def __init__(
        self,
        space: Pixels,
        *,
        stride: int = 4,
        sigma: float = 2.0,
        convention: Convention = "half_pixel",
        decoder: PeakDecoder = "dark",
        blur: float = 0.0,
        clip: float = 1e-10,
        cut: float | None = None,
        upsamplings: int = 0,
        shift_flipped: bool = False,
    ) -> None:
        super().__init__(space)
        self.grid = Grid(space, stride, convention)
        if decoder not in get_args(PeakDecoder):
            raise ValueError(f"decoder: expected one of {', '.join(get_args(PeakDecoder))}, got {decoder!r}")
        if decoder == "dark" and min(self.grid.size) < 3:
            raise ValueError(f"stride: expected a map of at least 3 x 3 for 'dark', got {self.grid.size}")
        if not sigma > 0:
            raise ValueError(f"sigma: expected a number of cells above 0, got {sigma}")
        self.sigma, self.decoder, self.blur, self.clip, self.cut = sigma, decoder, blur, clip, cut
        self.upsamplings, self.shift_flipped = upsamplings, shift_flipped

    @property
    def floor(self) -> float:
        """In pixels, of joints whose cell is not on the border of the map."""
        rounding = self.grid.stride / 2 if self.grid.convention == "rounded" else 0.0
        cell = self.grid.stride * 1.03  # UDP's cells are up to 3 % wider
        # On a rounded place, the two neighbours are equal, and nothing more is lost.
        lost = {"argmax": 0.5 * cell, "quarter": 0.25 * cell, "dark": 1e-3}[self.decoder]
        return (rounding or lost) + 1e-3

    def reaches(self, points: Tensor) -> Tensor:
        """Whether a cell is within 3 sigma of the centre on both axes."""
        height, width = self.grid.size
        cells, reach = self.grid.to_cells(points), 3 * self.sigma
        last = torch.tensor([width - 1, height - 1], dtype=cells.dtype, device=cells.device)
        return ((cells >= -reach) & (cells <= last + reach)).all(-1)

    def targets(self, points: Tensor) -> Outputs:
        """The Gaussians."""
        return {"maps": gaussian_maps(self.grid.to_cells(points), self.grid.size, self.sigma, cut=self.cut)}

    def head(self, in_channels: int, keypoints: int) -> nn.Module:
        """A 1 x 1 convolution, behind `upsamplings` transposed ones."""
        return MapHead(in_channels, keypoints, upsamplings=self.upsamplings)

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The mean over cells and selected joints of the squared difference."""
        maps = self._same("maps", outputs, targets)
        loss = selected_mean(heatmap_mse, targets["weight"], *maps)
        return loss, {"mse": loss.detach()}

    def decode(self, outputs: Outputs) -> Keypoints:
        """The peaks in pixels."""
        maps = outputs["maps"]
        if self.decoder == "dark":
            cells = dark_peak(maps, blur=self.blur, clip=self.clip)
        else:
            cells = argmax_peak(maps) if self.decoder == "argmax" else quarter_peak(maps)
        return Keypoints(self.grid.to_pixels(cells), self.score(outputs), None, {})

    def score(self, outputs: Outputs) -> Tensor:
        """The largest value of each map."""
        return largest(outputs["maps"])

    def perfect(self, targets: Outputs) -> Outputs:
        """The targets."""
        return {"maps": targets["maps"]}

    def mirrored(self, outputs: Outputs) -> Outputs:
        """Maps read from right to left: exact for `half_pixel` and `udp` alone.

        x -> W - 1 - x is u -> W / s - 1 - u there. With `stride` the mirror image is (s - 1) / s cells off,
        and the mean of both, half of that.
        """
        maps = outputs["maps"].flip(-1)
        if self.shift_flipped:
            maps = torch.cat([maps[..., :1], maps[..., :-1]], dim=-1)
        return {"maps": maps}
