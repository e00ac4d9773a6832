"""The members of a comparison: configurations that differ in one thing, under one budget."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch

from linsight.models.sequence import SequenceConfig, Stack
from linsight.tasks.base import Task
from linsight.training.config import RunConfig

__all__ = ["Budget", "Member", "Size", "fitted", "matched", "measured_size", "resized"]

Budget = Literal["tokens", "parameters", "seconds"]
C = TypeVar("C")
WARM, TIMED = 2, 6


@dataclass(frozen=True)
class Member:
    """One of those compared: its name, what is varied, and its run, complete."""

    name: str
    mixer: str
    dim: int
    config: RunConfig


@dataclass(frozen=True)
class Size:
    """Parameters of a model, and bytes of its mixers' states after an example."""

    parameters: int
    state_bytes: int


def measured_size(config: RunConfig) -> Size:
    """The size of the model that a configuration describes; only its shapes are made."""
    with torch.device("meta"):
        model = config.task.model.build()
    states = sum(
        module.state_size(config.task.num_tokens) for module in model.modules() if isinstance(module, Stack)
    )
    return Size(sum(parameter.numel() for parameter in model.parameters()), states)


def resized(config: RunConfig, dim: int) -> RunConfig:
    """The run with a stack of another width, its feed-forward networks in proportion."""

    def widen(stack: SequenceConfig) -> SequenceConfig:
        return replace(stack, dim=dim, mlp_dim=max(1, round(stack.mlp_dim * dim / stack.dim)))

    return _with_stack(config, widen)


def matched(config: RunConfig, parameters: int) -> RunConfig:
    """The run whose model comes nearest to so many parameters, by the width of its feed-forward networks.

    Where the mixers replace those, by the number of layers.
    """
    stack = next(_stacks(config))
    name = "layers" if all(mixer.replaces_mlp for mixer in stack.mixers) else "mlp_dim"

    def at(value: int) -> RunConfig:
        return _with_stack(config, lambda found: replace(found, **{name: value}))

    def over(value: int) -> int:
        return measured_size(at(value)).parameters - parameters

    low, high = 1, 2
    while over(high) < 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if over(middle) < 0 else (low, middle)
    return at(min(low, high, key=lambda value: abs(over(value))))


def fitted(config: RunConfig, seconds: float) -> RunConfig:
    """The run with as many steps as fit into so much time, by the time of a few of its first ones.

    The number is part of the run from then on: what was begun is gone on with as it was begun.
    """
    task = cast(Task[Any], config.task.build())
    training = config.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = task.build_model()
        optimizer = training.optimizer.build(model)
        times = []
        for step in range(WARM + TIMED):
            begin = time.perf_counter()
            indices = np.arange(training.batch_size) % task.num_examples
            batch = task.batch(indices, seed=training.seed, epoch=step)
            with torch.autocast("cpu", torch.bfloat16, enabled=training.precision == "bfloat16"):
                loss, _ = task.loss(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - begin)
    steps = max(round(seconds / float(np.median(times[WARM:]))), 2)
    warmup = getattr(training.schedule, "warmup_steps", None)
    schedule = training.schedule
    if warmup is not None and training.steps:
        share = max(1, round(warmup * steps / training.steps))
        schedule = replace(schedule, warmup_steps=min(share, steps - 1))
    return replace(config, training=replace(training, steps=steps, schedule=schedule))


def _stacks(config: Any) -> Iterator[SequenceConfig]:
    if isinstance(config, SequenceConfig):
        yield config
    elif is_dataclass(config):
        for part in fields(config):
            yield from _stacks(getattr(config, part.name))


def _with_stack(config: C, change: Any) -> C:
    """The configuration with every stack inside it changed."""
    if isinstance(config, SequenceConfig):
        return change(config)
    changes = {
        part.name: _with_stack(value, change)
        for part in fields(config)  # pyright: ignore[reportArgumentType]
        if is_dataclass(value := getattr(config, part.name))
    }
    return replace(config, **changes)  # pyright: ignore[reportArgumentType]
