"""`linsight bench`: `mixers`, what each costs against the length, or `kernels`, how much faster they are."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from linsight.cli.parsing import parse

__all__ = ["Options", "run"]

DESCRIPTION = """Measure every mixer against the length of the sequence: a call, a call with its gradients, a
decoding step, and the memory of each. All take turns in one process, on one thread, with softmax attention.
"""


@dataclass(frozen=True)
class Options:
    """What `linsight bench mixers` takes."""

    mixers: str | None = None
    """KIND,KIND,...; none: all. softmax is measured with any of them."""
    lengths: str = "256,512,1024,2048,4096,8192,16384"
    """Numbers of tokens."""
    dim: int = 256
    """Width of the tokens; heads are 64 wide."""
    seconds: float = 3.0
    """Processor time for each length and kind of cost, all mixers together; three rounds at least."""
    bidirectional: bool = False
    """Mixers that see all tokens; they have no decoding step."""
    without_peers: bool = False
    """Leave out published packages, which are measured as far as they are installed."""
    out: Path = Path("runs/bench-mixers")
    """Folder of the table, the figures and the numbers."""
    json: bool = False
    """Print the numbers as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Measure; prints the table, and for mixers the path of the page last."""
    if arguments and arguments[0] == "kernels":
        from linsight.cli import bench_kernels

        return bench_kernels.run(arguments[1:])
    if not arguments or arguments[0] != "mixers":
        if arguments and arguments[0] in ("-h", "--help"):
            print("usage: linsight bench mixers | kernels [options]\n\n" + DESCRIPTION)
            return 0
        given = repr(arguments[0]) if arguments else "nothing"
        print(
            f"linsight bench: expected mixers or kernels, got {given}; linsight bench mixers --help",
            file=sys.stderr,
        )
        return 2
    options = parse(Options, arguments[1:], prog="linsight bench mixers", description=DESCRIPTION)
    lengths = _lengths(options.lengths)
    if options.dim < 64 or options.dim % 64:
        raise ValueError(f"--dim: expected a multiple of 64, the width of a head, got {options.dim}")
    if not options.seconds > 0:
        raise ValueError(f"--seconds: expected a number above 0, got {options.seconds}")
    from linsight.cli.benching import Request, bench

    kinds = None if options.mixers is None else tuple(kind.strip() for kind in options.mixers.split(","))
    causal = not options.bidirectional
    request = Request(
        kinds, lengths, options.dim, options.seconds, causal, not options.without_peers, options.out
    )
    bench(request, as_json=options.json, command=["linsight", "bench", *arguments])
    return 0


def _lengths(text: str) -> tuple[int, ...]:
    try:
        lengths = tuple(sorted({int(word) for word in text.split(",")}))
    except ValueError:
        raise ValueError(f"--lengths: expected whole numbers with commas between, got {text!r}") from None
    if lengths[0] < 1:
        raise ValueError(f"--lengths: expected at least 1 token, got {lengths[0]}")
    return lengths
