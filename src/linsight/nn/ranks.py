"""One row's tokens over the ranks of a process group: what a rank has to know of those before it."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from linsight.ops import Piece, without_autocast

__all__ = ["AcrossRanks", "SequenceGroup"]


class SequenceGroup:
    """The ranks of a process group, each with a contiguous piece of every row, in the order of the ranks.

    All ranks make the same calls in the same order, forward and backward. What each of them calls `backward`
    on may differ: gradients are those of the sum of the ranks' losses, and each rank holds its part of them.

    Args:
        group: Of `torch.distributed`; None for all processes.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def __deepcopy__(self, memo: dict) -> "SequenceGroup":
        """Itself: the copy of a module stands on the same ranks."""
        return self

    def gather(self, x: Tensor) -> Float[Tensor, "ranks ..."] | Int[Tensor, "ranks ..."]:
        """x of every rank, of one shape on all of them; its gradient is the sum of what the ranks want."""
        return _Gather.apply(x, self)

    def before_and_after(self, piece: Piece, initial: Tensor | None) -> tuple[Tensor, Tensor]:
        """The state that this rank starts from, and the one after all ranks, from each rank's own piece.

        Args:
            piece: Of this rank's tokens; shapes are the same on all ranks.
            initial: The state before the whole row, the same on all ranks; None for zeros.

        Sent: written and decay, once; a gradient of their size in backward. Computed: one product of a decay
        and a state for every rank.
        """
        states = [torch.zeros_like(piece.written) if initial is None else initial]
        with without_autocast(piece.written.device):
            for one in self._pieces(piece):
                states.append(one(states[-1]))
        # A choice from the stack, and not the entry of a list, leaves no rank without a part in the backward
        # of the gather, the first one included: a collective that one rank does not call never ends.
        return torch.stack(states)[self.rank], states[-1]

    def own(
        self, x: Float[Tensor, "batch length dim"], lengths: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch piece dim"], Int[Tensor, " batch"] | None]:
        """This rank's tokens of whole rows, and how many are no padding; pieces differ by at most one.

        Raises:
            ValueError: Fewer tokens than ranks.
        """
        length = x.shape[1]
        if length < self.size:
            raise ValueError(f"x: expected a token for each of {self.size} ranks at least, got {length}")
        sizes = self._sizes(length)
        start, size = sum(sizes[: self.rank]), sizes[self.rank]
        lengths = None if lengths is None else (lengths - start).clamp(0, size)
        return x[:, start : start + size], lengths

    def whole(self, x: Float[Tensor, "batch piece dim"], length: int) -> Float[Tensor, "batch {length} dim"]:
        """The rows of `length` tokens that `own` was given, from every rank's tokens of them."""
        sizes = self._sizes(length)
        padded = F.pad(x, (0, 0, 0, sizes[0] - x.shape[1]))
        parts = self.gather(padded).unbind(0)
        return torch.cat([part[:, :size] for part, size in zip(parts, sizes, strict=True)], dim=1)

    def _sizes(self, length: int) -> list[int]:
        return [length // self.size + (rank < length % self.size) for rank in range(self.size)]

    def _pieces(self, piece: Piece) -> list[Piece]:
        """Every rank's, by one gather of all numbers of a piece."""
        parts = [piece.written] if piece.decay is None else [piece.written, piece.decay]
        real = [torch.view_as_real(part.resolve_conj()) if part.is_complex() else part for part in parts]
        flat = self.gather(torch.cat([part.flatten() for part in real]))
        split = [
            found.unflatten(1, part.shape)
            for found, part in zip(flat.split([part.numel() for part in real], dim=1), real, strict=True)
        ]
        if piece.written.is_complex():
            split = [torch.view_as_complex(part.contiguous()) for part in split]
        return [Piece(*numbers, matrix=piece.matrix) for numbers in zip(*split, strict=True)]


class AcrossRanks:
    """A module whose tokens may be one rank's piece of the row; `mixers.across` says so."""

    group: SequenceGroup | None = None
    """The ranks that have the row's tokens; None where this process has them all."""

    def recur(
        self,
        op: Callable[..., tuple[Tensor, Tensor]],
        initial: Tensor | None,
        piece: Callable[[], Piece],
    ) -> tuple[Tensor, Tensor]:
        """Outputs of this rank's tokens, and the state after the whole row.

        Args:
            op: Called with `initial_state`: outputs and the final state of this rank's tokens.
            initial: The state before the whole row.
            piece: What the same tokens do to a state; called only where there are ranks.
        """
        if self.group is None:
            return op(initial_state=initial)
        before, after = self.group.before_and_after(piece(), initial)
        return op(initial_state=before)[0], after

    def advance(self, start: Int[Tensor, " batch"], count: Tensor) -> tuple[Tensor, Tensor]:
        """The position of this rank's first token, and the one after the whole row."""
        return self.recur(
            lambda initial_state: (initial_state, initial_state + count), start, lambda: Piece(count)
        )


class _Gather(torch.autograd.Function):
    """All ranks' tensors, stacked; backward is the reduction that the ranks' use of them calls for."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, group: SequenceGroup
    ) -> Tensor:
        ctx.group = group
        parts = x.new_empty(group.size, *x.shape)
        dist.all_gather(list(parts.unbind(0)), x.contiguous(), group=group.group)
        return parts

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, None]:
        # Torch 2.13 renames reduce-scatter; an exchange and a sum send as much, and add in the ranks' order.
        wanted = torch.empty_like(grad, memory_format=torch.contiguous_format)
        dist.all_to_all_single(wanted, grad.contiguous(), group=ctx.group.group)
        return wanted.sum(0), None
