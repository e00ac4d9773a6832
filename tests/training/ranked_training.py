"""Trains small tasks without batch statistics.

`python ranked_training.py RANKS RESTARTS FOLDER STEPS FAULT STRATEGY ...`

One run for each strategy, in FOLDER/STRATEGY. The agent of torchrun starts the ranks, forks of this process,
so that all they need is loaded once. FAULT is `none`; `dropout`, with dropout and a pause; `nan`, no finite
loss on the last rank at step 6; `compiled` and `eager`, one model with torch.compile and without.
"""

import os
import sys

import torch
from torch import Tensor, nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from toy_training import ToyTask, toy_run

from linsight.mixers import config as mixer
from linsight.models.sequence import SequenceConfig, Stack
from linsight.training import fit
from linsight.training.ranks import Followed, Ranks


class RowModel(nn.Module):
    """The toy's eight numbers as eight tokens, through a stack of mixers; one weight is tied."""

    def __init__(self, *mixers: str) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 8)
        config = SequenceConfig(dim=8, layers=2, mlp_dim=8, mixers=tuple(map(mixer, mixers)))
        self.stack = Stack(config)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.stack(self.embed(x[..., None]))
        return self.head(self.second(self.first(h.mean(1)).tanh()))


class RowTask(ToyTask):
    """The gradient of a batch is the mean of its examples', in float64.

    It knows how many tokens of a row its mixers saw, and how many numbers of the
    weights of the blocks the rank had between them.
    """

    def __init__(self, config) -> None:
        super().__init__(config)
        self.tokens, self.numbers = set(), 0

    def build_model(self) -> nn.Module:
        model = RowModel("linear", "gated_delta").double()
        hook = lambda _, inputs, __: self.tokens.add(inputs[0].shape[1])  # noqa: E731
        model.stack.mixers[0].register_forward_hook(hook)
        return model

    def loss(self, model, batch):
        parts = [getattr(p, "_local_tensor", p) for p in model.stack.blocks.parameters()]
        self.numbers = sum(part.numel() for part in parts)
        return super().loss(model, batch)

    def batch(self, indices, *, seed, epoch):
        batch = super().batch(indices, seed=seed, epoch=epoch)
        return {**batch, "x": batch["x"].double()}

    def validate(self, model):
        """Of few examples: where all ranks take part, each of their calls is a round of messages."""
        x, y = torch.from_numpy(self.x[:20]).double(), self.y[:20]
        return {"accuracy": (model(x).argmax(1).numpy() == y).mean().item()}


class SureTask(ToyTask):
    """Without dropout, whose numbers a compiler may draw otherwise, and without a norm.

    The bias before a norm has a gradient of rounding alone, which Adam makes a whole step of.
    """

    def build_model(self) -> nn.Module:
        model = super().build_model()
        model.dropout = model.norm = nn.Identity()
        return model


class PoisonedTask(RowTask):
    """The last of two ranks has a loss that is not a number in its sixth step."""

    calls = 0

    def loss(self, model, batch):
        loss, logs = super().loss(model, batch)
        self.calls += 1
        bad = self.calls == 6 and os.environ.get("RANK") == "1"
        return loss * float("nan") if bad else loss, logs


TASKS = {"none": RowTask, "nan": PoisonedTask, "dropout": ToyTask, "eager": SureTask, "compiled": SureTask}


def ranked_run(steps: int, fault: str = "none"):
    pause = 0.1 if fault == "dropout" else 0.0
    parts = 2 if fault == "none" else 1
    return toy_run(
        steps,
        pause_seconds=pause,
        accumulate=parts,
        checkpoint_every=3,
        log_every=1,
        keep=9,
        compile=fault == "compiled",
    )


def ranked_task(config, fault: str = "none"):
    return TASKS[fault](config.task)


def train(folder: str, steps: int, fault: str, strategies: list[str]) -> None:
    """What every rank does."""
    torch.set_num_threads(1)
    config = ranked_run(steps, fault)
    for strategy in strategies:
        ranks = Ranks.here(strategy)  # pyright: ignore[reportArgumentType]
        try:
            task = ranked_task(config, fault)
            fit(config, f"{folder}/{strategy}", task=task, progress="plain", ranks=ranks)
            if isinstance(task, RowTask) and not ranks.first:
                print(f"{strategy}: {task.tokens} tokens, {task.numbers} numbers", file=sys.stderr)
        except Followed:
            sys.exit(3)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            sys.exit(3)


if __name__ == "__main__":
    ranks, restarts, folder, steps, fault, *strategies = sys.argv[1:]
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(ranks),
        max_restarts=int(restarts),
        monitor_interval=0.2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
    )
    elastic_launch(launch, train)(folder, int(steps), fault, strategies)
