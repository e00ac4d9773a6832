"""What every task offers: data, model, loss, evaluation. Plain torch; the engine drives it from outside."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from linsight.config import Config
from linsight.tasks.exhibits import Evaluation, Exhibit

__all__ = ["Batch", "ComparedConfig", "Progress", "Split", "Task", "require_of_model"]

Batch = dict[str, Tensor]
Split = Literal["train", "valid", "test"]
Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total) during long work."""


@dataclass(frozen=True)
class ComparedConfig(Config):
    """A task's configuration, and which of its metrics tell models apart."""

    headline: ClassVar[str]
    """The metric of an evaluation that tells models apart."""
    headline_falls: ClassVar[bool]
    """Whether less of it is better."""
    beside: ClassVar[tuple[str, ...]] = ()
    """Other metrics that stand in the table of a comparison."""
    heads: ClassVar[tuple[str, ...]] = ()
    """Codecs that a comparison over heads has where nothing else is asked for, as words for `model.codec`;
    none of a task whose model has no codec."""
    shows_together: ClassVar[bool] = False
    """Whether `Task.shown_together` has something to show."""

    def require_some(self, *names: str) -> None:
        """Refuse numbers of things below 1.

        Raises:
            ValueError: The first of these fields that is.
        """
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    def with_codec(self, words: str) -> "ComparedConfig":
        """The configuration whose model has the codec that these words name; of a task with `heads`.

        Raises:
            ValueError: An unknown codec, or one that the model cannot have.
        """
        changed: Any = self
        return replace(changed, model=replace(changed.model, codec=words))

    def published(self) -> tuple[Exhibit, ...]:
        """Published results that may stand beside ours."""
        return ()


def require_of_model(data: str, needed: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuse a model that is complete in its configuration, and not the one that the data need.

    Args:
        data: What the data are, a plural.
        needed: By the name of a field of the model, what it is and what it has to be.

    Raises:
        ValueError: The first field that is another.
    """
    for name, (found, expected) in needed.items():
        if found != expected:
            raise ValueError(f"model.{name}: {data} need {expected}, got {found}; set it to {expected}")


Model = TypeVar("Model", bound=nn.Module)


class Task(ABC, Generic[Model]):
    """Data, model, loss and evaluation of one problem.

    A batch is a pure function of (seed, epoch, indices): no global random state is read, so a run that was
    killed resumes to the same weights bit for bit, whatever the batch's place in the process's history.
    """

    config: Any

    @property
    @abstractmethod
    def num_examples(self) -> int:
        """The number of training examples; indices run from 0 to this, exclusive."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the training data's identity; a run refuses to resume on other data."""

    @abstractmethod
    def build_model(self) -> Model:
        """A freshly initialised model; the caller has set torch's seed."""

    @abstractmethod
    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        """The training batch of these examples in this epoch, augmentation included, on the CPU."""

    @abstractmethod
    def loss(self, model: Model, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and scalars to log whose names carry their unit."""

    @abstractmethod
    def validate(self, model: Model) -> dict[str, float]:
        """A cheap look at the validation split during training; names carry their unit."""

    @abstractmethod
    def evaluate(
        self, model: Model, split: Split, *, device: torch.device, progress: Progress | None = None
    ) -> Evaluation:
        """Everything the report shows of this model on one split."""

    def shown_together(self, models: Mapping[str, Model], *, device: torch.device) -> tuple[Exhibit, ...]:
        """What a comparison's page shows of its members beside one another, by name; nothing by default."""
        return ()
