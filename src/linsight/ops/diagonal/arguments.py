"""What the diagonal ops refuse, in one line each."""

import torch
from torch import Tensor

from linsight.ops.forms import check_form

__all__ = ["check_call", "check_complex"]


def check_call(
    forms: tuple[str, ...], form: str, chunk_size: int | None, lengths: Tensor | None, x: Tensor
) -> None:
    """Refuse a form that is not there, chunks of no tokens, and lengths of another shape."""
    check_form(forms, form, chunk_size)
    if lengths is not None and (
        lengths.shape != x.shape[:1] or lengths.dtype not in (torch.int64, torch.int32)
    ):
        raise ValueError(
            f"lengths: expected {x.shape[0]} integers, got shape {tuple(lengths.shape)} of {lengths.dtype}"
        )


def check_complex(name: str, x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse what is not complex, or of another shape."""
    if not isinstance(x, Tensor) or not x.is_complex():
        kind = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name}: expected a complex tensor, got {kind}")
    if x.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(x.shape)}")
