"""The recurrent form of the delta rules: as few operations a token as there can be."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["recurrent"]


def recurrent(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    a: Float[Tensor, "B T H K"],
    b: Float[Tensor, "B T H K"],
    log_decay: Float[Tensor, "B T H"] | Float[Tensor, "B T H K"] | None,
    state: Float[Tensor, "B H K V"],
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """One update and one read a token, in five operations; O(T K V) time, and as many numbers kept."""
    keep = None
    if log_decay is not None:
        factors = log_decay.exp().unsqueeze(-1)
        keep = (factors.unsqueeze(-1) if log_decay.ndim == 3 else factors).unbind(1)
    rows, columns = (
        [x.unsqueeze(axis).unbind(1) for x in parts] for axis, parts in ((-2, (q, a, v)), (-1, (k, b)))
    )
    outputs = []
    for t, (query, reader, value, key, writer) in enumerate(zip(*rows, *columns, strict=True)):
        seen = reader @ state
        kept = state if keep is None else state * keep[t]
        state = torch.addcmul(torch.addcmul(kept, writer, seen), key, value)
        outputs.append(query @ state)
    o = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return o.transpose(1, 2), state
