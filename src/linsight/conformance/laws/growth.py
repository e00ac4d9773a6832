"""How the cost of a call grows with its length: measured and reported, never judged."""

import math
import time

import torch

from linsight.conformance.adapter import Adapter
from linsight.conformance.law import law
from linsight.conformance.subject import Subject
from linsight.conformance.trial import Trial

__all__ = ["cost_growth"]

SHORTEST, LONGEST, ENOUGH = 512, 65_536, 0.1


@law(
    statement="The time of a whole call grows with the length T as T^p.",
    reason="Linear-time mixers have p = 1 once fixed costs are paid, attention goes to 2.",
    breach="Nothing: a figure for the reader, since time depends on the machine and what else runs on it.",
    inputs="One row of 512 normal tokens in float32 and of twice as many until a call takes 0.1 s, at most "
    "65,536; smallest of three, process CPU time, the module's own choice of form.",
    tolerance="None. p is the slope of log time against log T over the last four lengths by least squares, "
    "with its standard error.",
    quick=False,
)
def cost_growth(subject: Subject, trial: Trial) -> str:
    """Fit the exponent."""
    adapter = next(subject.in_dtypes(torch.float32), None) or subject.build()
    lengths, seconds, length = [], [], SHORTEST
    with torch.no_grad():
        while length <= LONGEST and (len(seconds) < 4 or seconds[-1] < ENOUGH):
            lengths.append(length)
            seconds.append(_fastest(adapter, trial.tokens(adapter, 1, length)))
            length *= 2
    slope, error = _slope([math.log(n) for n in lengths[-4:]], [math.log(s) for s in seconds[-4:]])
    span = f"{lengths[-4:][0]:,} to {lengths[-1]:,} tokens"
    return f"time grows as T^{slope:.2f} ± {error:.2f} from {span}, the last in {1e3 * seconds[-1]:.3g} ms"


def _fastest(adapter: Adapter, x: torch.Tensor) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        adapter(x)
        times.append(time.process_time() - start)
    return max(min(times), 1e-9)


def _slope(x: list[float], y: list[float]) -> tuple[float, float]:
    """Least squares, and the standard error of the slope."""
    number, middle, height = len(x), sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - middle) ** 2 for a in x)
    slope = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - height - slope * (a - middle)) ** 2 for a, b in zip(x, y, strict=True))
    return slope, (rest / (number - 2) / spread) ** 0.5
