"""The definition of linear attention, token by token: the reference of the other forms."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["naive"]


def naive(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "H"] | Float[Tensor, "B T H"] | Float[Tensor, "B T H K"] | None,
    bonus: Float[Tensor, "H K"] | None,
    state: Float[Tensor, "B H K V"],
    *,
    exclusive: bool,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """S_t = diag(exp g_t) S_(t-1) + k_t v_t^T, read after the update, or before it where `exclusive`.

    All arguments are in the accumulators' dtype. O(T K V) time; autograd keeps O(T K V) numbers.
    """
    outputs = []
    for t in range(q.shape[1]):
        update = k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
        if log_decay is None:
            kept = state
        elif log_decay.ndim == 1:
            kept = state * log_decay.exp()[:, None, None]
        elif log_decay.ndim == 3:
            kept = state * log_decay[:, t].exp()[:, :, None, None]
        else:
            kept = state * log_decay[:, t].exp()[:, :, :, None]
        if not exclusive:
            seen = kept + update
        elif bonus is None:
            seen = state
        else:
            seen = state + bonus.unsqueeze(-1) * update
        state = kept + update
        outputs.append((q[:, t].unsqueeze(-1) * seen).sum(-2))
    return torch.stack(outputs, dim=1), state
