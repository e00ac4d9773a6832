"""`linsight bench kernels`: how much faster compiled kernels are, beside the peaks of the machine."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]

DESCRIPTION = """Measure the compiled kernels of this machine against softmax attention, loops over tokens, a
plain product, and published packages where they are installed: ops, a layer, an optimiser's step, a training
step, decoding. Both take turns in one process, on one thread. The peaks of a core are measured beside them.
What does not equal its definition in float64 is not measured.
"""


@dataclass(frozen=True)
class Options:
    """What `linsight bench kernels` takes."""

    seconds: float = 3.0
    """Processor time for each line; five rounds at least, of whole generations two."""
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
    from linsight.profiling import allocator, kernel_cases, measure_ratios, peaks, training_cases
    from linsight.tasks.exhibits import Table
    from linsight.tasks.generate.decoding import decode_cases
    from linsight.tasks.generate.training_step import model_cases

    best = peaks()
    cases = [*kernel_cases(), *training_cases(), *model_cases(), *decode_cases()]
    with watching() as progress:
        rows = list(measure_ratios(cases, seconds=options.seconds, progress=progress))
    if options.json:
        numbers = {
            "peaks": {name: peak._asdict() for name, peak in best.items()},
            "lines": [asdict(row) | {"ratio": row.ratio} for row in rows],
        }
        print(json.dumps(numbers, indent=2))
    else:
        note = f"Level {kernels.cpu.level()}, torch {torch.__version__}, allocator {allocator()}, one thread."
        cells = tuple((name, f"{peak.rate:.3g}", peak.unit) for name, peak in best.items())
        print(columns(Table("peaks", "Peaks of this core", ("", "at best", ""), cells, note)))
        print()
        names = ("op", "what", "against", "our ms", "its ms", "times faster", "goal", "gate", "error", "")
        cells = tuple(
            (
                *(row.op, row.what, row.other, row.our_ms, row.other_ms, row.ratio, row.goal, row.gate),
                row.error,
                row.note or ("below its gate" if row.missed else ""),
            )
            for row in rows
        )
        note = "Medians of processor time. Errors are relative to float64."
        print(columns(Table("kernels", "Compiled kernels", names, cells, note)))
    return int(any(row.missed or "self-check" in row.note for row in rows))
