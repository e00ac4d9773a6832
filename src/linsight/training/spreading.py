"""A task's loss whose examples, weights or tokens are spread over ranks."""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from linsight import mixers
from linsight.models.sequence import Block, Stack
from linsight.tasks.base import Batch, Task
from linsight.training.config import TrainingConfig
from linsight.training.hardware import has_compiler
from linsight.training.ranks import Ranks

__all__ = ["SpreadLoss", "check_shares"]


NO_COMPILER = "no C++ compiler is found here; install g++, or set CXX to one, or leave it out"


class TaskLoss(nn.Module):
    """Calls the task: it uses any method of a model, while what spreads a model sees `forward` alone."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the numbers to log, cut from the graph: no gradient flows through them."""
        loss, logs = self.task.loss(self.model, batch)
        return loss, {name: value.detach() for name, value in logs.items()}

    def validate(self) -> dict[str, float]:
        """The task's cheap look at its validation split."""
        return self.task.validate(self.model)


class SpreadLoss:
    """`loss(batch) -> (loss, logs)`: gradients are means over the ranks. All of them call it.

    * `ddp`: every rank has all weights, and examples of its own.
    * `fsdp`: every rank has a shard of every weight, and examples of its own (torch's `fully_shard`; Zhao et
      al. 2023, arXiv 2304.11277). The model's parameters become those shards here, so the optimiser is built
      afterwards. Each block's weights are gathered while it computes.
    * `sequence`: every rank has all weights and all examples, and a piece of the tokens of each; see
      `mixers.across`.

    Args:
        task: Whose loss.
        model: The task's, on the device where it is trained.
        ranks: Those that train, connected.
        compiled: Whether the loss is compiled.

    Raises:
        ValueError: By `sequence`, a model without a stack, or with a mixer that cannot spread a row; where it
            is to be compiled, on a processor, no compiler.
    """

    def __init__(self, task: Task, model: nn.Module, ranks: Ranks, *, compiled: bool = False) -> None:
        self._ranks = ranks
        self._task_loss = TaskLoss(task, model)
        self._module: nn.Module = self._task_loss
        if compiled:
            if not has_compiler(next(model.parameters()).device):
                raise ranks.ending(ValueError(f"compile: {NO_COMPILER}"))
            self._task_loss.compile()
        if ranks.alone:
            return
        if ranks.strategy == "fsdp":
            _shard(self._task_loss, ranks)
            return
        if ranks.strategy == "sequence":
            _spread_rows(model, ranks)
        # Parameters that a batch does not use keep no gradient, as in one process. It also keeps the buckets
        # as they are from the first step on, so that a restarted run adds in the same order.
        self._module = DistributedDataParallel(self._task_loss, find_unused_parameters=True)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of this rank's part of a batch, and the numbers to log."""
        return self._module(batch)

    @contextlib.contextmanager
    def unsynchronised(self, active: bool = True) -> Iterator[None]:
        """In the block gradients are added up on each rank and not yet averaged, if `active`."""
        if active and isinstance(self._module, DistributedDataParallel):
            with self._module.no_sync():
                yield
        elif active and self._ranks.strategy == "fsdp" and not self._ranks.alone:
            shards = cast(Any, self._module)
            shards.set_requires_gradient_sync(False)
            yield
            shards.set_requires_gradient_sync(True)
        else:
            yield

    def validate(self) -> dict[str, float]:
        """The task's look at its validation split: by the first rank, or by all where one alone cannot."""
        look = self._task_loss.validate
        return self._ranks.on_first(look) if self._ranks.strategy == "ddp" else look()


def _shard(losses: nn.Module, ranks: Ranks) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    device = next(losses.parameters()).device.type
    mesh = init_device_mesh(device, (ranks.count,))
    for block in losses.modules():
        if isinstance(block, Block):
            fully_shard(block, mesh=mesh)
            register_fsdp_forward_method(block, "relay")  # what a stack calls
    fully_shard(losses, mesh=mesh)
    register_fsdp_forward_method(losses, "validate")


def _spread_rows(model: nn.Module, ranks: Ranks) -> None:
    if not any(isinstance(part, Stack) for part in model.modules()):
        raise ranks.ending(
            ValueError(
                f"strategy sequence: {type(model).__name__} has no stack of mixers to spread rows through"
            )
        )
    try:
        mixers.across(model, dist.group.WORLD)
    except NotImplementedError as error:
        raise ranks.ending(ValueError(f"strategy sequence: {error}")) from None


def check_shares(training: TrainingConfig, ranks: Ranks) -> None:
    """Raise ValueError unless each rank gets an equal share of a batch, in as many parts as asked."""
    count = ranks.share[1]
    if training.batch_size % (count * training.accumulate):
        parts = f" in {training.accumulate} parts" if training.accumulate > 1 else ""
        raise ValueError(
            f"batch_size: {training.batch_size}{parts} cannot be shared equally by {count} ranks; "
            f"use a multiple of {count * training.accumulate}"
        )
