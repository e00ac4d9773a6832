"""The members of a comparison: configurations that differ in one thing, under one budget."""

import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from linsight.densities import Autoregressive, state_bytes
from linsight.models.sequence import SequenceConfig, Stack, stacks_in, with_stacks
from linsight.training.config import RunConfig
from linsight.training.rehearsal import Rehearsal

__all__ = ["Budget", "Member", "Size", "fitted", "matched", "measured_size", "resized"]

Budget = Literal["tokens", "parameters", "seconds"]
WARM, TIMED = 2, 6


@dataclass(frozen=True)
class Member:
    """One of those compared: its name, what makes it another, and its run, complete."""

    name: str
    variant: str
    dim: int
    config: RunConfig


@dataclass(frozen=True)
class Size:
    """Parameters of a model, and bytes of its mixers' states after an example."""

    parameters: int
    state_bytes: int


def measured_size(config: RunConfig) -> Size:
    """The size of the model that a configuration describes; nothing of torch's random state is used up."""
    with torch.random.fork_rng(devices=[]):
        model = config.task.model.build()
    stacks = [module for module in model.modules() if isinstance(module, Stack)]
    states = sum(stack.state_size(config.task.num_tokens) for stack in stacks)
    if not stacks and isinstance(model, Autoregressive):
        states = state_bytes(model.begin(model.starts(1)))
    return Size(sum(parameter.numel() for parameter in model.parameters()), states)


def resized(config: RunConfig, dim: int) -> RunConfig:
    """The run with a stack of another width, its feed-forward networks in proportion.

    Raises:
        ValueError: Stacks of several widths, as of a pyramid.
    """
    _one_width(config, "sizes")

    def widen(stack: SequenceConfig) -> SequenceConfig:
        return replace(stack, dim=dim, mlp_dim=max(1, round(stack.mlp_dim * dim / stack.dim)))

    return with_stacks(config, widen)


def matched(config: RunConfig, parameters: int) -> RunConfig:
    """The run whose model comes nearest to so many parameters, by the width of its feed-forward networks.

    Where the mixers replace those, by the number of layers.

    Raises:
        ValueError: Stacks of several widths, as of a pyramid.
    """
    _one_width(config, "budget")
    stack = next(stacks_in(config))
    name = "layers" if all(mixer.replaces_mlp for mixer in stack.mixers) else "mlp_dim"

    def at(value: int) -> RunConfig:
        return with_stacks(config, lambda found: replace(found, **{name: value}))

    def over(value: int) -> int:
        return measured_size(at(value)).parameters - parameters

    low, high = 1, 2
    while over(high) < 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if over(middle) < 0 else (low, middle)
    return at(min(low, high, key=lambda value: abs(over(value))))


def _one_width(config: RunConfig, what: str) -> None:
    widths = list(dict.fromkeys(stack.dim for stack in stacks_in(config)))
    if len(widths) > 1:
        raise ValueError(
            f"{what}: expected a model of one width, got stages of {', '.join(map(str, widths))}; "
            "a pyramid has none in common"
        )


def fitted(config: RunConfig, seconds: float) -> RunConfig:
    """The run with as many steps as fit into so much time, by the time of a few of its first ones.

    The number is part of the run from then on: what was begun is gone on with as it was begun.
    """
    rehearsal = Rehearsal(config, config.training.batch_size)
    optimizer = config.training.optimizer.build(rehearsal.model)
    times = []
    for step in range(WARM + TIMED):
        begin = time.perf_counter()
        rehearsal.backward(rehearsal.batch(step))
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - begin)
    training = config.training
    steps = max(round(seconds / float(np.median(times[WARM:]))), 2)
    warmup = getattr(training.schedule, "warmup_steps", None)
    schedule = training.schedule
    if warmup is not None and training.steps:
        share = max(1, round(warmup * steps / training.steps))
        schedule = replace(schedule, warmup_steps=min(share, steps - 1))
    return replace(config, training=replace(training, steps=steps, schedule=schedule))
