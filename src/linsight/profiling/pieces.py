"""What of a mixer's state crosses from device to device when the tokens of a row are spread over several."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from linsight.mixers import Mixer

__all__ = ["PieceBytes", "piece_bytes"]


@dataclass(frozen=True)
class PieceBytes:
    """Of a layer and a row: what a piece wrote, how it changes what was before, what its margin holds."""

    written: int
    transition: int
    margin: int

    @property
    def gathered(self) -> int:
        """What all devices need of a piece: S_end = transition . S_start + written."""
        return self.written + self.transition


TRANSITIONS: dict[str, Callable[[tuple[int, ...]], int]] = {
    "linear": lambda shape: 0,  # none: the state only adds up
    "retnet": lambda shape: 0,  # a power of the length of the piece, which every device knows
    "s4d": lambda shape: 0,  # the same
    "mamba2": lambda shape: shape[0],  # a number for each head
    "mamba": math.prod,  # a number for each number of the state
    "gated_delta": lambda shape: shape[0] * shape[1] ** 2,  # a matrix between the keys of each head
}
"""Numbers of a piece's transition from the shape of its memory, for every kind whose rows can be spread."""


def piece_bytes(kind: str, mixer: Mixer) -> PieceBytes:
    """The bytes that a piece of a row has for the devices after it, read off the mixer's own state.

    A piece changes the state by S_end = transition . S_start + written. `written` has the size of the state's
    accumulators, whatever the length; positions are not sent, since every device knows where its piece is.
    The fields in `mixer.keeps`, the last inputs of convolutions, are the margin, which the next device needs.

    Args:
        kind: The mixer's kind.
        mixer: Built at its true width.

    Raises:
        ValueError: The kind has no such piece: softmax, whose state is all keys and values, among others.
    """
    if kind not in TRANSITIONS:
        why = ", whose state is every key and value" if mixer.state_grows else ""
        raise ValueError(
            f"mixer: expected one of {', '.join(TRANSITIONS)} to spread a row, got {kind!r}{why}"
        )
    state = mixer.initial_state(1)
    fields = dict(zip(state._fields, state, strict=True))
    memories = [t for name, t in fields.items() if name not in mixer.keeps and t.is_floating_point()]
    return PieceBytes(
        sum(t.nbytes for t in memories),
        sum(TRANSITIONS[kind](tuple(t.shape[1:])) * t.element_size() for t in memories),
        sum(fields[name].nbytes for name in mixer.keeps),
    )
