"""The contract of codecs: keypoints to targets, outputs to a loss, outputs to keypoints."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from linsight.models.vision.codecs.space import Directions, Pixels, Space

__all__ = ["Codec", "Keypoints", "Outputs"]

Outputs = dict[str, Tensor]
"""Tensors `(batch, joints, ...)` by name."""


class Keypoints(NamedTuple):
    """What a codec reads from outputs.

    `xy` are places in pixels, or (pitch, yaw) in radians; `sigma` their standard deviations in that unit,
    None where the codec has none.
    """

    xy: Tensor
    """(batch, joints, dim)"""
    score: Tensor
    """(batch, joints)"""
    sigma: Tensor | None
    """(batch, joints, dim)"""
    extra: Outputs
    """What else a codec has to say."""


class Codec(nn.Module, ABC):
    """Targets, head, loss and decoder of one way to predict points; every codec has the same calls.

        targets = codec.encode(keypoints, visible)        # on the data's side
        outputs = head(features)                          # head = codec.head(channels, joints)
        loss, parts = codec.loss(outputs, targets)
        found = codec.decode(outputs)

    Laws: decode(perfect(encode(x))) is x within `floor`; what stands under a weight of 0, NaN included,
    changes neither the loss nor a gradient; without a joint the loss is 0; decode and head hold no part that
    only the loss needs, and are exported together.

    A codec's own parameters (the flow of RLE) belong to the loss alone, and must reach the optimiser.

    Args:
        space: `Pixels` or `Directions`.

    Raises:
        TypeError: Another space than the codec is for.
    """

    spaces: ClassVar[tuple[type[Space], ...]] = (Pixels, Directions)
    """What the codec's points can be."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.check_space(space)
        self.space = space

    @classmethod
    def check_space(cls, space: Space) -> None:
        """Refuse points that the codec is not for."""
        if not isinstance(space, cls.spaces):
            known = " or ".join(kind.__name__ for kind in cls.spaces)
            raise TypeError(f"space: expected {known} for {cls.__name__}, got {type(space).__name__}")

    @property
    @abstractmethod
    def floor(self) -> float:
        """The largest error on an axis of decode(perfect(encode(x))), in the unit of the points."""

    def encode(self, keypoints: Tensor, visible: Tensor, weight: Tensor | None = None) -> Outputs:
        """Targets of keypoints, among them the loss's `weight`.

        Args:
            keypoints: `(batch, joints, dim)`, floating point; anything where `visible` is 0.
            visible: `(batch, joints)`: 0 for a joint that is not labelled, 1 or 2 (or True) for one that is.
            weight: `(batch, joints)`, a factor of at least 0 on the loss of each joint.

        Returns:
            `weight`: 0 for joints that are not labelled or out of reach, else the factor or 1; and what the
            codec needs, each `(batch, joints, ...)`, finite everywhere.

        Raises:
            TypeError: keypoints that are not floating point; visible that is neither integer nor bool.
            ValueError: Shapes that do not fit; NaN or infinity in a labelled joint; a weight below 0 or NaN.
        """
        selected = self._check(keypoints, visible, weight)
        points = torch.where(selected[..., None], keypoints.detach(), 0.0)
        self.space.check(points, selected)
        reached = selected & self.reaches(points)
        factor = reached.to(points.dtype) if weight is None else torch.where(reached, weight, 0.0)
        return {**self.targets(torch.where(reached[..., None], points, 0.0)), "weight": factor}

    def reaches(self, points: Tensor) -> Tensor:
        """Which points have a target: `(batch, joints)`."""
        return self.space.inside(points)

    @abstractmethod
    def targets(self, points: Tensor) -> Outputs:
        """The targets of checked, finite points."""

    @abstractmethod
    def head(self, in_channels: int, keypoints: int) -> nn.Module:
        """A head for features of `in_channels` and this many joints: `outputs = head(features)`."""

    @abstractmethod
    def loss(self, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Outputs]:
        """The loss, the mean over joints whose weight is not 0, and its parts by name, detached.

        Every density reports its part `nll`: -log p of the truth in nats a joint.

        Raises:
            ValueError: Outputs and targets of different shapes.
        """

    @abstractmethod
    def decode(self, outputs: Outputs) -> Keypoints:
        """The keypoints of outputs."""

    @abstractmethod
    def score(self, outputs: Outputs) -> Tensor:
        """`(batch, joints)`, larger for joints that are surer; each codec says what it is."""

    @abstractmethod
    def perfect(self, targets: Outputs) -> Outputs:
        """The outputs of a network that has learnt these targets exactly."""

    @abstractmethod
    def mirrored(self, outputs: Outputs) -> Outputs:
        """The outputs with left and right exchanged in each joint by itself."""

    def flip(self, outputs: Outputs, pairs: Sequence[Sequence[int]]) -> Outputs:
        """Outputs for the mirrored image as outputs for the image: places mirrored, joints exchanged.

        Args:
            outputs: Of the mirrored images.
            pairs: (left, right) numbers of the joints that a mirror exchanges.

        Raises:
            ValueError: A pair that is no two different joints, or a joint in two pairs.
        """
        mirrored = self.mirrored(outputs)
        order = _exchanged(pairs, next(iter(mirrored.values())).shape[1])
        return {name: one[:, order] for name, one in mirrored.items()}

    def average(self, outputs: Outputs, others: Outputs) -> Outputs:
        """The mean of two outputs, as of an image and, flipped back, of its mirror image."""
        means = {name: 0.5 * (one + others[name]) for name, one in outputs.items()}
        if "mean" in outputs:
            means["mean"] = self.space.mean(outputs["mean"], others["mean"])
        return means

    def _check(self, keypoints: Tensor, visible: Tensor, weight: Tensor | None) -> Tensor:
        """Which joints are labelled and wanted."""
        if not keypoints.is_floating_point():
            raise TypeError(f"keypoints: expected floating point, got {keypoints.dtype}")
        if visible.is_floating_point() or visible.is_complex():
            raise TypeError(f"visible: expected integers or bool, got {visible.dtype}")
        if keypoints.ndim != 3 or keypoints.shape[2] != self.space.dim:
            raise ValueError(
                f"keypoints: expected (batch, joints, {self.space.dim}), got {tuple(keypoints.shape)}"
            )
        for name, one in (("visible", visible), ("weight", weight)):
            if one is not None and one.shape != keypoints.shape[:2]:
                raise ValueError(
                    f"{name}: expected (batch, joints) {tuple(keypoints.shape[:2])}, got {tuple(one.shape)}"
                )
        selected = visible > 0
        if weight is not None:
            if not (weight >= 0).all():
                raise ValueError("weight: expected numbers of at least 0, got a negative one or NaN")
            selected = selected & (weight > 0)
        wrong = selected & ~keypoints.isfinite().all(-1)
        if wrong.any():
            sample, joint = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"keypoints: expected finite numbers where visible, got "
                f"{keypoints[sample, joint].tolist()} in sample {sample}, joint {joint}"
            )
        return selected

    @staticmethod
    def _same(name: str, outputs: Outputs, targets: Outputs) -> tuple[Tensor, Tensor]:
        """An output and its target, of one shape."""
        found, wanted = outputs[name], targets[name]
        if found.shape != wanted.shape:
            raise ValueError(
                f"outputs: expected {name!r} of shape {tuple(wanted.shape)}, as the targets have, "
                f"got {tuple(found.shape)}"
            )
        return found, wanted


def _exchanged(pairs: Sequence[Sequence[int]], joints: int) -> list[int]:
    order, seen = list(range(joints)), set[int]()
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not all(0 <= one < joints for one in pair):
            raise ValueError(f"pairs: expected two different joints of 0 to {joints - 1}, got {tuple(pair)}")
        if seen & set(pair):
            raise ValueError(
                f"pairs: expected each joint in one pair, got {tuple(pair)} with one a second time"
            )
        seen |= set(pair)
        order[pair[0]], order[pair[1]] = pair[1], pair[0]
    return order
