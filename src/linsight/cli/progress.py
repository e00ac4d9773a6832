"""How far an evaluation is, on standard error: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["watching"]

Watch = Callable[[str, int, int], None]

EVERY_SECONDS = 10.0


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """A `Progress` for tasks: call it as progress(what, done, total)."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)  # type: ignore[arg-type]

        yield show


def _lines() -> Watch:
    last = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= EVERY_SECONDS:
            last = time.monotonic()
            print(f"{what}: {done:,}/{total:,}", file=sys.stderr, flush=True)

    return show
