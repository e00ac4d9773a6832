"""A step of sampling by the state, by a cache of keys and values, and by re-running the prefix."""

import copy
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.case import Candidate, Table
from linsight.models.sequence import (
    ImageDensity,
    ImageDensityConfig,
    SequenceModel,
    SequenceState,
    Steps,
    why_eager,
)
from linsight.tasks.generate.speed import softmax_peer

__all__ = ["pixels"]

POSITIONS = tuple(range(49, 784, 98))
"""The middles of eight equal parts of 784 tokens: the mean over them is the mean over the sequence."""


def pixels() -> Iterator[Table]:
    """64 images of 784 binary pixels, the network of `train generate`; the bars are the issue's."""
    yield table(batch=64)


def table(batch: int) -> Table:
    """One decoding step at each of eight positions."""
    torch.manual_seed(0)
    model = ImageDensityConfig(patch=(1, 1)).build().eval()
    peer = softmax_peer(model.config)
    tokens = torch.randint(2, (batch, 784))
    tokens[:, 0] = model.patches.vocabulary
    candidates = {
        "prefix": _candidate(model, tokens, _rerun),
        "cache": _candidate(peer, tokens, _Stepper),
        "state": _candidate(model, tokens, _Stepper),
    }
    with torch.inference_mode():
        if why_eager(model.network) is None:
            candidates["state, compiled"] = _candidate(model, tokens, partial(_Stepper, compiled=True))
    title = (
        f"one step at each of {len(POSITIONS)} positions in 784 tokens, B={batch}, dim 128, 4 layers, float32"
    )
    return Table(title, "prefix", candidates, {"state": 50.0})


def _candidate(
    density: ImageDensity,
    tokens: Tensor,
    route: Callable[[SequenceModel, Tensor], Callable[[], list[Tensor]]],
) -> Candidate:
    network = density.network
    parameters = sum(p.numel() for p in network.stack.parameters())
    rows = sum(POSITIONS) if route is _rerun else len(POSITIONS)
    return Candidate(
        route(network, tokens), partial(_error, route, network, tokens), 2.0 * parameters * rows * len(tokens)
    )


class _Stepper:
    """Goes one token further at every call, from every position: a state continued twice would be copied."""

    def __init__(self, network: SequenceModel, tokens: Tensor, *, compiled: bool = False) -> None:
        self.tokens = tokens
        with torch.inference_mode():
            self.states = [network(tokens[:, :position])[1] for position in POSITIONS]
            self.step = Steps(network) if compiled else partial(_own_step, network)
        self.done = 0

    @torch.inference_mode()
    def __call__(self) -> list[Tensor]:
        logits = []
        for index, position in enumerate(POSITIONS):
            place = position + self.done
            out, self.states[index] = self.step(self.tokens[:, place], self.states[index])
            logits.append(out)
        self.done += 1
        return logits


def _own_step(network: SequenceModel, tokens: Tensor, state: SequenceState) -> tuple[Tensor, SequenceState]:
    logits, state = network(tokens[:, None], state)
    return logits[:, -1], state


def _rerun(network: SequenceModel, tokens: Tensor) -> Callable[[], list[Tensor]]:
    @torch.inference_mode()
    def call() -> list[Tensor]:
        return [network(tokens[:, : position + 1])[0][:, -1] for position in POSITIONS]

    return call


def _error(route, network: SequenceModel, tokens: Tensor) -> float:
    """Largest relative RMS error of the logits, against the same network in float64 over the whole prefix."""
    few = tokens[:2]
    with torch.no_grad():
        weights = copy.deepcopy(network)
        torch.nn.init.normal_(weights.head.weight)  # it starts at 0, and would hide any error
    pairs = zip(route(weights, few)(), _rerun(copy.deepcopy(weights).double(), few)(), strict=True)
    return max(((a.double() - b).norm() / b.norm()).item() for a, b in pairs)
