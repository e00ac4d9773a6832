"""Checkpoints of a run into its folder, at once or in the background; what is said when one cannot be."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from linsight.training.checkpoint import Checkpoint, last_step, save_checkpoint
from linsight.training.config import TrainingConfig
from linsight.training.run import Run

__all__ = ["Saver", "kept", "writing"]


class Saver:
    """Writes checkpoints one after another; in the background, each while the steps after it are computed.

    A checkpoint is a copy, which no step changes. What went wrong with one is raised by the next call.
    """

    def __init__(self, run: Run, training: TrainingConfig) -> None:
        self._run, self._keep = run, training.keep
        self._thread = ThreadPoolExecutor(1) if training.background_checkpoints else None
        self._pending: Future[None] | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write it, or begin to when the one before is written.

        Raises:
            RuntimeError: It, or the one before, cannot be written.
        """
        self.finish()
        if self._thread is None:
            self._write(checkpoint)
        else:
            self._pending = self._thread.submit(self._write, checkpoint)

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            RuntimeError: The last one cannot be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait, and say nothing of an error: another one is on its way."""
        if self._thread is not None:
            self._thread.shutdown()

    def _write(self, checkpoint: Checkpoint) -> None:
        with writing(self._run):
            save_checkpoint(self._run.checkpoints, checkpoint, keep=self._keep)


@contextlib.contextmanager
def writing(run: Run) -> Iterator[None]:
    """Say in one line what could not be written, and that nothing was lost."""
    try:
        yield
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        raise RuntimeError(
            f"{run.folder}: cannot write: {file}{error.strerror or error}; {kept(run)}; "
            "make room or give permission, then the same command goes on"
        ) from error


def kept(run: Run) -> str:
    """Which checkpoint there is to go on from."""
    step = last_step(run.checkpoints)
    return "there is no checkpoint yet" if step is None else f"the checkpoint of step {step:,} is intact"
