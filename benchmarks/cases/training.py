"""A training step of `make run`'s network with compiled kernels, and without any."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.case import Candidate, Table
from linsight import kernels
from linsight.models.sequence import ImageDensity
from linsight.training.config import Precision
from linsight.training.hardware import best_precision, computing
from linsight.training.presets import PRESETS

__all__ = ["steps"]

CPU = torch.device("cpu")
FLOAT32: Precision = "float32"


def steps() -> Iterator[Table]:
    """In float32 and, where the processor has instructions for it, as `make run` trains, in bfloat16."""
    for precision in dict.fromkeys((FLOAT32, best_precision(CPU))):
        yield table(precision, batch=32)


def table(precision: Precision, *, batch: int) -> Table:
    """Loss, backward and optimiser on the same images; the bar holds in the preset's precision."""
    run = PRESETS["generate"]["default"]()
    task = run.task.build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = cast(ImageDensity, task.build_model())
        nn.init.normal_(model.network.head.weight, std=0.1)  # it starts at 0, and lets no gradient through
    images = task.batch(np.arange(batch), seed=0, epoch=0)
    tokens = batch * (model.num_cells + 1)
    weights = sum(p.numel() for p in model.network.stack.parameters())

    def candidate(level: str) -> Candidate:
        own = copy.deepcopy(model)
        optimizer = run.training.optimizer.build(own)
        loss = partial(_loss, task, images, precision, level)
        exact = partial(_loss, task, images, FLOAT32, "off")
        return Candidate(
            partial(_step, loss, own, optimizer),
            partial(_error, loss, exact, copy.deepcopy(model)),
            6.0 * tokens * weights,
        )

    candidates = {"eager": candidate("off")}
    if level := kernels.cpu.level():
        candidates["compiled"] = candidate(level)
    title = (
        f"a training step of make run's network, {batch} images of {model.num_cells + 1} tokens, {precision}"
    )
    bars = {"compiled": 1.3} if precision == best_precision(CPU) and "compiled" in candidates else {}
    return Table(title, "eager", candidates, bars)


def _loss(task, images: dict[str, Tensor], precision: Precision, level: str, model: nn.Module) -> Tensor:
    with kernels.cpu.at_level(level), computing(precision, CPU):
        return task.loss(model, images)[0]


def _step(loss, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    loss(model).backward()
    optimizer.step()
    optimizer.zero_grad()


def _error(loss, exact, model: nn.Module) -> float:
    """Of all gradients, against those of the eager network in float64."""
    double = copy.deepcopy(model).double()
    loss(model).backward()
    exact(double).backward()
    found, expected = (
        torch.cat([cast(Tensor, p.grad).double().flatten() for p in one.parameters()])
        for one in (model, double)
    )
    return ((found - expected).norm() / expected.norm()).item()
