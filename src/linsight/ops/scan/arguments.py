"""What the selective scan refuses, in one line each."""

from torch import Tensor

from linsight.ops.forms import check_form

__all__ = ["check"]

FORMS = ("naive", "chunk", "recurrent", "compiled")


def check(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    initial_state: Tensor | None,
    *,
    form: str,
    chunk_size: int | None,
) -> None:
    """Refuse what `selective_scan` cannot compute. Looks at shapes and dtypes, never at values."""
    check_form(FORMS, form, chunk_size)
    for name, x, axes in (("u", u, "(batch, length, channels)"), ("A", A, "(channels, states)")):
        _check_kind(name, x)
        if x.ndim != axes.count(",") + 1:
            raise ValueError(
                f"{name}: expected {axes.count(',') + 1} axes {axes}, got shape {tuple(x.shape)}"
            )
    batch, length, channels = u.shape
    tokens, states = (batch, length), A.shape[1]
    shapes = {
        "delta": (delta, (*tokens, channels)),
        "A": (A, (channels, states)),
        "B": (B, (*tokens, states)),
        "C": (C, (*tokens, states)),
        "D": (D, (channels,)),
        "initial_state": (initial_state, (batch, channels, states)),
    }
    for name, (x, shape) in shapes.items():
        if x is not None:
            _check_kind(name, x)
            if x.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {tuple(x.shape)}")
            if x.device != u.device:
                raise ValueError(f"{name}: expected device {u.device} as of u, got {x.device}")


def _check_kind(name: str, x: object) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name}: expected a floating-point tensor, got {kind}")
