"""Where the tokens of a call lie in blocks at absolute positions, each row at its own phase."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Blocks", "OpenSlot"]


class Blocks:
    """The blocks that a call's tokens fall into: row b's token t has position `start_b + t`.

    Rows are shifted to a common grid by gathers whose shapes depend on the call's shape alone, so that rows
    may be at any phase and graphs can be traced. A call from the beginning is not shifted, and one that is
    shorter than a block has a single block of its own length.

    Args:
        length: Tokens of the call, T.
        block: Positions of a block, C.
        position: `(B,)` tokens that each row has seen before; None for a call from the beginning.
        valid: `(B, T)`, True at tokens and False at the padding on their right; None for no padding.
        batch, device: Of the tokens.
    """

    def __init__(
        self,
        length: int,
        block: int,
        position: Int[Tensor, " B"] | None,
        valid: Bool[Tensor, "B T"] | None,
        *,
        batch: int,
        device: torch.device,
    ) -> None:
        self.length, self.block = length, block
        self.fresh, self.whole = position is None, valid is None
        self.start = torch.zeros(batch, dtype=torch.int64, device=device) if position is None else position
        self.counts = torch.full_like(self.start, length) if valid is None else valid.sum(1)
        self.position = self.start + self.counts
        self.phase = self.start % block
        self.width = min(block, length) if self.fresh else block
        span = length if self.fresh else block - 1 + length
        self.number = -(-span // self.width)
        self.last = self.position // block - self.start // block
        """`(B,)`: which of the blocks is each row's open one; `number` where that is yet to begin."""
        place = torch.arange(self.number * self.width, device=device)
        self._token = place - self.phase[:, None]
        self.filled = (place < (self.phase + self.counts)[:, None]).unflatten(1, (self.number, self.width))
        """`(B, number, width)`: places that hold a token, of this call or an earlier one."""

    def cut(
        self, new: Float[Tensor, "B T H K"], opened: Float[Tensor, "B C H K"] | None = None
    ) -> Float[Tensor, "B N W H K"]:
        """The call's tokens in their places, after those of the open block, 0 where there is none."""
        room = self.number * self.width
        if self.fresh:
            placed = F.pad(new, (0, 0, 0, 0, 0, room - self.length))
            placed = placed if self.whole else torch.where(self.filled.flatten(1)[..., None, None], placed, 0)
        else:
            placed = _take(new, self._token.clamp(0, self.length - 1))
            mine = (self._token >= 0) & self.filled.flatten(1)
            before = 0
            if opened is not None:
                before = F.pad(opened, (0, 0, 0, 0, 0, room - self.block))
                before = torch.where((self._token < 0)[..., None, None], before, 0)
            placed = torch.where(mine[..., None, None], placed, before)
        return placed.unflatten(1, (self.number, self.width))

    def joined(self, blocks: Float[Tensor, "B N W H V"]) -> Float[Tensor, "B T H V"]:
        """What is at the places of the call's tokens."""
        flat = blocks.flatten(1, 2)
        if self.fresh:
            return flat[:, : self.length]
        return _take(flat, self.phase[:, None] + torch.arange(self.length, device=flat.device))

    def still_open(self, blocks: Float[Tensor, "B N W H K"]) -> Float[Tensor, "B C H K"]:
        """The open block after the call, 0 at places that hold no token yet."""
        flat = blocks.flatten(1, 2)
        if self.fresh and self.whole:
            rest = flat[:, self.length // self.block * self.block : self.length]
            return F.pad(rest, (0, 0, 0, 0, 0, self.block - rest.shape[1]))
        slots = torch.arange(self.block, device=flat.device)
        index = (self.last * self.block)[:, None] + slots
        held = slots < (self.position % self.block)[:, None]
        return torch.where(held[..., None, None], _take(flat, index.clamp(max=flat.shape[1] - 1)), 0)


class OpenSlot:
    """The place of one token in each row's open block; a row whose `valid` is False has none."""

    def __init__(self, block: int, position: Int[Tensor, " B"], valid: Bool[Tensor, " B"] | None) -> None:
        valid = torch.ones_like(position, dtype=torch.bool) if valid is None else valid
        slots, slot = torch.arange(block, device=position.device), (position % block)[:, None]
        self.distance = slot - slots
        """`(B, C)`: how far the places of the block lie behind the token."""
        self.seen = self.distance >= 0
        self.closes = valid & (slot[:, 0] == block - 1)
        """`(B,)`: rows whose block this token fills."""
        self.position = position + valid
        self._held, self._written = self.distance > 0, (self.distance == 0) & valid[:, None]

    def write(
        self, opened: Float[Tensor, "B C H K"], token: Float[Tensor, "B 1 H K"]
    ) -> Float[Tensor, "B C H K"]:
        """The block with the token in its place, and 0 after it."""
        opened = torch.where(self._held[..., None, None], opened, 0)
        return torch.where(self._written[..., None, None], token, opened)

    def emptied(self, block: Float[Tensor, "B C H K"]) -> Float[Tensor, "B C H K"]:
        """The block if it goes on, 0 if it is full."""
        return torch.where(self.closes[:, None, None, None], 0, block)


def _take(x: Float[Tensor, "B S H K"], index: Int[Tensor, "B L"]) -> Float[Tensor, "B L H K"]:
    """x[b, index[b, l]]."""
    return x.gather(1, index[..., None, None].expand(-1, -1, *x.shape[2:]))
