"""How the cost of a call grows with its length: measured and reported, never judged."""

import time

import torch

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.subject import Subject
from linsight.conformance.trial import Trial
from linsight.profiling import growth

__all__ = ["cost_growth"]

SHORTEST, LONGEST, ENOUGH = 512, 65_536, 0.05


@law(
    statement="The time of a whole call grows with the length T as T^p.",
    reason="Linear-time mixers have p = 1 once fixed costs are paid, attention goes to 2.",
    breach="Nothing: a figure for the reader, since time depends on the machine and what else runs on it.",
    inputs="One row of 512 normal tokens in float32 and of twice as many until a call takes 0.05 s, at most "
    "65,536 (from an eighth of the module's longest row to that row where that is less); smallest of three, "
    "process CPU time, the module's own choice of form.",
    tolerance="None. p is the slope of log time against log T over the last four lengths by least squares, "
    "with its standard error.",
    quick=False,
)
def cost_growth(subject: Subject, trial: Trial) -> str:
    """Fit the exponent."""
    adapter = next(subject.in_dtypes(torch.float32), None) or subject.build()
    longest = min(LONGEST, adapter.max_length or LONGEST)
    lengths, seconds, length = [], [], min(SHORTEST, longest // 8)  # four lengths at least
    with torch.no_grad():
        while length <= longest and (len(seconds) < 4 or seconds[-1] < ENOUGH):
            lengths.append(length)
            seconds.append(_fastest(adapter, trial.tokens(adapter, 1, length)))
            length *= 2
    slope, error = growth(lengths[-4:], seconds[-4:])
    span = f"{lengths[-4:][0]:,} to {lengths[-1]:,} tokens"
    return f"time grows as T^{slope:.2f} ± {error:.2f} from {span}, the last in {1e3 * seconds[-1]:.3g} ms"


def _fastest(adapter: Adapter, x: torch.Tensor) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        adapter(x)
        times.append(time.process_time() - start)
    return max(min(times), 1e-9)
