"""The one place that knows Lightning: any task, driven by its Trainer."""

import contextlib
import math
from contextlib import AbstractContextManager
from typing import Any, cast

import lightning.pytorch as lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from linsight.training.batches import Step
from linsight.training.hardware import computing
from linsight.training.hush import quiet
from linsight.training.recorder import Recorder
from linsight.training.session import Session
from linsight.training.weights import whole

__all__ = ["Diverged", "TaskModule", "train"]

MAX_SKIPPED = 10


class Diverged(RuntimeError):
    """Training met numbers that are not finite; the weights are those before the step."""


def train(session: Session, recorder: Recorder) -> None:
    """Run the steps that remain, or until the recorder wants to stop.

    Raises:
        Diverged: The loss is not finite, or the gradient is not for the tenth step in a row.
    """
    with quiet():
        trainer = lightning.Trainer(
            accelerator="gpu" if session.device.type == "cuda" else "cpu",
            devices=[session.device.index or 0] if session.device.type == "cuda" else 1,
            # Lightning's own autocast would hold for the backward and the optimiser too.
            precision="32-true",
            max_epochs=1,  # of all the steps that remain: epochs are the loader's business
            # Rows, checkpoints, progress and validation are the recorder's: exact, and free between.
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            # To Lightning this is a training of one process, whatever torchrun's environment says.
            plugins=[LightningEnvironment()],
        )
        # Lightning raises at a SIGTERM that came before the first step; the recorder has seen it too by then.
        with contextlib.suppress(SIGTERMException):
            trainer.fit(TaskModule(session, recorder), session.loader)


class TaskModule(lightning.LightningModule):
    """A session as Lightning sees it."""

    def __init__(self, session: Session, recorder: Recorder) -> None:
        super().__init__()
        self.automatic_optimization = False  # a step has parts, may be skipped, and reports its norm
        self.model = session.model
        self.session, self.recorder = session, recorder
        self.ranks = session.ranks
        self.losses = session.losses

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The session's optimiser, built before, so that a checkpoint could be loaded into it."""
        return self.session.optimizer

    def on_train_start(self) -> None:
        """Mode, random state and clock of the first step."""
        self.model.train()
        self.session.begin()
        self.recorder.start()

    def training_step(self, batch: Step, index: int) -> None:
        """One update of the weights."""
        session = self.session
        step = session.step + 1
        lr = session.set_learning_rate(step)
        means = self._backward(batch, step)
        norm = self._clip()
        if norm < float("inf"):
            cast(LightningOptimizer, self.optimizers()).step()
            session.skipped_in_a_row = 0
        else:
            self._skip(norm, batch, step)
        session.optimizer.zero_grad(set_to_none=True)
        session.step = step
        session.mean.add({**means, "learning_rate": lr, "gradient_norm": norm})

    def on_train_batch_end(self, outputs: Any, batch: Step, batch_idx: int) -> None:
        """Rows, validation and checkpoints, which are the recorder's."""
        if self.recorder.after_step(self.validate):
            self.trainer.should_stop = True

    def validate(self) -> dict[str, float]:
        """The task's cheap look at its validation split, in the precision of training."""
        self.model.eval()
        with torch.no_grad(), self._computing():
            numbers = self.losses.validate()
        self.model.train()
        return numbers

    def _computing(self) -> AbstractContextManager[object]:
        return computing(self.session.config.training.precision, self.session.device)

    def _backward(self, batch: Step, step: int) -> dict[str, float]:
        means: dict[str, float] = {}
        share = 1 / len(batch.parts)
        for part in batch.parts:
            with self.losses.unsynchronised(part is not batch.parts[-1]):
                with self._computing():
                    loss, logs = self.losses(part)
                self.manual_backward(loss * share)
            for name, value in {"loss": loss, **logs}.items():
                means[f"train/{name}"] = means.get(f"train/{name}", 0.0) + share * value.item()
        means = self.ranks.mean(means)
        # Asked when all ranks know it, and before any weight has moved.
        if not math.isfinite(means["train/loss"]):
            raise Diverged(f"the loss is {means['train/loss']} at step {step} ({self._named(batch)})")
        return means

    def _named(self, batch: Step) -> str:
        """The examples of the step, those of the other ranks too."""
        return batch._replace(indices=self.session.loader.indices(self.session.step)).name

    def _clip(self) -> float:
        """Shorten the gradient where it is too long; returns its norm before."""
        parameters = [p for group in self.session.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        limit = self.session.config.training.clip_norm
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return whole(norm).item()

    def _skip(self, norm: float, batch: Step, step: int) -> None:
        session = self.session
        session.skipped += 1
        session.skipped_in_a_row += 1
        if session.skipped_in_a_row >= MAX_SKIPPED:
            times = f"for the {MAX_SKIPPED}th step in a row"
            raise Diverged(f"the gradient's norm is {norm} at step {step}, {times} ({self._named(batch)})")
