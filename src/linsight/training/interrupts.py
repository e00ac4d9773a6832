"""Ctrl-C and termination: asked once, a training stops after its step; asked twice, at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "Stop", "StopNow"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A training was asked to stop, and did; `exit_code` is 130 after Ctrl-C, 143 after termination."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class StopNow(BaseException):
    """The second request. No KeyboardInterrupt, which Lightning turns into exit(1)."""


class Stop:
    """Whether to stop, and the `number` of the signal that asked for it, 0 for none.

    In a `with` block SIGINT and SIGTERM are noted instead of obeyed; the second raises `StopNow`.

    Outside the main thread, where Python allows no handlers, nothing is noted.
    """

    def __init__(self) -> None:
        self.number = 0
        self._previous: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.number != 0

    def __enter__(self) -> "Stop":
        self.listen()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            if handler is not None:  # None: installed by other than Python, and out of its reach
                signal.signal(number, handler)

    def listen(self) -> None:
        """Install the handlers; once more where another library has installed its own."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous.setdefault(number, signal.signal(number, self._note))

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self:
            raise StopNow
        self.number = number
