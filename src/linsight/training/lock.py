"""One training at a time in a run folder: an advisory lock that dies with its process."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["locked"]


@contextlib.contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock `.lock` of a run folder for the length of a `with` block.

    The kernel frees it when the process ends, however it ends, so no process number is ever mistaken for a
    living owner; the number in the file serves the messages. A number left there by a process that was
    killed is reported through `say` and taken over.

    Raises:
        RuntimeError: Another process (named) holds the lock.
    """
    import fcntl  # not on Windows, where nothing but training needs it

    # Opened without truncation: the number inside is the owner's until the lock is ours.
    with open(os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = file.read().strip() or "unknown"
            raise RuntimeError(
                f"{folder}: process {owner} is training here; wait for it or stop it"
            ) from None
        previous = file.read().strip()
        if previous:
            say(f"the lock of process {previous}, which ended without releasing it, is taken over")
        _replace(file, str(os.getpid()))
        try:
            yield
        finally:
            _replace(file, "")


def _replace(file, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
