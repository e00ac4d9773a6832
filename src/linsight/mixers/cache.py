"""Caches that grow with the tokens: room in advance, written in place where no other state can see it."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["extended", "started", "uniform"]


def started(
    cache: type, tokens: tuple[Tensor, ...], counts: Int[Tensor, " batch"], valid: Bool[Tensor, "..."] | None
) -> Any:
    """A cache of the first call's tokens, cut to the longest row.

    Args:
        cache: A `NamedTuple` type: tensors `(batch, length, ...)` and last `position` `(batch,)`.
        tokens: One tensor for each field but the last.
        counts: How many tokens each row has.
        valid: Which they are, None for all.
    """
    if valid is not None:
        longest = int(counts.max()) if len(counts) else 0
        tokens = tuple(part[:, :longest] for part in tokens)
    return cache(*tokens, counts)


def extended(
    cache: Any,
    tokens: tuple[Tensor, ...],
    places: Int[Tensor, "batch length"],
    counts: Int[Tensor, " batch"],
    valid: Bool[Tensor, "batch length"] | None,
) -> Any:
    """The cache with new tokens written at each row's own places.

    The buffer grows geometrically and is written in place only where no other state can see it: a state that
    is continued twice is copied the second time.
    """
    position = cache.position + counts
    length = int(position.max()) if len(position) else 0
    if valid is None and uniform(cache.position):
        where = (slice(None), slice(length - places.shape[1], length))
    else:
        chosen = torch.ones_like(places, dtype=torch.bool) if valid is None else valid
        rows, columns = chosen.nonzero(as_tuple=True)
        where, tokens = (rows, places[rows, columns]), tuple(part[rows, columns] for part in tokens)
    grown = [
        _append(old, new, where, cache.position, length) for old, new in zip(cache[:-1], tokens, strict=True)
    ]
    return type(cache)(*grown, position)


def uniform(position: Int[Tensor, " batch"]) -> bool:
    """Whether all rows are at the same position."""
    return len(position) == 0 or int(position.min()) == int(position.max())


class _Reserve:
    """The larger buffer that a cache is a view of, and how much of its length is taken."""

    def __init__(self, buffer: Tensor, taken: int) -> None:
        self.buffer = buffer
        self.taken = taken


_reserves: WeakIdKeyDictionary = WeakIdKeyDictionary()


def _append(old, new, where, position, length):
    """`old` with `new` written at the indices `where`, as a view of exactly `length` places.

    Under autograd the buffer is always fresh. Without it the reserve behind `old` is written in place, unless
    another continuation of the same state has taken it already.
    """
    reserve = _reserves.get(old)
    if (
        torch.is_grad_enabled()
        or reserve is None
        or reserve.taken != old.shape[1]
        or (reserve.buffer.shape[1] < length)
    ):
        room = length if torch.is_grad_enabled() else max(16, 2 * length)
        buffer = old.new_zeros(
            old.shape[0], room, *old.shape[2:], dtype=torch.promote_types(old.dtype, new.dtype)
        )
        old = old[:, :length]  # the longest row may have left the batch
        own = torch.arange(old.shape[1], device=old.device) < position[:, None]
        own = own[(...,) + (None,) * (old.ndim - 2)]
        buffer[:, : old.shape[1]] = torch.where(own, old, 0)
        reserve = _Reserve(buffer, length)
    reserve.buffer[where] = new
    reserve.taken = length
    view = reserve.buffer[:, :length]
    if not torch.is_grad_enabled():
        _reserves[view] = reserve
    return view
