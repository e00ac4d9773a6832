"""A few steps of a training that is not begun: to see what one costs."""

from typing import Any, cast

import numpy as np
import torch

from linsight.tasks.base import Batch, Task
from linsight.training.config import RunConfig
from linsight.training.hardware import computing, pick_device

__all__ = ["Rehearsal"]


class Rehearsal:
    """The fresh model of a run on its device, and the gradients of its batches, in the run's precision.

    Nothing of torch's random state is used up.
    """

    def __init__(self, config: RunConfig, batch_size: int) -> None:
        self.config, self.batch_size, self.device = config, batch_size, pick_device()
        self.task = cast(Task[Any], config.task.build())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            self.model = self.task.build_model().to(self.device)

    def batch(self, epoch: int) -> Batch:
        """The first examples of an epoch, on the device."""
        indices = np.arange(self.batch_size) % self.task.num_examples
        batch = self.task.batch(indices, seed=self.config.training.seed, epoch=epoch)
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def backward(self, batch: Batch) -> None:
        """The loss and its gradients."""
        with torch.random.fork_rng(devices=[]):
            with computing(self.config.training.precision, self.device):
                loss, _ = self.task.loss(self.model, batch)
            loss.backward()
