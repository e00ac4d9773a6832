"""The door: numbers, flags and ids from lists, arrays and tensors, as numpy."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["flags", "identifiers", "numbers", "plain"]


def numbers(values: Any, name: str, least: float | None = None) -> NDArray[np.float64]:
    """float64, finite, and not below `least`.

    Raises:
        TypeError: Not numbers.
        ValueError: NaN, infinity, less than `least`, or rows of different lengths.
    """
    array = plain(values, name)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    array = array.astype(np.float64, copy=False)
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise ValueError(f"{name}: expected finite numbers, got {array[row]} at index {row}")
    if least is not None and (array < least).any():
        row = int(np.argwhere(array < least)[0][0])
        raise ValueError(f"{name}: expected numbers >= {least:g}, got {array[row]} at index {row}")
    return array


def flags(values: Any, name: str, count: int) -> NDArray[np.bool_]:
    """Booleans (count,), from 0 and 1 too; all False for None."""
    if values is None:
        return np.zeros(count, bool)
    array = plain(values, name)
    if array.shape != (count,):
        raise ValueError(f"{name}: expected shape ({count},), got {array.shape}")
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: expected True or False, got {array[~np.isin(array, (0, 1))][0]!r}")
    return array.astype(bool)


def identifiers(values: Any, name: str, *, numeric: bool = False) -> NDArray[Any]:
    """A vector of integers, or of strings unless `numeric`.

    Raises:
        TypeError: Anything else, both at once, or fractions.
        ValueError: Not a vector.
    """
    array = plain(values, name)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected a vector, got shape {array.shape}")
    if isinstance(values, list | tuple) and len({isinstance(value, str) for value in values}) > 1:
        raise TypeError(f"{name}: expected integers or strings, got both")
    if array.dtype.kind == "U" and not numeric:
        return array
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    wanted = "integers" if numeric else "integers or strings"
    raise TypeError(f"{name}: expected {wanted}, got {array.dtype} such as {array[0]!r}")


def plain(values: Any, name: str) -> NDArray[Any]:
    """As numpy; raises ValueError for rows of different lengths."""
    if _is_tensor(values):
        values = values.detach().cpu()
        # numpy has no bfloat16; every other float is exact in double too.
        values = (values.double() if values.is_floating_point() else values).numpy()
    elif isinstance(values, list | tuple) and any(map(_is_tensor, values)):
        values = [value.tolist() if _is_tensor(value) else value for value in values]
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: expected rows of equal length, got {error}") from None


def _is_tensor(value: Any) -> bool:
    """Without importing torch, which costs 200 MB: where nobody has, nothing is a tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
