"""Attention inside blocks at absolute positions: nothing is seen beyond the block."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from linsight.ops.blocked.blocks import Blocks, OpenSlot
from linsight.ops.blocked.weights import weighted_attention

__all__ = ["OpenBlock", "block_attention", "block_plan"]


class OpenBlock(NamedTuple):
    """The keys and values of the block that is not full yet, 0 beyond its tokens, and the tokens so far.

    Its size does not depend on the number of tokens; the open block holds `position % C` of them.
    """

    keys: Float[Tensor, "batch block heads dim"]
    values: Float[Tensor, "batch block heads dim"]
    position: Int[Tensor, " batch"]


def block_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    block: int,
    weights: str = "softmax",
    scale: float = 1.0,
    causal: bool = True,
    valid: Bool[Tensor, "B T"] | None = None,
    initial_state: OpenBlock | None = None,
    form: str = "auto",
) -> tuple[Float[Tensor, "B T H V"], OpenBlock | None]:
    """`weighted_attention` of each token to those of its own block of C positions, up to itself if causal.

        o_i = sum_j f(scale q_i . k_j) v_j   over j with floor(p_j / C) = floor(p_i / C), if causal j <= i

    p counts from the row's first token ever, so that blocks do not depend on how a sequence is cut in calls.

    Args:
        q, k: Queries and keys `(B, T, H, K)`, T >= 1.
        v: Values `(B, T, H, V)`.
        block: C.
        weights, scale: f and its factor, as in `weighted_attention`.
        causal: Whether a token sees its block up to itself, or all of it.
        valid: True at tokens, False at the padding on their right; None for no padding.
        initial_state: What an earlier call returned, None for the beginning. Causal alone.
        form: `naive` masks all pairs of tokens; `chunk` goes block by block; `recurrent` token by token;
            `auto` takes `recurrent` for one token and `chunk` for more.

    Returns:
        o, of no meaning at padded places, and the state (None if not causal).

    Cost a head: O(T C (K + V)) time and O(T C) memory, never T x T; `naive` O(T (T + C) (K + V)).
    """
    batch, length, _, _ = q.shape
    form = block_plan(form, length, causal=causal)
    state = initial_state
    if form == "recurrent":
        return _recurrent(q, k, v, block, weights, scale, valid, state or _empty(k, v, block))
    position = None if state is None else state.position
    blocks = Blocks(length, block, position, valid, batch=batch, device=q.device)
    keys, values = (
        blocks.cut(new, None if state is None else opened)
        for new, opened in ((k, state and state.keys), (v, state and state.values))
    )
    if form == "naive":
        o = _naive(q, k, v, blocks, weights, scale, state, causal=causal)
    else:
        if causal:
            mask = torch.ones(1, blocks.width, blocks.width, dtype=torch.bool, device=q.device).tril()
        else:
            mask = blocks.filled.flatten(0, 1)[:, None]
        parts = [x.flatten(0, 1) for x in (blocks.cut(q), keys, values)]
        o = weighted_attention(*parts, weights=weights, scale=scale, mask=mask)
        o = blocks.joined(o.unflatten(0, (batch, blocks.number)))
    if not causal:
        return o, None
    return o, OpenBlock(blocks.still_open(keys), blocks.still_open(values), blocks.position)


def block_plan(form: str, length: int, *, causal: bool) -> str:
    """The form that runs: `auto` steps through one token and cuts more into blocks."""
    if form != "auto":
        return form
    return "recurrent" if causal and length == 1 else "chunk"


def _empty(k: Tensor, v: Tensor, block: int) -> OpenBlock:
    keys, values = (x.new_zeros(x.shape[0], block, *x.shape[2:]) for x in (k, v))
    return OpenBlock(keys, values, k.new_zeros(k.shape[0], dtype=torch.int64))


def _recurrent(q, k, v, block, weights, scale, valid, state):
    outputs = []
    for t in range(q.shape[1]):
        slot = OpenSlot(block, state.position, None if valid is None else valid[:, t])
        one = slice(t, t + 1)
        keys, values = slot.write(state.keys, k[:, one]), slot.write(state.values, v[:, one])
        outputs.append(
            weighted_attention(q[:, one], keys, values, weights=weights, scale=scale, mask=slot.seen[:, None])
        )
        state = OpenBlock(slot.emptied(keys), slot.emptied(values), slot.position)
    return torch.cat(outputs, dim=1), state


def _naive(q, k, v, blocks, weights, scale, state, *, causal):
    """All pairs of tokens, those of the open block first, under a mask of who shares a block with whom."""
    places, new = token_places(blocks, before=0 if state is None else blocks.block)
    if state is not None:
        k, v = torch.cat([state.keys, k], dim=1), torch.cat([state.values, v], dim=1)
    mine, theirs = places[:, new, None], places[:, None]
    mask = (mine // blocks.block == theirs // blocks.block) & (theirs >= 0)
    mask = mask & (theirs <= mine) if causal else mask
    return weighted_attention(q, k, v, weights=weights, scale=scale, mask=mask, form="naive")


def token_places(blocks: Blocks, *, before: int) -> tuple[Int[Tensor, "B S"], slice]:
    """Positions of the open block's places and after them of the call's tokens, and which are the call's.

    -1 where there is no token: open places not yet filled, and padding.
    """
    device = blocks.start.device
    slots, tokens = torch.arange(before, device=device), torch.arange(blocks.length, device=device)
    opened = (blocks.start - blocks.phase)[:, None] + slots
    opened = torch.where(slots < blocks.phase[:, None], opened, -1)
    called = torch.where(tokens < blocks.counts[:, None], blocks.start[:, None] + tokens, -1)
    return torch.cat([opened, called], dim=1), slice(before, None)
