"""The recurrent form of linear attention: as few operations a token as there can be."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["recurrent"]


def recurrent(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "H"] | Float[Tensor, "B T H"] | Float[Tensor, "B T H K"] | None,
    state: Float[Tensor, "B H K V"],
    *,
    exclusive: bool,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """One update and one read a token, bonus left out. O(T K V) time; autograd keeps O(T K V) numbers.

    Two operations a token without decay, three with: at T = 1, the decoding step, dispatch is the cost.
    """
    keep = None if log_decay is None else _factors(log_decay, q.shape[1])
    queries, keys, values = q.unsqueeze(-2).unbind(1), k.unsqueeze(-1).unbind(1), v.unsqueeze(-2).unbind(1)
    outputs = []
    for t, (query, key, value) in enumerate(zip(queries, keys, values, strict=True)):
        before = state
        state = torch.addcmul(state if keep is None else state * keep[t], key, value)
        outputs.append(query @ (before if exclusive else state))
    o = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return o.transpose(1, 2), state


def _factors(
    log_decay: Float[Tensor, "H"] | Float[Tensor, "B T H"] | Float[Tensor, "B T H K"], length: int
) -> tuple[Tensor, ...]:
    """What each token leaves of the state, to be multiplied with `(B, H, K, V)`."""
    factors = log_decay.exp()
    if factors.ndim == 1:
        return (factors[:, None, None],) * length
    if factors.ndim == 3:
        factors = factors.unsqueeze(-1)
    return factors.unsqueeze(-1).unbind(1)
