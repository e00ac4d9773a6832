"""What linear attention refuses, in one line each."""

import torch
from torch import Tensor

from linsight.ops.forms import check_form

__all__ = ["FORMS", "check", "check_extra", "check_state", "check_tokens"]

FORMS = ("naive", "parallel", "chunk", "recurrent", "compiled")
READS = ("after", "before")


def check_tokens(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuse q, k, v that are not floating point `(B, T, H, K)`, `(B, T, H, K)`, `(B, T, H, V)`."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(f"{name}: expected a floating-point tensor, got {_kind(x)}")
        if x.ndim != 4:
            axes = "(B, T, H, V)" if name == "v" else "(B, T, H, K)"
            raise ValueError(f"{name}: expected 4 axes {axes}, got shape {tuple(x.shape)}")
    if k.shape != q.shape:
        raise ValueError(f"k: expected q's shape {tuple(q.shape)}, got {tuple(k.shape)}")
    if v.shape[:3] != q.shape[:3]:
        raise ValueError(
            f"v: expected the batch, length and heads of q {tuple(q.shape[:3])} and any number of values, "
            f"got shape {tuple(v.shape)}"
        )


def check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    *,
    read: str,
    form: str,
    chunk_size: int | None,
) -> None:
    """Refuse what `linear_attention` cannot compute. Looks at shapes and dtypes, never at values."""
    check_tokens(q, k, v)
    batch, length, heads, features = q.shape
    if read not in READS:
        raise ValueError(f"read: expected 'after' or 'before', got {read!r}")
    check_form(FORMS, form, chunk_size)
    if log_decay is not None:
        check_extra(
            "log_decay",
            log_decay,
            q.device,
            (heads,),
            (batch, length, heads),
            (batch, length, heads, features),
        )
    if bonus is not None:
        if read != "before":
            raise ValueError(f"bonus: only read='before' has a bonus, got it with read={read!r}")
        check_extra("bonus", bonus, q.device, (heads, features))


def check_state(state: Tensor | None, shape: tuple[int, ...], device: torch.device) -> None:
    """Refuse an initial state of another shape."""
    if state is not None:
        check_extra("initial_state", state, device, shape)


def check_extra(name: str, x: Tensor, device: torch.device, *shapes: tuple[int, ...]) -> None:
    """Refuse a tensor that is not floating point, of one of `shapes`, and on q's device."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"{name}: expected a floating-point tensor, got {_kind(x)}")
    if x.shape not in shapes:
        expected = " or ".join(str(tuple(shape)) for shape in shapes)
        raise ValueError(f"{name}: expected shape {expected}, got {tuple(x.shape)}")
    if x.device != device:
        raise ValueError(f"{name}: expected device {device} as of q, got {x.device}")


def _kind(x: object) -> str:
    return f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
