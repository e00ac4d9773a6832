"""The delta rules in blocks: one triangular solve makes each block an affine map of the state before it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from linsight.ops.linear.decay import scalar_decay, vector_decayed

__all__ = ["chunked"]


def chunked(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    a: Float[Tensor, "B T H K"],
    b: Float[Tensor, "B T H K"],
    log_decay: Float[Tensor, "B T H"] | Float[Tensor, "B T H K"] | None,
    state: Float[Tensor, "B H K V"],
    size: int,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """Blocks of `size` tokens, all in the accumulators' dtype.

    In a block, with u_t = a_t^T S_(t-1) and X' for X under the decays between two tokens,

        (I - (A B^T)') U = A' S + (A K^T)' V      strictly lower triangular: one solve for [A', (A K^T)' V]
        O = (Q B^T)' U + (Q K^T)' V + Q' S,       S <- keep S + B'^T U + K'^T V

    (the WY form: Yang et al. 2024, arXiv 2406.06484). U is affine in S, so all blocks are computed side by
    side, and what is left of the loop over blocks is one product each, S <- M S + N. O(T (C (K + V) + C^2 +
    K (K + V))) time a head; autograd keeps O(T (C + K + V) + T K (K + V) / C) numbers (vector decay: and
    O(T K log C)).
    """
    batch, length, heads, features = q.shape
    blocks = -(-length // size)
    spare = blocks * size - length

    def cut(x: Tensor) -> Tensor:
        """`(B, T, H, N)` as `(B H blocks, size, N)`, filled up with tokens that do nothing."""
        x = F.pad(x, (0, 0, 0, 0, 0, spare)).unflatten(1, (blocks, size))
        return x.permute(0, 3, 1, 2, 4).flatten(0, 2)

    decay = None
    if log_decay is not None:
        decay = cut(log_decay if log_decay.ndim == 4 else log_decay.unsqueeze(-1))
    q, k, v, a, b = (cut(x) for x in (q, k, v, a, b))
    pairs = _pairs(q, k, a, b, decay)
    targets = torch.cat([pairs.a, pairs.ak @ v], dim=-1)
    # The solver takes the diagonal for ones and does not read it.
    solved = torch.linalg.solve_triangular(-pairs.ab, targets, upper=False, unitriangular=True)
    read, own = torch.baddbmm(torch.cat([pairs.q, pairs.qk @ v], dim=-1), pairs.qb, solved).split(
        [features, v.shape[-1]], dim=-1
    )
    kept = torch.diag_embed(pairs.keep)
    step = torch.baddbmm(torch.cat([kept, pairs.k.mT @ v], dim=-1), pairs.b.mT, solved)
    matrices, added = (
        x.unflatten(0, (batch * heads, blocks)).unbind(1) for x in step.split([features, v.shape[-1]], dim=-1)
    )
    states = [state.flatten(0, 1)]
    for matrix, term in zip(matrices, added, strict=True):
        states.append(torch.baddbmm(term, matrix, states[-1]))
    o = torch.baddbmm(own, read, torch.stack(states[:-1], dim=1).flatten(0, 1))
    o = o.unflatten(0, (batch, heads, blocks)).permute(0, 2, 3, 1, 4).flatten(1, 2)
    return o[:, :length], states[-1].unflatten(0, (batch, heads))


class _Pairs(NamedTuple):
    """What decay leaves of each product of two tokens in a block, and of their vectors at its borders."""

    ab: Float[Tensor, "N C C"]
    ak: Float[Tensor, "N C C"]
    qb: Float[Tensor, "N C C"]
    qk: Float[Tensor, "N C C"]
    a: Float[Tensor, "N C K"]
    q: Float[Tensor, "N C K"]
    b: Float[Tensor, "N C K"]
    k: Float[Tensor, "N C K"]
    keep: Float[Tensor, "N K"]


def _pairs(
    q: Float[Tensor, "N C K"],
    k: Float[Tensor, "N C K"],
    a: Float[Tensor, "N C K"],
    b: Float[Tensor, "N C K"],
    log_decay: Float[Tensor, "N C 1"] | Float[Tensor, "N C K"] | None,
) -> _Pairs:
    """The products, strictly lower triangular for a, which reads before its token's update, lower for q."""
    count, size, features = q.shape
    own_b, own_k = (torch.diag_embed((q * x).sum(-1)) for x in (b, k))
    # q reads after the decay of its own token, and else what a reads: the tokens before, and itself apart.
    q = q if log_decay is None else q * log_decay.exp()
    if log_decay is None or log_decay.shape[-1] == 1:
        scores = torch.cat([a, q], dim=1) @ torch.cat([b, k], dim=1).mT
        (ab, ak), (qb, qk) = (x.split(size, dim=2) for x in scores.split(size, dim=1))
        if log_decay is None:
            ab, ak, qb, qk = (x.tril(-1) for x in (ab, ak, qb, qk))
            keep = q.new_ones(count, features)
        else:
            factors = scalar_decay(log_decay.mT, exclusive=True)
            between, read, write = factors.pairs[:, 0], factors.read[:, 0], factors.write[:, 0]
            ab, ak, qb, qk = (x * between for x in (ab, ak, qb, qk))
            a, q, b, k = a * read, q * read, b * write, k * write
            keep = factors.keep[:, 0, 0].expand(count, features)
    else:
        queries, keys = torch.stack([a, a, q, q]), torch.stack([b, k, b, k])
        decayed = vector_decayed(queries, keys, log_decay.unsqueeze(0), exclusive=True)
        ab, ak, qb, qk = decayed.scores.unbind(0)
        a, q = decayed.queries[0], decayed.queries[2]
        b, k = decayed.keys[0], decayed.keys[1]
        keep = decayed.keep[0, :, :, 0]
    return _Pairs(ab, ak, qb + own_b, qk + own_k, a, q, b, k, keep)
