"""Rows of what is slow to make, each made once."""

import threading
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

__all__ = ["Kept"]


class Kept:
    """Rows that are made when they are first asked for, and kept. Safe for several threads.

    Args:
        number: Of rows.
        make: The tensors of some rows, batch first; a function of the rows alone, so that what is found does
            not depend on what was asked for before.

    Memory: that of the rows that were asked for.
    """

    def __init__(
        self, number: int, make: Callable[[Integer[np.ndarray, "rows"]], tuple[Tensor, ...]]
    ) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._known = np.zeros(number, bool)
        self._parts: tuple[Tensor, ...] = ()

    def rows(self, rows: Integer[np.ndarray, "rows"]) -> tuple[Tensor, ...]:
        """The tensors of these rows, in their order."""
        with self._lock:
            missing = np.unique(rows[~self._known[rows]])
            if len(missing):
                made = self._make(missing)
                if not self._parts:
                    number = len(self._known)
                    # Zeros of a page that nobody has written to take no memory.
                    self._parts = tuple(torch.zeros(number, *one.shape[1:], dtype=one.dtype) for one in made)
                where = torch.from_numpy(missing)
                for kept, one in zip(self._parts, made, strict=True):
                    kept[where] = one
                self._known[missing] = True
            return tuple(kept[torch.from_numpy(rows)] for kept in self._parts)
