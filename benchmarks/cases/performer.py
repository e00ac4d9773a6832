"""Performer against torch's causal softmax attention (SDPA), and against performer-pytorch."""

from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor

from benchmarks.case import Table
from benchmarks.cases.attention import Attention, candidate, softmax, softmax_definition
from linsight import mixers
from linsight.mixers.performer import Performer
from linsight.profiling.peers import peer

__all__ = ["forward"]

LENGTH, HEADS, WIDTH, FEATURES = 4096, 8, 64, 266
PEER = "performer-pytorch"


def forward() -> Iterator[Table]:
    """The causal forward between the projections; the bars over the peer need the peer installed."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, LENGTH, HEADS, WIDTH, generator=generator) for _ in range(4)]
    mixer = cast(Performer, mixers.build("performer", dim=HEADS * WIDTH, heads=HEADS).eval())
    exact = cast(Performer, mixers.build("performer", dim=HEADS * WIDTH, heads=HEADS, form="naive").eval())
    exact.load_state_dict(mixer.state_dict())
    exact.double()
    # The features made and used, the similarities within blocks of 64, and the sums over them.
    token = 4 * FEATURES * WIDTH + 4 * FEATURES * (WIDTH + 1) + 2 * 64 * (FEATURES + WIDTH + 1)
    tokens = HEADS * LENGTH
    candidates = {
        "softmax": candidate(softmax, softmax_definition, inputs, tokens * 2 * LENGTH * WIDTH),
        "performer": candidate(partial(_ours, mixer), partial(_ours, exact), inputs, tokens * token),
    }
    title = f"forward, B=1 T={LENGTH} H={HEADS} K=V={WIDTH} m={FEATURES}, float32"
    theirs = _peer()
    missing = "" if theirs else f" ({PEER} is not installed and not measured)"
    yield Table(title + missing, "softmax", candidates, {"performer": 1.0})
    if theirs:
        # Its features are its own, and so is its definition.
        alone = candidate(theirs, theirs, inputs, tokens * 8 * FEATURES * WIDTH)
        pair = {PEER: alone, "performer": candidates["performer"]}
        yield Table(title, PEER, pair, {"performer": 20.0})


def _ours(mixer: Performer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return mixer.attend(q, k, v)[0]


def _peer() -> Attention | None:
    """The package's attention, of (B, H, T, K); None where it is not installed."""
    try:
        layer = peer(PEER, HEADS * WIDTH, causal=True)
    except ImportError:
        return None
    attention = cast(Attention, layer.fast_attention)
    return lambda q, k, v: attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)
