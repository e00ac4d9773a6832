"""`linsight bench kernels`: how much faster compiled kernels are, beside the peaks of the machine."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]

DESCRIPTION = """Measure the compiled kernels of this machine against softmax attention, loops over tokens, a
plain product, and published packages where they are installed. Both take turns in one process, on one thread.
An op that does not equal its definition in float64 is not measured.
"""


@dataclass(frozen=True)
class Options:
    """What `linsight bench kernels` takes."""

    seconds: float = 3.0
    """Processor time for each line; five rounds at least."""
    json: bool = False
    """Print the numbers as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Measure and print.

    Returns:
        0, or 1 where a ratio stays below its gate or an op is refused.
    """
    options = parse(Options, arguments, prog="linsight bench kernels", description=DESCRIPTION)
    if not options.seconds > 0:
        raise ValueError(f"--seconds: expected a number above 0, got {options.seconds}")
    import torch

    from linsight import kernels
    from linsight.cli.progress import watching
    from linsight.cli.tables import columns
    from linsight.profiling import allocator, kernel_ratios
    from linsight.tasks.exhibits import Table
    from linsight.tasks.generate.decoding import decode_ratios

    with watching() as progress:
        rows = list(kernel_ratios(seconds=options.seconds, progress=progress))
        rows += decode_ratios(seconds=options.seconds, progress=progress)
    if options.json:
        print(json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=2))
    else:
        cells = tuple(
            (
                *(row.op, row.what, row.other, row.kernel_ms, row.other_ms, row.ratio, row.goal, row.gate),
                row.error,
                row.note or ("below its gate" if row.missed else ""),
            )
            for row in rows
        )
        note = (
            f"Medians of processor time on one thread; level {kernels.cpu.level()}, "
            f"torch {torch.__version__}, allocator {allocator()}. Errors are relative to float64."
        )
        names = ("op", "what", "against", "kernel ms", "ms", "times faster", "goal", "gate", "error", "")
        print(columns(Table("kernels", "Compiled kernels", names, cells, note)))
    return int(any(row.missed or "self-check" in row.note for row in rows))
