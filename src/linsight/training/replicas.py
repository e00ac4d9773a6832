"""A task's loss as a module, so that data parallelism can average the gradients of its ranks."""

import contextlib
from contextlib import AbstractContextManager

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from linsight.tasks.base import Batch, Task
from linsight.training.config import TrainingConfig
from linsight.training.ranks import Ranks

__all__ = ["check_shares", "loss_module", "unsynchronised"]


class TaskLoss(nn.Module):
    """Calls the task's loss: tasks use any method of a model, data parallelism sees `forward` alone."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the numbers to log, cut from the graph: no gradient flows through them."""
        loss, logs = self.task.loss(self.model, batch)
        return loss, {name: value.detach() for name, value in logs.items()}


def loss_module(task: Task, model: nn.Module, ranks: Ranks) -> nn.Module:
    """`module(batch) -> (loss, logs)`, whose gradients are means over the ranks."""
    module = TaskLoss(task, model)
    if ranks.alone:
        return module
    # Parameters that a batch does not use keep no gradient, as in one process. It also keeps the buckets as
    # they are from the first step on, so that a restarted run adds in the same order.
    return DistributedDataParallel(module, find_unused_parameters=True)


def unsynchronised(module: nn.Module, active: bool) -> AbstractContextManager:
    """In the block gradients are added up on each rank and not yet averaged, if `active`."""
    if active and isinstance(module, DistributedDataParallel):
        return module.no_sync()
    return contextlib.nullcontext()


def check_shares(training: TrainingConfig, count: int) -> None:
    """Raise ValueError unless `count` ranks get equal shares of a batch, each in as many parts as asked."""
    if training.batch_size % (count * training.accumulate):
        parts = f" in {training.accumulate} parts" if training.accumulate > 1 else ""
        raise ValueError(
            f"batch_size: {training.batch_size}{parts} cannot be shared equally by {count} ranks; "
            f"use a multiple of {count * training.accumulate}"
        )
