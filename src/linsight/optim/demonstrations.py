"""What decay does in Adam and in AdamW: two small experiments that `linsight explain adamw` runs."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from linsight.optim.adam import AdamConfig, AdamWConfig
from linsight.optim.reference import Moments, adam_step
from linsight.optim.schedules import WarmupCosineConfig

__all__ = ["Examples", "decay_map", "decayed_mean"]


class Examples(NamedTuple):
    """Inputs and their labels."""

    x: Float[Tensor, "number features"]
    y: Int[Tensor, " number"]


def decayed_mean(
    scale: float,
    *,
    decoupled: bool,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    steps: int = 1000,
    weights: int = 2000,
    seed: int = 0,
) -> float:
    """The mean of weights that begin at 1 and see nothing but noise: gradients scale * N(0, 1).

    Decay alone would leave (1 - lr weight_decay)^steps of them, 0.9048 by default.

    Example:
        >>> f"{decayed_mean(100.0, decoupled=True):.2f} {decayed_mean(100.0, decoupled=False):.2f}"
        '0.90 1.00'
    """
    generator = torch.Generator().manual_seed(seed)
    p = torch.ones(weights, dtype=torch.float64)
    state = Moments.zeros_like(p)
    for _ in range(steps):
        g = scale * torch.randn(weights, generator=generator, dtype=torch.float64)
        p, state = adam_step(p, g, state, lr=lr, weight_decay=weight_decay, decoupled=decoupled)
    return p.mean().item()


def decay_map(
    optimizer: Callable[[float, float], AdamConfig | AdamWConfig],
    rates: Sequence[float],
    decays: Sequence[float],
    *,
    train: Examples,
    test: Examples,
    epochs: int = 30,
    batch: int = 50,
    hidden: int = 128,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "rates decays"]:
    """Errors in percent of one small network, trained with every learning rate and every decay.

    Features, `hidden` units, relu, classes; cosine to 0, matrices decayed; the same initial weights and the
    same order of examples in every cell, drawn from `seed`.

    Args:
        optimizer: The configuration for a learning rate and a decay.
        rates: Learning rates, the rows.
        decays: Decays, the columns.
        train: What is learned.
        test: What is measured.
        epochs: Passes over `train`.
        batch: Examples of a step; a last, smaller batch is left out.
        hidden: Units.
        seed: Of weights and order.
        progress: Told the cells done and all of them after each.
    """
    errors = torch.empty(len(rates), len(decays))
    cells = list(product(enumerate(rates), enumerate(decays)))
    for done, ((row, rate), (column, decay)) in enumerate(cells, 1):
        network = _trained(optimizer(rate, decay), train, epochs, batch, hidden, seed)
        with torch.no_grad():
            wrong = network(test.x).argmax(1) != test.y
        errors[row, column] = 100 * wrong.double().mean()
        if progress is not None:
            progress(done, len(cells))
    return errors


def _trained(
    config: AdamConfig | AdamWConfig, train: Examples, epochs: int, batch: int, hidden: int, seed: int
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classes = int(train.y.max()) + 1
        network = nn.Sequential(nn.Linear(train.x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, classes))
    generator = torch.Generator().manual_seed(seed)
    steps = len(train.x) // batch
    optimizer = config.build(network)
    schedule = WarmupCosineConfig(warmup_steps=0, final=0.0).build(optimizer, epochs * steps)
    for _ in range(epochs):
        order = torch.randperm(len(train.x), generator=generator)
        for chosen in order[: steps * batch].split(batch):
            optimizer.zero_grad()
            F.cross_entropy(network(train.x[chosen]), train.y[chosen]).backward()
            optimizer.step()
            schedule.step()
    return network
