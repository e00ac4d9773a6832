"""How far an evaluation is, on standard error: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["watching"]

Watch = Callable[[str, int, int], None]

EVERY_SECONDS = 10.0


@contextlib.contextmanager
def watching(*, lasting: bool = True) -> Iterator[Watch]:
    """A `Progress` for tasks: call it as progress(what, done, total).

    Args:
        lasting: False where the caller prints what it finds on the way: no lines, and a bar that is removed.
    """
    if not sys.stderr.isatty():
        yield _lines() if lasting else lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words = TextColumn("{task.description}", markup=False)
    columns = (words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed meanwhile goes above the bar, if it goes to a terminal, and else where it was sent.
    above = sys.stdout.isatty()
    with Progress(
        *columns, console=Console(stderr=True), redirect_stdout=above, transient=not lasting
    ) as bars:
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
