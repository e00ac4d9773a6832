"""How much faster a model of pixels trains than the same one with softmax attention."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight.mixers import config
from linsight.models.sequence import ImageDensityConfig, SequenceConfig, SequenceModel
from linsight.optim import AdamWConfig
from linsight.profiling import Calls, Case, Speedup, check_kernel
from linsight.tasks.generate.speed import softmax_peer

__all__ = ["model_cases"]

MODEL = ImageDensityConfig(
    patch=(1, 1),
    label="first",
    sequence=SequenceConfig(dim=256, layers=2, mlp_dim=688, mixers=(config("linear", heads=4),)),
)
"""Its gated feed-forward networks have as many weights as plain ones, four times as wide as the tokens."""


def model_cases() -> Iterator[Case]:
    """A whole step, optimiser and all; the network without any mixer takes half of softmax's time."""
    line = Speedup("training", "B=2, T=784, 2 layers of 256", "softmax (SDPA)", 1.4, 1.15)
    yield Case(line, partial(_steps, MODEL, 2))


def _steps(density: ImageDensityConfig, batch: int) -> Calls:
    check_kernel("linear_attention")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours, theirs = density.build().network, softmax_peer(density).network
        for model in (ours, theirs):
            nn.init.normal_(model.head.weight, std=0.1)  # it starts at 0, and lets no gradient through
    pixels = torch.randint(2, (batch, density.num_cells), generator=torch.Generator().manual_seed(0))
    return Calls(*(_Step(model, pixels) for model in (ours, theirs, copy.deepcopy(ours).double())))


class _Step:
    """One step at each call: the loss, and the gradient of the first weights, which came through the rest."""

    def __init__(self, model: SequenceModel, pixels: Tensor) -> None:
        self.model, self.pixels = model, pixels
        self.optimizer = AdamWConfig(fused=True).build(model)
        self.tokens = torch.cat([torch.full_like(pixels[:, :1], 2), pixels[:, :-1]], dim=1)
        self.first = next(model.parameters())

    def __call__(self) -> tuple[Tensor, ...]:
        logits, _ = self.model(self.tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), self.pixels.flatten())
        loss.backward()
        slope = cast(Tensor, self.first.grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach(), slope
