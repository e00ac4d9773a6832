"""SimCC: a classification of the column and one of the row, finer than pixels."""

from typing import Literal

import torch
from torch import Tensor, nn

from linsight.losses import bins_kl, selected_mean
from linsight.models.vision.codecs.base import Codec, Keypoints, Outputs
from linsight.models.vision.codecs.heads import BinHead
from linsight.models.vision.codecs.peaks import dark_peak_1d
from linsight.models.vision.codecs.space import Pixels

__all__ = ["SimCC"]

MOST_BINS = 2**20


class SimCC(Codec):
    """Two classifications a joint, over W r columns and H r rows (Li et al. 2022, arXiv 2107.03332).

    A place x is bin (x + 1/2) r - 1/2; targets are Gaussians of `sigma` bins that sum to 1; the loss is the
    sum of both Kullback-Leibler divergences. Outputs `{"x": (batch, joints, W r), "y": ...}` are logits.
    Score: the smaller of the two largest probabilities. No sigma.

    Args:
        space: `Pixels`, without depth.
        ratio: Bins a pixel, r.
        sigma: In bins.
        decoder: `argmax`, or `dark`: the top of the Gaussian through three bins.
        stride: Of the features that the head reads.

    Raises:
        ValueError: An unknown decoder; a ratio or sigma not above 0; a crop with depth. Of `head`: more than
            2^20 logits an image.
    """

    spaces = (Pixels,)

    def __init__(
        self,
        space: Pixels,
        *,
        ratio: float = 2.0,
        sigma: float = 6.0,
        decoder: Literal["argmax", "dark"] = "argmax",
        stride: int = 32,
    ) -> None:
        super().__init__(space)
        self.crop = space
        if space.dim != 2:
            raise ValueError("space: expected a plane for simcc, got a crop with depth")
        for name, value in (("ratio", ratio), ("sigma", sigma), ("stride", stride)):
            if not value > 0:
                raise ValueError(f"{name}: expected a number above 0, got {value}")
        if decoder not in ("argmax", "dark"):
            raise ValueError(f"decoder: expected 'argmax' or 'dark', got {decoder!r}")
        self.ratio, self.sigma, self.decoder, self.stride = ratio, sigma, decoder, stride
        self.bins = {"x": max(1, round(space.width * ratio)), "y": max(1, round(space.height * ratio))}

    @property
    def floor(self) -> float:
        """Half a bin, in pixels; a thousandth of a pixel with `dark`, off the border."""
        return 1e-3 if self.decoder == "dark" else 0.5 / self.ratio + 1e-4

    def targets(self, points: Tensor) -> Outputs:
        """A Gaussian for each axis."""
        centres = (points + 0.5) * self.ratio - 0.5
        targets = {}
        for axis, (name, number) in enumerate(self.bins.items()):
            line = torch.arange(number, dtype=points.dtype, device=points.device)
            log = -0.5 * ((line - centres[..., axis, None]) / self.sigma).square()
            targets[name] = log.softmax(-1)
        return targets

    def head(self, in_channels: int, keypoints: int) -> nn.Module:
        """One map a joint, flattened, and a linear layer for each axis."""
        number = keypoints * sum(self.bins.values())
        if number > MOST_BINS:
            raise ValueError(
                f"keypoints: expected at most {MOST_BINS} bins x joints in an image, got {number}; "
                "use a smaller ratio"
            )
        grid = (-(-self.crop.height // self.stride), -(-self.crop.width // self.stride))
        return BinHead(in_channels, keypoints, grid, self.bins)

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The sum over the axes of KL(target || softmax), in nats."""
        parts = {
            name: selected_mean(bins_kl, targets["weight"], *self._same(name, outputs, targets))
            for name in self.bins
        }
        return parts["x"] + parts["y"], {f"kl_{name}": part.detach() for name, part in parts.items()}

    def decode(self, outputs: Outputs) -> Keypoints:
        """The most probable bins in pixels."""
        axes = []
        for name in self.bins:
            probability = outputs[name].softmax(-1)
            if self.decoder == "dark":
                place = dark_peak_1d(probability)
            else:
                place = probability.argmax(-1).to(probability.dtype)
            axes.append((place + 0.5) / self.ratio - 0.5)
        return Keypoints(torch.stack(axes, dim=-1), self.score(outputs), None, {})

    def score(self, outputs: Outputs) -> Tensor:
        """min(max p_x, max p_y)."""
        return torch.minimum(*(outputs[name].softmax(-1).amax(-1) for name in self.bins))

    def perfect(self, targets: Outputs) -> Outputs:
        """The logarithms of the targets."""
        return {name: targets[name].clamp(min=1e-30).log() for name in self.bins}

    def mirrored(self, outputs: Outputs) -> Outputs:
        """Columns read from right to left."""
        return {"x": outputs["x"].flip(-1), "y": outputs["y"]}

    def average(self, outputs: Outputs, others: Outputs) -> Outputs:
        """The mean of the probabilities, not of their logits."""
        means = {}
        for name in self.bins:
            both = outputs[name].softmax(-1) + others[name].softmax(-1)
            means[name] = (0.5 * both).clamp(min=1e-30).log()
        return means
