"""What decay does to similarities inside a block, as exponentials of sums that are never positive."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["Decayed", "ScalarDecay", "scalar_decay", "vector_decayed"]

# A sum over tokens j+1..i is added up over those tokens alone: as a difference of two running sums it
# would lose all accuracy after a large decay and be NaN after an infinite one (-inf, a reset).
MINUS_INFINITY = float("-inf")


class Decayed(NamedTuple):
    """One block of C tokens after a decay by feature."""

    scores: Float[Tensor, "B H C C"]
    """Similarity of token i's query and token j's key as i sees it; 0 where it does not."""
    queries: Float[Tensor, "B H C K"]
    """Queries as they read the state before the block."""
    keys: Float[Tensor, "B H C K"]
    """Keys as they enter the state after the block."""
    keep: Float[Tensor, "#B H #K 1"]
    """What is left of the state before the block in the one after it."""


class ScalarDecay(NamedTuple):
    """The factors of one block whose decay is one number a head and token."""

    pairs: Float[Tensor, "#B H C C"]
    read: Float[Tensor, "#B H C 1"]
    write: Float[Tensor, "#B H C 1"]
    keep: Float[Tensor, "#B H 1 1"]


def scalar_decay(log_decay: Float[Tensor, "#B H C"], *, exclusive: bool) -> ScalarDecay:
    """The factors of a block; O(C^2) a head."""
    length = log_decay.shape[-1]
    steps = log_decay.unsqueeze(-2).expand(*log_decay.shape, length).triu(1)
    past = torch.ones(length, length, dtype=torch.bool, device=log_decay.device).tril(-1)
    # Row j, column i: the sum over j+1..i, for which token i is read after its own update.
    sums = steps.cumsum(-1).masked_fill(past, MINUS_INFINITY)
    read = log_decay.cumsum(-1)
    write, keep = sums[..., -1], read[..., -1:]
    if exclusive:
        sums = F.pad(sums[..., :-1], (1, 0), value=MINUS_INFINITY)
        read = F.pad(read[..., :-1], (1, 0))
    return ScalarDecay(
        sums.mT.exp(), read.exp().unsqueeze(-1), write.exp().unsqueeze(-1), keep.exp().unsqueeze(-1)
    )


def vector_decayed(
    q: Float[Tensor, "B H C K"],
    k: Float[Tensor, "B H C K"],
    log_decay: Float[Tensor, "#B H C K"],
    *,
    exclusive: bool,
) -> Decayed:
    """A block under decay by one number a head, token and key feature, by halves.

    Between a left half and the right half beside it the decay factors at their border: from the key to the
    border, and from the border to the query; neither sum is positive. So scores are built from blocks of one
    token upwards, each step one product for all pairs of halves: O(C^2 K) flops and O(C K log C) exponentials
    a head, nothing of size C^2 K. (Over a whole block, q exp(G) times k exp(-G) overflows.)
    """
    length = q.shape[2]
    levels = max(length - 1, 0).bit_length()
    spare = (0, 0, 0, 2**levels - length)
    wide_q, wide_k, steps = (F.pad(x, spare).unsqueeze(3) for x in (q, k, log_decay))
    nothing = torch.zeros_like(steps)
    # Of each block: sums from its start to each read, from each write to its end, and over it all.
    read, write, whole = (nothing if exclusive else steps), nothing, steps
    own = (wide_q * wide_k).sum(-1, keepdim=True)
    scores = torch.zeros_like(own) if exclusive else own
    for _ in range(levels):
        (_, read_r), (write_l, _), (left, right), (_, q_r), (k_l, _) = (
            _pairs(x).unbind(3) for x in (read, write, scores, wide_q, wide_k)
        )
        across = (q_r * read_r.exp()) @ (k_l * write_l.exp()).mT
        size = left.shape[-1]
        scores = torch.cat([F.pad(left, (0, size)), torch.cat([across, right], -1)], dim=-2)
        whole_l, whole_r = _pairs(whole).split(1, dim=3)
        read = (_pairs(read) + F.pad(whole_l, (0, 0, 0, 0, 1, 0))).flatten(3, 4)
        write = (_pairs(write) + F.pad(whole_r, (0, 0, 0, 0, 0, 1))).flatten(3, 4)
        whole = (whole_l + whole_r).squeeze(3)
        wide_q, wide_k = (_pairs(x).flatten(3, 4) for x in (wide_q, wide_k))
    scores = scores[:, :, 0, :length, :length]
    read, write = read[:, :, 0, :length], write[:, :, 0, :length]
    return Decayed(scores, q * read.exp(), k * write.exp(), whole[:, :, 0].exp().mT)


def _pairs(x: Float[Tensor, "B H blocks size N"]) -> Float[Tensor, "B H pairs 2 size N"]:
    return x.unflatten(2, (-1, 2))
