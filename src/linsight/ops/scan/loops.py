"""The forms of the selective scan that go token by token: the definition, and the step of decoding."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["naive", "recurrent"]


def naive(
    u: Float[Tensor, "B T D"],
    delta: Float[Tensor, "B T D"],
    A: Float[Tensor, "D N"],
    B: Float[Tensor, "B T N"],
    C: Float[Tensor, "B T N"],
    state: Float[Tensor, "B D N"],
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B D N"]]:
    """The equations as they stand."""
    outputs = []
    for t in range(u.shape[1]):
        step = delta[:, t, :, None]
        state = torch.exp(step * A) * state + step * B[:, t, None, :] * u[:, t, :, None]
        outputs.append((state * C[:, t, None, :]).sum(-1))
    return torch.stack(outputs, dim=1), state


def recurrent(
    u: Float[Tensor, "B T D"],
    delta: Float[Tensor, "B T D"],
    A: Float[Tensor, "D N"],
    B: Float[Tensor, "B T N"],
    C: Float[Tensor, "B T N"],
    state: Float[Tensor, "B D N"],
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B D N"]]:
    """As few operations a token as there can be: at T = 1, the decoding step, dispatch is the cost."""
    writes = (delta * u).unsqueeze(-1).unbind(1)
    steps, keys, reads = delta.unsqueeze(-1).unbind(1), B.unsqueeze(-2).unbind(1), C.unsqueeze(-1).unbind(1)
    outputs = []
    for step, write, key, read in zip(steps, writes, keys, reads, strict=True):
        state = torch.addcmul((step * A).exp() * state, write, key)
        outputs.append(state @ read)
    o = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    return o.mT, state
