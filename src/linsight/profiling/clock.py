"""Time candidates against each other in one process, on one thread, by the processor's clock."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

__all__ = ["Timing", "measure"]


class Timing(NamedTuple):
    """Milliseconds of processor time (user and system) of one call."""

    median: float
    minimum: float
    repeats: int


def measure(
    candidates: Mapping[str, Callable[[], object]], *, seconds: float = 10.0, least: int = 5, most: int = 50
) -> dict[str, Timing]:
    """Call the candidates in turn, round after round, and return the timing of each.

    Taking turns lets a machine's slow spells fall on all alike, so ratios hold where milliseconds do not.
    Processor time and one thread, since wall time of two threads on shared cores measures the other users.

    Args:
        candidates: Calls by name; each is called twice beforehand.
        seconds: Rounds go on until this much time has gone by,
        least: but for at least so many rounds,
        most: and at most so many.
    """
    torch.set_num_threads(1)
    for call in candidates.values():
        call()
        call()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.process_time()
        for rounds in range(most):
            if rounds >= least and time.process_time() - start > seconds:
                break
            for name, call in candidates.items():
                before = time.process_time()
                call()
                times[name].append(1e3 * (time.process_time() - before))
    finally:
        if collecting:
            gc.enable()
    return {name: Timing(statistics.median(t), min(t), len(t)) for name, t in times.items()}
