"""In which dtype sums are kept and products taken."""

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["accumulator_dtype", "product_dtype", "without_autocast"]


def accumulator_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """The dtype of states and running sums: float32, or float64 where any input is float64."""
    dtype = torch.float32
    for other in dtypes:
        dtype = torch.promote_types(dtype, other)
    return dtype


def product_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """The dtype in which similarities are formed: bfloat16 where every input is, else the accumulators'.

    float16 is widened: an unnormalised sum of similarities passes its largest number, 65504, in a few hundred
    tokens.
    """
    return torch.bfloat16 if set(dtypes) == {torch.bfloat16} else accumulator_dtype(*dtypes)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which a product keeps the dtype of its operands; free of cost where autocast is off."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
