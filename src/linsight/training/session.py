"""A training in progress: everything a checkpoint must hold, taken out and put back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from linsight.data import Loader, noise
from linsight.tasks.base import Task
from linsight.training.batches import Step
from linsight.training.checkpoint import Checkpoint
from linsight.training.config import RunConfig
from linsight.training.metrics import Mean
from linsight.training.ranks import Ranks
from linsight.training.spreading import SpreadLoss
from linsight.training.weights import collect_weights, gathered, like, restore_weights

__all__ = ["Session"]


class Session:
    """Model, optimiser, loader and counters of a training, on the device where it runs.

    Where ranks share the weights, `model` has this rank's shards. The schedule has no state: the learning
    rate is a function of the step.
    """

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        loader: Loader[Step],
        device: torch.device,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.task, self.loader, self.device = config, task, loader, device
        self.ranks = ranks or Ranks()
        self.model = task.build_model().to(device)
        self.losses = SpreadLoss(task, self.model, self.ranks, compiled=config.training.compile)
        self.optimizer = config.training.optimizer.build(self.model)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.step = 0
        self.skipped = 0
        self.skipped_in_a_row = 0
        self.seconds = 0.0
        self.mean = Mean()
        self._random: dict[str, Tensor] | None = None

    def begin(self) -> None:
        """Set torch's random state, for dropout, to that of the last step: one for each share of a batch."""
        number = self.ranks.share[0]
        own = _under(_prefix(number), self._random or {})
        if own:
            _set_random_states(own, self.device)
        elif number:
            # No rank of this number was there before: a stream of its own, begun at this step.
            stream = noise.key(self.config.training.seed, f"dropout of rank {number}")
            torch.manual_seed(int(noise.words(stream, np.array([self.step]), 1)[0, 0]))

    def set_learning_rate(self, step: int) -> float:
        """Set every group's learning rate to that of a step; returns the general one."""
        training = self.config.training
        factor = training.schedule.factor(step, training.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return training.optimizer.lr * factor

    def checkpoint(self) -> Checkpoint:
        """The state after the last step, copied to the CPU, of all ranks; all of them call it.

        The first one has it. Shards are gathered one tensor at a time, and others than the first keep none.
        """
        keep = self.ranks.first
        weights = collect_weights(self.model, keep=keep)
        tensors = {f"model/{name}": tensor for name, tensor in weights.items()}
        optimizer = self.optimizer.state_dict()
        moments = {
            f"optimizer/{key}/{name}": value
            for key, state in optimizer["state"].items()
            for name, value in state.items()
        }
        tensors |= gathered(moments, keep=keep)
        for name, state in _random_states(self.device).items():
            for number, part in enumerate(self.ranks.gather(state)[: self.ranks.share[1]]):
                tensors[f"rng/{_prefix(number)}{name}"] = part
        state = {
            "groups": optimizer["param_groups"],
            "loader": self.loader.state_dict(),
            "mean": self.mean.state_dict(),
            "seconds": self.seconds,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "environment": self._environment(),
        }
        return Checkpoint(self.step, tensors, state)

    def restore(self, checkpoint: Checkpoint, *, where: str) -> list[str]:
        """Go on from a checkpoint; returns what is different in the environment since then.

        Raises:
            RuntimeError: It is of another model (the message begins with `where`), grouping, or data.
        """
        state = checkpoint.state
        restore_weights(self.model, _under("model/", checkpoint.tensors), where=where)
        self.optimizer.load_state_dict(
            {"state": self._optimizer_state(checkpoint.tensors), "param_groups": _groups(state["groups"])}
        )
        self.loader.load_state_dict(state["loader"])
        self.mean.load_state_dict(state["mean"])
        self.step, self.seconds = checkpoint.step, state["seconds"]
        self.skipped, self.skipped_in_a_row = state["skipped"], state["skipped_in_a_row"]
        self._random = _under("rng/", checkpoint.tensors)
        now = self._environment()
        before = state["environment"].items()
        return [f"{key} was {old}, is {now[key]}" for key, old in before if old != now[key]]

    def whole_model(self) -> nn.Module:
        """The model with whole weights, on the first rank; all ranks call it."""
        if self.ranks.alone or self.ranks.strategy != "fsdp":
            return self.model
        weights = collect_weights(self.model, keep=self.ranks.first)
        if not self.ranks.first:
            return self.model
        model = self.task.build_model()
        restore_weights(model, weights, where="the ranks")
        return model

    def _optimizer_state(self, tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for path, tensor in _under("optimizer/", tensors).items():
            key, name = path.split("/")
            own = parameters[int(key)]
            state.setdefault(int(key), {})[name] = like(own, tensor) if tensor.shape == own.shape else tensor
        return state

    def _environment(self) -> dict[str, Any]:
        return {
            "torch": torch.__version__,
            "device": self.device.type,
            "ranks": self.ranks.count,
            "strategy": self.ranks.strategy,
            "threads": torch.get_num_threads(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups as they were: JSON has no tuples, as which optimisers keep numbers that belong together."""
    return [{key: _as_tuple(value) for key, value in group.items()} for group in groups]


def _as_tuple(value: Any) -> Any:
    numbers = isinstance(value, list) and value and all(isinstance(part, float) for part in value)
    return tuple(value) if numbers else value


def _prefix(rank: int) -> str:
    return f"{rank}." if rank else ""


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
