"""A mixer whose later layers read what the first of them made of the same tokens."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

__all__ = ["RelayMixer"]


class RelayMixer(ABC):
    """What a mixer has beside its call if the first layer's values, `v_first`, go through a stack with x.

    `mixer(x, state, lengths)` stays the call of every mixer, and is all there is to a first layer. What is
    relayed goes from layer to layer within one call, and from no call to the next: it is no part of a state.
    """

    @abstractmethod
    def relay(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | None = None,
        *,
        v_first: Tensor | None = None,
    ) -> tuple[Tensor, Any, Tensor]:
        """y and the state as of `mixer(x, state, lengths)`, and v_first `(batch, length, dim)` to hand on.

        Args:
            x, state, lengths: As in the call.
            v_first: What the first layer of this kind returned; None in that layer, which ignores it.

        Raises:
            ValueError: None in a later layer; another shape than x.
        """
