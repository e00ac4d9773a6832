"""Defects beside the call: features, discretisations, options and refusals, each as a subject."""

import torch
from honest_attention import Honest
from torch import Tensor, nn

from linsight.conformance import Subject


def unsigned_features() -> Tensor:
    """Random features by a QR decomposition without the signs (performer-pytorch 1.1.4)."""
    q, _ = torch.linalg.qr(torch.randn(8, 8))
    return q.mT * 8**0.5


def positive_features() -> Tensor:
    """Uniform numbers where normal ones were meant."""
    return torch.rand(16, 8)


def flipped_bilinear(modes: Tensor, step: float) -> Tensor:
    """Bilinear with its sign flipped (lrnnx 1.0.0.post1): stable systems grow."""
    return (1 - step * modes / 2) / (1 + step * modes / 2)


def forward_euler(modes: Tensor, step: float) -> Tensor:
    """1 + step A, which leaves the unit disc for oscillating modes."""
    return 1 + step * modes


def half_step(modes: Tensor, step: float) -> Tensor:
    """Bilinear with step / 4 where step / 2 belongs: stable, and half as fast."""
    return (1 + step * modes / 4) / (1 - step * modes / 4)


class IgnoredOption(Honest):
    """Takes a frequency and never reads it (FLASH-pytorch's rel_pos_bias)."""

    def __init__(self, dim: int = 8, frequency: float = 0.9) -> None:
        super().__init__(dim)


class UnreadParameter(Honest):
    """Takes a bias, makes its weights, and never reads them."""

    def __init__(self, dim: int = 8, *, bias: bool = False) -> None:
        super().__init__(dim)
        if bias:
            self.bias = nn.Parameter(torch.zeros(dim))


class Accepting(Honest):
    """Broadcasts a state of one row to every row."""

    def check(self, x: Tensor, state: object, lengths: Tensor | None) -> None:
        """Anything goes."""


class Nameless(Honest):
    """Refuses without saying which argument is wrong: an x in a word names nothing."""

    def check(self, x: Tensor, state: object, lengths: Tensor | None) -> None:
        try:
            super().check(x, state, lengths)
        except ValueError as error:
            raise ValueError("expected another shape") from error


class Asserting(Honest):
    """Refuses by an assertion, which `python -O` removes."""

    def check(self, x: Tensor, state: object, lengths: Tensor | None) -> None:
        assert x.shape[2] == self.dim, f"x: expected dim {self.dim}"


class Verbose(Honest):
    """Refuses in a paragraph."""

    def check(self, x: Tensor, state: object, lengths: Tensor | None) -> None:
        if x.shape[2] != self.dim:
            raise ValueError(f"x has the wrong width\n\nexpected: {self.dim}\ngot: {x.shape[2]}")


def wide_x(mixer: type[Honest]) -> dict:
    """The mistake of tokens of another width."""
    return {"x": lambda: mixer()(torch.ones(2, 3, 9))}


def small_state(mixer: type[Honest]) -> dict:
    """The mistake of a state of another batch."""
    return {"state": lambda: mixer()(torch.ones(2, 3, 8), mixer().initial_state(1))}


UNFIXED_SIGNS = Subject("UnfixedSigns", Honest, features=unsigned_features)
POSITIVE_FEATURES = Subject("PositiveFeatures", Honest, features=positive_features)
FLIPPED_BILINEAR = Subject("FlippedBilinear", Honest, discretise=flipped_bilinear)
FORWARD_EULER = Subject("ForwardEuler", Honest, discretise=forward_euler)
HALF_STEP = Subject("HalfStep", Honest, discretise=half_step)
IGNORED_OPTION = Subject(
    "IgnoredOption", IgnoredOption, options={"frequency": lambda: IgnoredOption(frequency=0.1)}
)
UNREAD_PARAMETER = Subject(
    "UnreadParameter", UnreadParameter, options={"bias": lambda: UnreadParameter(bias=True)}
)
ACCEPTING = Subject("Accepting", Accepting, mistakes=small_state(Accepting))
UNCHECKED = Subject("Unchecked", Accepting, mistakes=wide_x(Accepting))
NAMELESS = Subject("Nameless", Nameless, mistakes=wide_x(Nameless))
ASSERTING = Subject("Asserting", Asserting, mistakes=wide_x(Asserting))
VERBOSE = Subject("Verbose", Verbose, mistakes=wide_x(Verbose))
