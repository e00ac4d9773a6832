"""What one step is trained on: the parts of a batch, and which examples they are."""

from typing import NamedTuple

import numpy as np

from linsight.data import Loader
from linsight.tasks.base import Batch, Task
from linsight.training.config import TrainingConfig
from linsight.training.ranks import Ranks

__all__ = ["Step", "make_loader"]


class Step(NamedTuple):
    """The batch of one step, in the parts in which it is accumulated."""

    parts: list[Batch]
    indices: np.ndarray
    epoch: int

    @property
    def name(self) -> str:
        """Which examples these are, in words that fit on a line."""
        shown = ", ".join(str(index) for index in self.indices[:16])
        rest = f", ... ({len(self.indices)} in all)" if len(self.indices) > 16 else ""
        return f"epoch {self.epoch}, examples {shown}{rest}"


def make_loader(task: Task, training: TrainingConfig, ranks: Ranks | None = None) -> Loader[Step]:
    """The loader of a task's training examples, for all steps of the run: the share of this rank."""
    ranks = ranks or Ranks()

    def fetch(indices: np.ndarray, epoch: int) -> Step:
        parts = np.split(indices, training.accumulate)
        return Step([task.batch(part, seed=training.seed, epoch=epoch) for part in parts], indices, epoch)

    return Loader(
        fetch,
        task.num_examples,
        training.batch_size,
        seed=training.seed,
        fingerprint=task.fingerprint,
        total_steps=training.steps,
        rank=ranks.share[0],
        world_size=ranks.share[1],
        workers=training.workers,
    )
