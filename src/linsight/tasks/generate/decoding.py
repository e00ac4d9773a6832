"""How much faster a compiled decoding step is than a key-value cache's and than the model's own."""

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from linsight.densities import take_rows
from linsight.models.sequence import ImageDensityConfig, SequenceModel, Steps, why_eager
from linsight.profiling import Case, KernelRatio, measure_ratio
from linsight.tasks.base import Progress
from linsight.tasks.generate.speed import softmax_peer

__all__ = ["decode_cases", "decode_ratios"]

CACHE = {1: (2.5, 1.5), 16: (3.0, 2.0), 64: (4.0, 3.0), 256: (5.0, 3.5)}
"""Goal and gate against a cache, by the number of images."""
OWN = {1: (10.0, 5.0), 16: (5.0, 3.0), 64: (3.0, 2.0), 256: (2.0, 1.5)}
"""Goal and gate against the model's own step."""
TOGETHER = 4
"""Steps in a row, as in a loop that draws: after another model's step the weights come from memory again."""


@torch.inference_mode()
def decode_ratios(*, seconds: float = 3.0, progress: Progress | None = None) -> list[KernelRatio]:
    """Lines like those of `profiling.kernel_ratios`: steps of the network of `train generate`.

    Args:
        seconds: Processor time for each line, five rounds at least.
        progress: Told after each line.
    """
    reason = why_eager(ImageDensityConfig().build().network)
    found = []
    for case in decode_cases():
        found.append(measure_ratio(*case, reason=reason, seconds=seconds))
        if progress:
            progress("decoding", len(found), len(CACHE) + len(OWN))
    return found


def decode_cases(batches: tuple[int, ...] = (1, 16, 64, 256)) -> Iterator[Case]:
    """At the middle of 784 tokens, one a pixel: a cache's steps cost on average what they cost there."""
    config = ImageDensityConfig(patch=(1, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, peer = config.build().eval().network, softmax_peer(config).network
        torch.nn.init.normal_(model.head.weight)  # it starts at 0, and would hide any error
    exact = copy.deepcopy(model).double()
    tokens = torch.zeros(1, config.num_cells // 2, dtype=torch.int64)
    tokens[:, 0] = 2  # the first start token
    for other, network, bars in (("key-value cache", peer, CACHE), ("eager step", model, OWN)):
        for batch in batches:
            line = KernelRatio("decode", f"{TOGETHER} steps, B={batch}", other, *bars[batch])
            cell, rows = torch.ones(batch, dtype=torch.int64), torch.zeros(batch, dtype=torch.int64)
            ours = _Walk(Steps(model), take_rows(model(tokens)[1], rows), cell)
            theirs = _Walk(partial(_own, network), take_rows(network(tokens)[1], rows), cell)
            again = _Walk(partial(_own, exact), take_rows(exact(tokens)[1], rows), cell)
            yield line, ours, theirs, again


class _Walk:
    """Some steps further at each call: a state that is continued twice would be copied."""

    def __init__(self, step, state, cell: Tensor) -> None:
        self.step, self.state, self.cell = step, state, cell

    def __call__(self) -> tuple[Tensor, ...]:
        found = []
        for _ in range(TOGETHER):
            logits, self.state = self.step(self.cell, self.state)
            found.append(logits)
        return tuple(found)


def _own(model: SequenceModel, cell: Tensor, state):
    logits, state = model(cell[:, None], state)
    return logits[:, 0], state
