"""How far a training is, and at which pace, as plain lines on standard error."""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping

__all__ = ["Lines", "Pace", "Reporter", "duration", "sentence"]


class Reporter:
    """Shows a training to its user; this one shows nothing."""

    def say(self, message: str) -> None:
        """A line that stays."""

    def start(self, step: int) -> None:
        """Preparations are over; the step after `step` follows."""

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """A step is done; `metrics` are the latest numbers."""

    def close(self) -> None:
        """Nothing follows."""


class Pace:
    """Rate and time left, from the last half minute of a training; pauses for validation count."""

    def __init__(
        self, steps: int, batch_size: int, start: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.steps, self.batch_size, self._clock = steps, batch_size, clock
        self._marks: deque[tuple[float, int]] = deque([(clock(), start)])

    def restart(self, step: int) -> None:
        """Forget what was before: the time counts from here."""
        self._marks = deque([(self._clock(), step)])

    def mark(self, step: int) -> None:
        """A step is done."""
        now = self._clock()
        # Marks a second apart are enough, and keep the queue short at any speed.
        if len(self._marks) > 1 and now - self._marks[-2][0] < 1:
            self._marks.pop()
        self._marks.append((now, step))
        while len(self._marks) > 2 and now - self._marks[0][0] > 30:
            self._marks.popleft()

    @property
    def rate(self) -> float:
        """Steps per second."""
        (then, before), (now, step) = self._marks[0], self._marks[-1]
        return (step - before) / (now - then) if now > then else 0.0

    def __str__(self) -> str:
        left = (self.steps - self._marks[-1][1]) / self.rate if self.rate else float("inf")
        return f"{self.rate * self.batch_size:,.0f} examples/s, {duration(left)} left"


class Lines(Reporter):
    """One line every ten seconds, and at the last step."""

    def __init__(self, pace: Pace, *, every_seconds: float = 10.0) -> None:
        self._pace, self._every = pace, every_seconds
        self._last = time.monotonic()

    def start(self, step: int) -> None:
        """The pace counts from here."""
        self._pace.restart(step)

    def say(self, message: str) -> None:
        """Print the line."""
        print(message, file=sys.stderr, flush=True)

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Print a line if it is time."""
        self._pace.mark(step)
        if time.monotonic() - self._last >= self._every or step == self._pace.steps:
            self._last = time.monotonic()
            self.say(f"step {step:,}/{self._pace.steps:,}  {sentence(metrics)}  {self._pace}")


def duration(seconds: float) -> str:
    """Seconds as minutes:seconds or hours:minutes:seconds; `-:--` for infinity."""
    if seconds == float("inf"):
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def sentence(metrics: Mapping[str, float]) -> str:
    """Names and numbers on a line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
