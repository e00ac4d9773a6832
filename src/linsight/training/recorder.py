"""What happens after a step: rows, validation, checkpoints, and the answer to a request to stop."""

import time
from collections.abc import Callable
from typing import cast

from linsight.training.interrupts import Stop
from linsight.training.metrics import MetricsLog
from linsight.training.progress import Reporter
from linsight.training.run import Run
from linsight.training.saving import Saver, writing
from linsight.training.session import Session

__all__ = ["Recorder"]

Validate = Callable[[], dict[str, float]]


class Recorder:
    """Writes, on the first rank, what a session measured and where it stands.

    `latest` holds the last value of every series, `stopping` the signal on which the ranks agreed to stop.
    """

    def __init__(self, run: Run, session: Session, show: Reporter, stop: Stop) -> None:
        self._run, self._session, self._show, self._stop = run, session, show, stop
        self._ranks, self._log = session.ranks, None
        self._saver = Saver(run, session.config.training)
        self._ranks.on_first(self._open)
        self._seconds = session.seconds
        self._clock = self._row_clock = time.monotonic()
        self._row_step = session.step
        self.latest: dict[str, float] = {}
        self.stopping = 0

    def start(self) -> None:
        """The first step follows: from here on the time counts, and signals come to us alone."""
        self._clock = self._row_clock = time.monotonic()
        self._show.start(self._session.step)
        self._stop.listen()

    def after_step(self, validate: Validate) -> bool:
        """Do all that is due after a step; returns whether to stop. All ranks call it.

        The checkpoint comes last: whatever else was due at its step is done when a run resumes from it.
        """
        training, session = self._session.config.training, self._session
        step, last = session.step, session.step == training.steps
        row = self._means() if last or step % training.log_every == 0 else {}
        if last or step % training.validate_every == 0:
            row |= {f"valid/{name}": value for name, value in validate().items()}
        session.seconds = self._seconds + time.monotonic() - self._clock
        if row:
            self._ranks.on_first(lambda: self._write(step, row | {"seconds": session.seconds}))
            self.latest |= row
        # Asked once: a request that comes later is seen after the next step.
        self.stopping = self._ranks.largest(self._stop.number)
        if last or step % training.checkpoint_every == 0 or self.stopping:
            checkpoint = session.checkpoint()
            self._ranks.on_first(lambda: self._saver.save(checkpoint))
        if last or self.stopping:
            self._ranks.on_first(self._saver.finish)
        self._show.step(step, _headline(self.latest))
        return self.stopping != 0

    def close(self) -> None:
        """Wait for a checkpoint that is still being written."""
        self._saver.close()

    def _open(self) -> None:
        with writing(self._run):
            self._log = MetricsLog(self._run.metrics_file, self._run.events, step=self._session.step)

    def _write(self, step: int, row: dict[str, float]) -> None:
        with writing(self._run):
            cast(MetricsLog, self._log).write(step, row)

    def _means(self) -> dict[str, float]:
        session, now = self._session, time.monotonic()
        examples = (session.step - self._row_step) * session.config.training.batch_size
        rate = examples / max(now - self._row_clock, 1e-9)
        self._row_step, self._row_clock = session.step, now
        return session.mean.take() | {"skipped_steps": float(session.skipped), "examples_per_second": rate}


def _headline(values: dict[str, float]) -> dict[str, float]:
    shown = [name for name in values if name == "train/loss" or name.startswith("valid/")]
    return {name: values[name] for name in sorted(shown, key=lambda name: name != "train/loss")}
