"""Gaze alone: bins of each angle, quantiles, and a law on the sphere."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from linsight.losses import binned_angle_loss, pinball_loss, selected_mean, vmf_nll
from linsight.models.vision.codecs.activations import BoundedScale, Concentration
from linsight.models.vision.codecs.base import Codec, Keypoints, Outputs
from linsight.models.vision.codecs.heads import Output, PooledHead
from linsight.models.vision.codecs.regression import PointCodec
from linsight.models.vision.codecs.space import Directions
from linsight.ops import directions

__all__ = ["Bins", "Pinball", "VonMisesFisher"]

NAMES = ("pitch", "yaw")


class Bins(Codec):
    """Each angle classified into bins of equal width, read as the mean over their centres.

    Abdelrahman et al. 2022, arXiv 2203.03339 (L2CS): cross-entropy of the bin, and alpha times the squared
    gap of the mean in degrees. Outputs `{"pitch": (batch, joints, bins), "yaw": ...}` are logits. Score: the
    smaller of the two largest probabilities. Sigma: the standard deviation over the bins.

    Args:
        space: `Directions`.
        bins: Of each angle; 28 of 3 degrees, or 90 of 4, are published.
        half_range: Angles from -half_range to half_range, in radians.
        alpha: Weight of the squared gap in square degrees.
        outside: Refuse a labelled angle outside of the range, or `clip` it into the outermost bin; the part
            `clipped` counts them.
        legacy_edges: The mean over left edges, half a bin below the truth, as published code has it.

    Raises:
        ValueError: Numbers out of range; of `encode`: an angle outside of the range, unless clipped.
    """

    spaces = (Directions,)

    def __init__(
        self,
        space: Directions,
        *,
        bins: int = 28,
        half_range: float = math.radians(42),
        alpha: float = 1.0,
        outside: Literal["refuse", "clip"] = "refuse",
        legacy_edges: bool = False,
    ) -> None:
        super().__init__(space)
        if bins < 2:
            raise ValueError(f"bins: expected at least 2, got {bins}")
        if not 0 < half_range <= math.pi:
            raise ValueError(f"half_range: expected radians of 0 to pi, got {half_range}")
        if not alpha >= 0:
            raise ValueError(f"alpha: expected a weight of at least 0, got {alpha}")
        if outside not in ("refuse", "clip"):
            raise ValueError(f"outside: expected 'refuse' or 'clip', got {outside!r}")
        self.bins, self.half_range, self.alpha = bins, half_range, alpha
        self.outside, self.legacy_edges = outside, legacy_edges

    @property
    def width(self) -> float:
        """Of a bin, in radians."""
        return 2 * self.half_range / self.bins

    @property
    def floor(self) -> float:
        """In radians, between the outermost values that are averaged."""
        return 1e-5

    def targets(self, points: Tensor) -> Outputs:
        """The bin of each angle, and the angles themselves."""
        far = (points.abs() > self.half_range).any(-1)
        if self.outside == "refuse" and far.any():
            sample, joint = far.nonzero()[0].tolist()
            raise ValueError(
                f"keypoints: expected angles within {self.half_range:.4g} radians, got "
                f"{[round(one, 4) for one in points[sample, joint].tolist()]} in sample {sample}; "
                "use more range, or outside='clip'"
            )
        place = ((points + self.half_range) / self.width).floor().long().clamp(0, self.bins - 1)
        angles = points.clamp(-self.half_range, self.half_range)
        return {"angles": angles, "bins": place, "clipped": far}

    def head(self, in_channels: int, keypoints: int) -> nn.Module:
        """The mean over the map, and a linear layer of logits for each angle."""
        outputs = {name: Output(self.bins, nn.Identity()) for name in NAMES}
        return PooledHead(in_channels, keypoints, outputs)

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The sum over the two angles of both terms; parts in nats and square degrees are not parted."""
        wanted = (*targets["bins"].shape[:2], self.bins)
        parts = {}
        for axis, name in enumerate(NAMES):
            if outputs[name].shape != wanted:
                raise ValueError(
                    f"outputs: expected {name!r} of shape {wanted}, got {tuple(outputs[name].shape)}"
                )
            parts[name] = selected_mean(
                self._of_angle,
                targets["weight"],
                outputs[name],
                targets["bins"][..., axis],
                targets["angles"][..., axis],
            )
        clipped = (targets["clipped"] & (targets["weight"] > 0)).sum()
        return sum(parts.values(), torch.zeros_like(parts["yaw"])), {
            **{name: part.detach() for name, part in parts.items()},
            "clipped": clipped,
        }

    def decode(self, outputs: Outputs) -> Keypoints:
        """The means over the bins."""
        means, spreads = [], []
        for name in NAMES:
            probability = outputs[name].softmax(-1)
            values = self._values(probability)
            mean = (probability * values).sum(-1)
            means.append(mean)
            spreads.append((probability * (values - mean[..., None]).square()).sum(-1).sqrt())
        xy, sigma = torch.stack(means, dim=-1), torch.stack(spreads, dim=-1)
        return Keypoints(xy, self.score(outputs), sigma, {})

    def score(self, outputs: Outputs) -> Tensor:
        """min(max p_pitch, max p_yaw)."""
        return torch.minimum(*(outputs[name].softmax(-1).amax(-1) for name in NAMES))

    def perfect(self, targets: Outputs) -> Outputs:
        """The two bins about the truth, so that their mean is the truth, as far as the outermost reach."""
        outputs = {}
        for axis, name in enumerate(NAMES):
            angle = targets["angles"][..., axis, None]
            distance = (self._values(angle) - angle).abs() / self.width
            share = (1 - distance).clamp(min=0)
            outputs[name] = (share / share.sum(-1, keepdim=True).clamp(min=1e-6)).clamp(min=1e-30).log()
        return outputs

    def mirrored(self, outputs: Outputs) -> Outputs:
        """The bins of yaw from right to left; with `legacy_edges` one bin off, as their bias is."""
        return {"pitch": outputs["pitch"], "yaw": outputs["yaw"].flip(-1)}

    def average(self, outputs: Outputs, others: Outputs) -> Outputs:
        """The mean of the probabilities, not of their logits."""
        means = {}
        for name in NAMES:
            both = outputs[name].softmax(-1) + others[name].softmax(-1)
            means[name] = (0.5 * both).clamp(min=1e-30).log()
        return means

    def _of_angle(self, logits: Tensor, place: Tensor, angle: Tensor) -> Tensor:
        mean = (logits.softmax(-1) * self._values(logits)).sum(-1)
        return binned_angle_loss(logits, place, torch.rad2deg(mean - angle), self.alpha)

    def _values(self, like: Tensor) -> Tensor:
        """What each bin stands for, in radians."""
        number = torch.arange(self.bins, dtype=like.dtype, device=like.device)
        return (number + (0.0 if self.legacy_edges else 0.5)) * self.width - self.half_range


class Pinball(PointCodec):
    """The direction, and the half-width of its 80 % interval by quantile losses (Gaze360).

    Kellnhofer et al. 2019: outputs `{"mean": ..., "width": ...}`, the width pi sigmoid(raw) radians, one for
    both angles. Residuals are those of the space: `Directions("angles")` is the published one. Score: 1 -
    width / pi. Sigma: the standard deviation of a normal law with this interval, width / 1.2816.

    Args:
        space: `Directions`.
        own_widths: A width for each angle.
        quantile: 0.1: the interval holds the share 1 - 2 quantile.

    Raises:
        ValueError: A quantile outside of (0, 1/2).
    """

    spaces = (Directions,)

    def __init__(self, space: Directions, *, own_widths: bool = False, quantile: float = 0.1) -> None:
        super().__init__(space)
        pinball_loss(torch.zeros(1, 1), torch.ones(1, 1), quantile)
        self.own_widths, self.quantile = own_widths, quantile

    def outputs(self) -> dict[str, Output]:
        """The mean and the width."""
        width = Output(2 if self.own_widths else 1, BoundedScale(0.0, math.pi))
        return {**super().outputs(), "width": width}

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """Both pinball losses in radians, the mean over the angles."""
        mean, truth = self._same("mean", outputs, targets)
        unit = self.space.to_point_unit

        def quantiles(mean: Tensor, width: Tensor, truth: Tensor) -> Tensor:
            return pinball_loss(-unit(self.space.error(mean, truth)), width, self.quantile)

        loss = selected_mean(quantiles, targets["weight"], mean, outputs["width"], truth)
        return loss, {"pinball": loss.detach()}

    def decode(self, outputs: Outputs) -> Keypoints:
        """The means, and sigma of the width."""
        normal = math.sqrt(2) * torch.erfinv(torch.tensor(1 - 2 * self.quantile, dtype=torch.float64)).item()
        sigma = (outputs["width"] / normal).expand_as(outputs["mean"])
        return Keypoints(self.places(outputs), self.score(outputs), sigma, {"width": outputs["width"]})

    def score(self, outputs: Outputs) -> Tensor:
        """1 - the mean width / pi."""
        return 1 - outputs["width"].mean(-1) / math.pi

    def perfect(self, targets: Outputs) -> Outputs:
        """The targets, with a width of 1e-3."""
        mean = targets["mean"]
        return {"mean": mean, "width": torch.full_like(mean if self.own_widths else mean[..., :1], 1e-3)}


class VonMisesFisher(PointCodec):
    """The direction and its concentration k on the sphere, by -log p of a von Mises-Fisher law.

    Outputs `{"mean": ..., "concentration": (batch, joints, 1)}`, k = softplus(raw). Score: k / (1 + k).
    Sigma: 1 / sqrt k, that of an axis in radians where k is large; at most pi / sqrt 3. Loss and part `nll`
    are per steradian, whatever the residual of the space.

    Args:
        space: `Directions`.
    """

    spaces = (Directions,)

    def outputs(self) -> dict[str, Output]:
        """The mean, and a concentration that begins at 10, about 18 degrees."""
        return {**super().outputs(), "concentration": Output(1, Concentration(), 10.0)}

    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The mean of -log p over selected joints."""
        rows = (*self._same("mean", outputs, targets), outputs["concentration"])
        weight = targets["weight"]
        loss = selected_mean(_vmf, weight, *rows)
        with torch.no_grad():
            nll = selected_mean(_vmf, weight > 0, *rows)
        return loss, {"nll": nll}

    def decode(self, outputs: Outputs) -> Keypoints:
        """The means, and sigma of the concentration."""
        most = math.pi / math.sqrt(3)
        sigma = outputs["concentration"].clamp(min=most**-2).rsqrt().expand_as(outputs["mean"])
        extra = {"concentration": outputs["concentration"]}
        return Keypoints(self.places(outputs), self.score(outputs), sigma, extra)

    def score(self, outputs: Outputs) -> Tensor:
        """k / (1 + k)."""
        k = outputs["concentration"][..., 0]
        return k / (1 + k)

    def nll(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """-log p of the truth of each joint, per steradian: `(batch, joints)`, without a gradient."""
        with torch.no_grad():
            return _vmf(*self._same("mean", outputs, targets), outputs["concentration"])

    def level(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """The probability of the cap about the mean that just holds the truth; see `ScaledCodec.level`."""
        with torch.no_grad():
            mean, truth = self._same("mean", outputs, targets)
            gap = 0.5 * (directions.to_vector(mean) - directions.to_vector(truth)).square().sum(-1)
            k = outputs["concentration"][..., 0].clamp(min=1e-6)
            return torch.expm1(-k * gap) / torch.expm1(-2 * k)

    def perfect(self, targets: Outputs) -> Outputs:
        """The targets, with a concentration of a million."""
        mean = targets["mean"]
        return {"mean": mean, "concentration": torch.full_like(mean[..., :1], 1e6)}


def _vmf(mean: Tensor, truth: Tensor, concentration: Tensor) -> Tensor:
    return vmf_nll(directions.to_vector(mean), directions.to_vector(truth), concentration[..., 0])
