"""Performer against torch's causal softmax attention (SDPA), and against performer-pytorch."""

import contextlib
import importlib
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.case import Candidate, Table
from benchmarks.cases.softmax import softmax, softmax_definition
from linsight import mixers
from linsight.mixers.performer import Performer

__all__ = ["forward"]

LENGTH, HEADS, WIDTH, FEATURES = 4096, 8, 64, 266
PEER = "performer-pytorch"
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def forward() -> Iterator[Table]:
    """The causal forward between the projections; the bars over the peer need the peer installed."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, LENGTH, HEADS, WIDTH, generator=generator) for _ in range(3)]
    mixer = cast(Performer, mixers.build("performer", dim=HEADS * WIDTH, heads=HEADS).eval())
    exact = cast(Performer, mixers.build("performer", dim=HEADS * WIDTH, heads=HEADS, form="naive").eval())
    exact.load_state_dict(mixer.state_dict())
    exact.double()
    # The features made and used, the similarities within blocks of 64, and the sums over them.
    token = 4 * FEATURES * WIDTH + 4 * FEATURES * (WIDTH + 1) + 2 * 64 * (FEATURES + WIDTH + 1)
    ours = partial(_ours, mixer)
    candidates = {
        "softmax": _candidate(softmax, softmax_definition, inputs, 2 * LENGTH * WIDTH),
        "performer": _candidate(ours, partial(_ours, exact), inputs, token),
    }
    title = f"forward, B=1 T={LENGTH} H={HEADS} K=V={WIDTH} m={FEATURES}, float32"
    peer = _peer()
    missing = "" if peer else f" ({PEER} is not installed and not measured)"
    yield Table(title + missing, "softmax", candidates, {"performer": 1.0})
    if peer:
        # Its features are its own, and so is its definition.
        theirs = _candidate(peer, peer, inputs, 8 * FEATURES * WIDTH)
        pair = {PEER: theirs, "performer": candidates["performer"]}
        yield Table(title, PEER, pair, {"performer": 20.0})


def _candidate(
    attention: Attention, definition: Attention, inputs: list[Tensor], flops_of_token: float
) -> Candidate:
    call = partial(_run, attention, inputs)
    exact = partial(_run, definition, [x.double() for x in inputs])
    return Candidate(call, partial(_error, call, exact), HEADS * LENGTH * flops_of_token)


def _run(attention: Attention, inputs: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return attention(*inputs)


def _ours(mixer: Performer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return mixer.attend(q, k, v)[0]


def _peer() -> Attention | None:
    """The package's attention, of (B, H, T, K); None where it is not installed."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that CUDA code is missing
        try:
            package: Any = importlib.import_module("performer_pytorch.performer_pytorch")
        except ImportError:
            return None
        attention = package.FastAttention(WIDTH, nb_features=FEATURES, causal=True)
    return lambda q, k, v: attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def _error(call: Callable[[], Tensor], exact: Callable[[], Tensor]) -> float:
    found, want = call().double(), exact()
    return ((found - want).norm() / want.norm()).item()
