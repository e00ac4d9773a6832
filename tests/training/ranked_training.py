"""Trains the toy without dropout and batch statistics: `torchrun ranked_training.py FOLDER STEPS FAULT`.

FAULT is `none`; `dropout`, with both and a pause; `nan`, no finite loss on the last rank at step 6.
"""

import os
import sys

import torch
from toy_training import ToyTask, toy_run

from linsight.training import fit
from linsight.training.ranks import Followed


class MeanTask(ToyTask):
    """The gradient of a batch is the mean of its examples', in float64."""

    def build_model(self):
        model = super().build_model()
        model.dropout, model.norm = torch.nn.Identity(), torch.nn.Identity()
        return model.double()

    def batch(self, indices, *, seed, epoch):
        batch = super().batch(indices, seed=seed, epoch=epoch)
        return {**batch, "x": batch["x"].double()}

    def validate(self, model):
        return {
            "accuracy": (model(torch.from_numpy(self.x).double()).argmax(1).numpy() == self.y).mean().item()
        }


class PoisonedTask(MeanTask):
    """The last of two ranks has a loss that is not a number in its sixth step."""

    calls = 0

    def loss(self, model, batch):
        loss, logs = super().loss(model, batch)
        self.calls += 1
        bad = self.calls == 6 and os.environ.get("RANK") == "1"
        return loss * float("nan") if bad else loss, logs


def ranked_run(steps: int, fault: str = "none"):
    pause = 0.1 if fault == "dropout" else 0.0
    return toy_run(steps, pause_seconds=pause, checkpoint_every=3, log_every=1, keep=9)


def ranked_task(config, fault: str = "none"):
    return {"none": MeanTask, "nan": PoisonedTask, "dropout": ToyTask}[fault](config.task)


if __name__ == "__main__":
    folder, steps, fault = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    config = ranked_run(steps, fault)
    try:
        fit(config, folder, task=ranked_task(config, fault), progress="plain")
    except Followed:
        sys.exit(3)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
