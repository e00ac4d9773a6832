"""A row's tokens spread over the ranks of a process group: who can, and how it is said."""

from typing import TypeVar

import torch.distributed as dist
from torch import nn

from linsight.mixers.base import Mixer
from linsight.nn import AcrossRanks, SequenceGroup

__all__ = ["across"]

KINDS = ("linear", "retnet", "s4d", "gated_delta", "mamba", "mamba2")
"""Those whose `Mixer.spreads` is True."""

Module = TypeVar("Module", bound=nn.Module)


def across(module: Module, group: dist.ProcessGroup | None) -> Module:
    """Let every mixer in `module` take its tokens as one rank's piece of the row; returns the module.

    Afterwards `y, state = mixer(x_piece, state, lengths_piece)` gives this rank's piece of y. The pieces
    follow one another in the order of the ranks, each with a token at least, and `lengths_piece` counts a
    row's tokens in this piece. States are those of the whole row and the same on all ranks: the one given is
    from before the first rank's tokens, the one returned from after the last one's, so that a second call
    continues the first. A `Stack` takes and returns whole rows instead, on every rank; see there.

    Each rank calls the mixers in the same order and has the same weights, and then calls backward, on a loss
    of its own or a common one. The sum over ranks of a parameter's gradients is the gradient of the sum of
    all losses; of a common loss, the average over ranks is the gradient.

    Args:
        module: A mixer, or what contains mixers.
        group: Of `torch.distributed`; None, or a single process, for rows that are not spread.

    Cost: each layer sends what its tokens do to its state, a piece's `written` and `decay`, to all ranks
    once, and as much back in backward; it is independent of the number of tokens. See `ops.Piece`.

    Raises:
        NotImplementedError: A mixer whose state is not affine in the one before it, or not of one size.
    """
    for mixer in module.modules():
        if isinstance(mixer, Mixer) and group is not None:
            _check(mixer)
    ranks = None if group is None or dist.get_world_size(group) == 1 else SequenceGroup(group)
    for part in module.modules():
        if isinstance(part, AcrossRanks):
            part.group = ranks
    return module


def _check(mixer: Mixer) -> None:
    if mixer.spreads and mixer.causal:
        return
    if not mixer.causal:
        reason = "it is not causal, and sees tokens of later ranks"
    elif mixer.state_grows:
        reason = "its state is every key and value so far, and grows with the tokens"
    else:
        reason = "no form of it combines the states of pieces"
    raise NotImplementedError(
        f"{type(mixer).__name__} cannot spread a row over ranks: {reason}; causal mixers of these kinds can: "
        f"{', '.join(KINDS)}"
    )
