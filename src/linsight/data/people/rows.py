"""Rows of tables whose columns are arrays."""

from typing import Any

import numpy as np

__all__ = ["rows"]


def rows(table: Any, which: slice | np.ndarray) -> Any:
    """The same named tuple with these rows of each of its arrays."""
    return type(table)(*(values[which] for values in table))
