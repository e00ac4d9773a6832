"""Linear attention with decay in blocks: the masked product inside, the state between."""

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.ops.linear.decay import ScalarDecay, scalar_decay, vector_decayed

__all__ = ["decayed"]


def decayed(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "H"] | Float[Tensor, "B T H"] | Float[Tensor, "B T H K"],
    state: Float[Tensor, "B H K V"],
    chunk_size: int | None,
    *,
    exclusive: bool,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """Blocks of `chunk_size` tokens (None: one block), all in the accumulators' dtype; bonus left out.

    Gradients are autograd's. The loop's working set is one block and one state, so it stays in cache;
    autograd keeps O(T chunk_size) numbers a head (vector decay: O(T (chunk_size + K log chunk_size))).
    """
    length = q.shape[1]
    steps = log_decay.expand(1, length, -1) if log_decay.ndim == 1 else log_decay
    outputs = []
    constant: ScalarDecay | None = None
    whole = (q, k, v, steps)
    parts = ((x,) if chunk_size is None else x.split(chunk_size, dim=1) for x in whole)
    for qc, kc, vc, gc in zip(*parts, strict=True):
        qc, kc, vc, gc = (x.transpose(1, 2) for x in (qc, kc, vc, gc))
        if steps.ndim == 4:
            scores, queries, keys, keep = vector_decayed(qc, kc, gc, exclusive=exclusive)
            read, written = queries @ state, keys.mT @ vc
        else:
            if constant is None or log_decay.ndim != 1 or constant.pairs.shape[-1] != qc.shape[2]:
                constant = scalar_decay(gc, exclusive=exclusive)
            # One factor a token: on what is read and written, since features are often more than values.
            scores, keep = qc @ kc.mT * constant.pairs, constant.keep
            read, written = qc @ state * constant.read, kc.mT @ (vc * constant.write)
        outputs.append((scores @ vc + read).transpose(1, 2))
        state = written.addcmul(keep, state)
    return torch.cat(outputs, dim=1), state
