"""What the delta rules refuse, in one line each."""

from collections.abc import Mapping

from torch import Tensor

from linsight.ops.linear.arguments import check_extra, check_tokens

__all__ = ["FORMS", "check"]

FORMS = ("auto", "naive", "chunk", "recurrent")


def check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    initial_state: Tensor | None,
    *,
    extra: Mapping[str, tuple[Tensor, tuple[int, ...]]],
    form: str,
    chunk_size: int | None,
) -> None:
    """Refuse what no delta rule can compute; `extra` are further tensors with their shapes."""
    check_tokens(q, k, v)
    batch, length, heads, features = q.shape
    for name, (tensor, shape) in extra.items():
        check_extra(name, tensor, q.device, shape)
    if log_decay is not None:
        shapes = ((batch, length, heads), (batch, length, heads, features))
        check_extra("log_decay", log_decay, q.device, *shapes)
    if initial_state is not None:
        check_extra("initial_state", initial_state, q.device, (batch, heads, features, v.shape[-1]))
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    if chunk_size is not None:
        if form not in ("auto", "chunk"):
            raise ValueError(
                f"chunk_size: only forms 'chunk' and 'auto' have chunks, got it with form {form!r}"
            )
        if chunk_size < 1:
            raise ValueError(f"chunk_size: expected at least 1, got {chunk_size}")
