"""A small real task, and a script that trains it: `python toy_training.py FOLDER STEPS PAUSE_SECONDS`."""

import contextlib
import hashlib
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from linsight.config import Config
from linsight.data.noise import key, uniform
from linsight.optim import AdamWConfig, WarmupCosineConfig
from linsight.tasks.base import Batch, Task
from linsight.tasks.exhibits import Evaluation
from linsight.training import RunConfig, TrainingConfig, fit


@dataclass(frozen=True)
class ReluConfig(Config):
    kind: Literal["relu"] = "relu"

    def build(self) -> nn.Module:
        return nn.ReLU()


@dataclass(frozen=True)
class EluConfig(Config):
    alpha: float = 1.0
    kind: Literal["elu"] = "elu"

    def build(self) -> nn.Module:
        return nn.ELU(self.alpha)


@dataclass(frozen=True)
class ModelConfig(Config):
    dim: int = 8
    act: ReluConfig | EluConfig = field(default_factory=EluConfig)
    layers: tuple[ReluConfig | EluConfig, ...] = ()

    def build(self) -> "ToyModel":
        return ToyModel(self)


class ToyModel(nn.Module):
    """Two maps with dropout between, so that torch's random state matters, and one tied weight."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.first = nn.Linear(config.dim, config.dim)
        self.act = config.act.build()
        self.dropout = nn.Dropout(0.2)
        self.second = nn.Linear(config.dim, config.dim)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(config.dim)
        self.head = nn.Linear(config.dim, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.second(self.dropout(self.act(self.first(x))))))


@dataclass(frozen=True)
class ToyConfig(Config):
    examples: int = 40
    pause_seconds: float = 0.0
    model: ModelConfig = field(default_factory=ModelConfig)
    kind: Literal["toy"] = "toy"

    def build(self) -> "ToyTask":
        return ToyTask(self)


class ToyTask(Task):
    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        indices = np.arange(config.examples)
        self.x = uniform(key(0, "toy/data"), indices, config.model.dim).astype(np.float32) - 0.5
        self.y = (self.x.sum(1) > 0).astype(np.int64)

    @property
    def num_examples(self) -> int:
        return self.config.examples

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.x.tobytes()).hexdigest()

    def build_model(self) -> ToyModel:
        return self.config.model.build()

    def batch(self, indices: np.ndarray, *, seed: int, epoch: int) -> Batch:
        if self.config.pause_seconds:
            time.sleep(self.config.pause_seconds)
        noise = uniform(key(seed, "toy/noise"), indices, self.x.shape[1], epoch=epoch).astype(np.float32)
        return {"x": torch.from_numpy(self.x[indices] + 0.1 * noise), "y": torch.from_numpy(self.y[indices])}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = model(batch["x"])
        loss = nn.functional.cross_entropy(logits.float(), batch["y"])
        return loss, {"accuracy": (logits.argmax(1) == batch["y"]).float().mean()}

    def validate(self, model: nn.Module) -> dict[str, float]:
        return {"accuracy": (model(torch.from_numpy(self.x)).argmax(1).numpy() == self.y).mean().item()}

    def evaluate(self, model, split, *, device, progress=None) -> Evaluation:
        return Evaluation(split, self.validate(model))


@dataclass(frozen=True)
class ToyRun(RunConfig):
    task: ToyConfig


def toy_run(steps: int = 12, *, pause_seconds: float = 0.0, **training) -> ToyRun:
    """A run whose epochs (5 steps), checkpoints, validation and rows all end at different steps."""
    options = {
        "batch_size": 8,
        "seed": 3,
        "optimizer": AdamWConfig(lr=0.05),
        "schedule": WarmupCosineConfig(warmup_steps=2),
        "log_every": 5,
        "validate_every": 3,
        "checkpoint_every": 4,
    } | training
    return ToyRun(1, ToyConfig(pause_seconds=pause_seconds), TrainingConfig(steps=steps, **options))


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


if __name__ == "__main__":
    folder, steps, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    torch.set_num_threads(1)
    try:
        fit(toy_run(steps, pause_seconds=pause, checkpoint_every=7), folder, progress="plain")
    except KeyboardInterrupt as error:
        print(error, file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
