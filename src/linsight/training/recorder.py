"""What happens after a step: rows, validation, checkpoints, and the answer to a request to stop."""

import contextlib
import time
from collections.abc import Callable, Iterator

from linsight.training.checkpoint import last_step, save_checkpoint
from linsight.training.interrupts import Stop
from linsight.training.metrics import MetricsLog
from linsight.training.progress import Reporter
from linsight.training.run import Run
from linsight.training.session import Session

__all__ = ["Recorder", "kept", "writing"]

Validate = Callable[[], dict[str, float]]


class Recorder:
    """Writes what a session measured and where it stands. `latest` holds the last value of every series."""

    def __init__(self, run: Run, session: Session, show: Reporter, stop: Stop) -> None:
        self._run, self._session, self._show, self._stop = run, session, show, stop
        with writing(run):
            self._log = MetricsLog(run.metrics_file, run.events, step=session.step)
        self._seconds = session.seconds
        self._clock = self._row_clock = time.monotonic()
        self._row_step = session.step
        self.latest: dict[str, float] = {}

    def start(self) -> None:
        """The first step follows: from here on the time counts, and signals come to us alone."""
        self._clock = self._row_clock = time.monotonic()
        self._show.start(self._session.step)
        self._stop.listen()

    def after_step(self, validate: Validate) -> bool:
        """Do all that is due after a step; returns whether to stop.

        The checkpoint comes last: whatever else was due at its step is done when a run resumes from it.
        """
        training, session = self._session.config.training, self._session
        step, last = session.step, session.step == training.steps
        row = self._means() if last or step % training.log_every == 0 else {}
        if last or step % training.validate_every == 0:
            row |= {f"valid/{name}": value for name, value in validate().items()}
        session.seconds = self._seconds + time.monotonic() - self._clock
        if row:
            with writing(self._run):
                self._log.write(step, row | {"seconds": session.seconds})
            self.latest |= row
        stopping = bool(self._stop)  # asked once: a request that comes later is seen after the next step
        if last or step % training.checkpoint_every == 0 or stopping:
            with writing(self._run):
                save_checkpoint(self._run.checkpoints, session.checkpoint(), keep=training.keep)
        self._show.step(step, _headline(self.latest))
        return stopping

    def _means(self) -> dict[str, float]:
        session, now = self._session, time.monotonic()
        examples = (session.step - self._row_step) * session.config.training.batch_size
        rate = examples / max(now - self._row_clock, 1e-9)
        self._row_step, self._row_clock = session.step, now
        return session.mean.take() | {"skipped_steps": float(session.skipped), "examples_per_second": rate}


def _headline(values: dict[str, float]) -> dict[str, float]:
    shown = [name for name in values if name == "train/loss" or name.startswith("valid/")]
    return {name: values[name] for name in sorted(shown, key=lambda name: name != "train/loss")}


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
