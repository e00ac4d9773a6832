"""The definitions of the delta rules, token by token: the reference of the other forms."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["naive_delta_rule", "naive_dplr"]


def naive_delta_rule(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    beta: Float[Tensor, "B T H"],
    log_decay: Float[Tensor, "B T H"] | Float[Tensor, "B T H K"] | None,
    state: Float[Tensor, "B H K V"],
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """S <- exp(g) S, then S <- S + beta k (v - S^T k)^T, then o = S^T q."""
    outputs = []
    for t in range(q.shape[1]):
        if log_decay is not None:
            state = state * _column(log_decay[:, t]).exp()
        key = k[:, t].unsqueeze(-1)
        error = v[:, t] - (state * key).sum(-2)
        state = state + beta[:, t, :, None, None] * key * error.unsqueeze(-2)
        outputs.append((state * q[:, t].unsqueeze(-1)).sum(-2))
    return torch.stack(outputs, dim=1), state


def naive_dplr(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    a: Float[Tensor, "B T H K"],
    b: Float[Tensor, "B T H K"],
    log_decay: Float[Tensor, "B T H"] | Float[Tensor, "B T H K"] | None,
    state: Float[Tensor, "B H K V"],
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """S_t = diag(exp g_t) S_(t-1) + b_t (a_t^T S_(t-1)) + k_t v_t^T, o_t = S_t^T q_t."""
    outputs = []
    for t in range(q.shape[1]):
        seen = (state * a[:, t].unsqueeze(-1)).sum(-2, keepdim=True)
        kept = state if log_decay is None else state * _column(log_decay[:, t]).exp()
        state = kept + b[:, t].unsqueeze(-1) * seen + k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
        outputs.append((state * q[:, t].unsqueeze(-1)).sum(-2))
    return torch.stack(outputs, dim=1), state


def _column(x: Tensor) -> Tensor:
    """A number a head, or one a feature, to be multiplied with `(B, H, K, V)`."""
    return x[:, :, None, None] if x.ndim == 2 else x.unsqueeze(-1)
