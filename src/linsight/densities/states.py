"""The states of densities: nested tuples of batch-first tensors, and of what is the same for all rows."""

from typing import Any

from torch import Tensor

__all__ = ["state_bytes", "take_rows"]


def take_rows(state: Any, rows: Tensor) -> Any:
    """The state of these rows, in this order; a row may be taken several times."""
    if isinstance(state, Tensor):
        return state.index_select(0, rows)
    if isinstance(state, tuple):
        parts = [take_rows(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state


def state_bytes(state: Any) -> int:
    """The bytes of all tensors in it."""
    if isinstance(state, Tensor):
        return state.nbytes
    return sum(map(state_bytes, state)) if isinstance(state, tuple) else 0
