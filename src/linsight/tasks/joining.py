"""What was found in the batches of a split, as one."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["joined"]

Found = TypeVar("Found", bound=tuple[Any, ...])


def joined(parts: Sequence[Found]) -> Found:
    """One named tuple of those of all batches, in their order.

    Tensors are put end to end, also those within dictionaries and named tuples; of numbers, as of seconds, it
    has the median; None stays None.
    """
    return type(parts[0])(*map(_joined, zip(*parts, strict=True)))


def _joined(values: tuple[Any, ...]) -> Any:
    first = values[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(values)
    if isinstance(first, dict):
        return {name: torch.cat([value[name] for value in values]) for name in first}
    return joined(values) if isinstance(first, tuple) else float(np.median(values))
