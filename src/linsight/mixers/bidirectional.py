"""Two passes of a causal mixer, one from each end, so that every token sees all others."""

import torch
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Cost, Mixer

__all__ = ["Bidirectional"]


class Bidirectional(Mixer):
    """y = f(x) + flip(g(flip(x))), for causal mixers f and g: what vision asks of a recurrence.

    Zhu et al. 2024, arXiv 2401.09417 (Vision Mamba), with the whole mixer run twice. `flip` reverses the
    tokens of each row within the row's own length, so that padding stays on the right and unseen. Token t
    sees the tokens up to t through f and those from t on through g, itself through both. With g = f (shared
    weights) the mixer commutes with reversal: the output of flip(x) is the flipped output of x.

    Kinds that have a bidirectional form of their own (`causal=False`) compute it with one pass.

    Args:
        forward: The causal mixer of the pass from the first token on.
        backward: The one from the last token back; None for the same weights.

    Cost: twice that of the causal mixers in each of their forms. No state.

    Raises:
        ValueError: A mixer that is not causal; mixers of different widths.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("bidirectional", dim=16, causal=False, mixer=mixers.config("linear"))
        >>> y, state = mixer(torch.randn(1, 5, 16))
        >>> y.shape, state
        (torch.Size([1, 5, 16]), None)
    """

    def __init__(self, forward: Mixer, backward: Mixer | None = None) -> None:
        for name, mixer in (("forward", forward), ("backward", backward or forward)):
            if not mixer.causal:
                raise ValueError(f"{name}: expected a causal mixer, got {type(mixer).__name__} that is not")
            if mixer.dim != forward.dim:
                raise ValueError(f"{name}: expected width {forward.dim}, that of forward, got {mixer.dim}")
        super().__init__(forward.dim, causal=False, forms=forward.forms, form=forward.form)
        self.ahead = forward
        self.back = backward
        self.period, self.max_length = forward.period, forward.max_length

    def mix(self, x, state, valid):
        """Both passes, in the form that is set."""
        lengths = None if valid is None else valid.sum(1)
        back = self.ahead if self.back is None else self.back
        self.ahead.form = back.form = self.form
        seen, _ = self.ahead(x, None, lengths)
        foreseen, _ = back(_flip(x, lengths), None, lengths)
        self.last_form = self.ahead.last_form
        return seen + _flip(foreseen, lengths), None

    def scale_output(self, factor):
        """Of both passes."""
        self.ahead.scale_output(factor)
        if self.back is not None:
            self.back.scale_output(factor)

    def initial_state(self, batch, *, dtype=None, device=None):
        """None: every token sees all."""
        return

    def state_size(self, length):
        """0."""
        return 0

    def cost(self, length):
        """Twice the causal mixer's."""
        return {form: Cost(2 * c.flops, 2 * c.bytes) for form, c in self.ahead.cost(length).items()}


def _flip(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each row's own tokens in the other order; padding stays where it is."""
    if lengths is None:
        return x.flip(1)
    places = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None] - 1 - places
    return ops.take(x, torch.where(mirrored >= 0, mirrored, places))
