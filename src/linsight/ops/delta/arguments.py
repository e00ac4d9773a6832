"""What the delta rules refuse, in one line each."""

from collections.abc import Mapping

from torch import Tensor

from linsight.ops.forms import check_form
from linsight.ops.linear.arguments import check_extra, check_tokens

__all__ = ["FORMS", "check"]

FORMS = ("naive", "chunk", "recurrent", "compiled")


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
    check_form(FORMS, form, chunk_size)
