"""`linsight plan`: what a device of many holds and sends, on paper, before any machine is rented."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from linsight.cli.amounts import amount, count
from linsight.cli.parsing import parse

__all__ = ["Options", "run"]

DESCRIPTION = """Calculate the bytes that one of several devices holds and sends in a step of training: by
ddp, fsdp, and the split law (sequence), and beside them ring attention. Nothing is trained or timed.
Numbers may be written 1e6, 1_000_000, 1M, 1.3B.
"""


@dataclass(frozen=True)
class Options:
    """What `linsight plan` takes."""

    length: str
    """Tokens of a row."""
    devices: str
    """Devices, each with a link to the next."""
    batch: str = "1"
    """Rows of a step, on all devices together."""
    mixer: str = "mamba2"
    """KIND or 'KIND OPTION=VALUE ...' of every block."""
    layers: str = "24"
    """Blocks."""
    dim: str = "2048"
    """Width of the tokens."""
    mlp_dim: str | None = None
    """Gated width of the feed-forward networks; none: twice the width. Mixers that replace them have none."""
    params: str | None = None
    """Weights of the network; none: those of the blocks and their last norm, counted."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Of matrix products; weights, gradients and optimiser are float32 in both."""
    optimizer_bytes: str = "8"
    """Bytes of optimiser state for a weight: 8 for Adam and AdamW, 4 for momentum."""
    memory: str | None = None
    """Bytes of a device: tells from which number of devices on the work fits."""
    bandwidth: str | None = None
    """Bytes a second that a device sends: tells the seconds of sending, nothing overlapped, no latency."""
    json: bool = False
    """Print all numbers as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Calculate; prints the table, or JSON."""
    options = parse(Options, arguments, prog="linsight plan", description=DESCRIPTION)
    sizes = {
        name: count(f"--{name.replace('_', '-')}", getattr(options, name))
        for name in ("length", "devices", "batch", "layers", "dim", "optimizer_bytes")
    }
    sizes["mlp_dim"] = count("--mlp-dim", options.mlp_dim) if options.mlp_dim else 2 * sizes["dim"]
    params = None if options.params is None else count("--params", options.params)
    memory = None if options.memory is None else amount("--memory", options.memory)
    bandwidth = None if options.bandwidth is None else amount("--bandwidth", options.bandwidth)
    from linsight.cli.planning import Request, describe, numbers, work_out

    request = Request(
        **sizes,
        mixer=options.mixer,
        params=params,
        precision=options.precision,
        memory=memory,
        bandwidth=bandwidth,
    )
    found = work_out(request)
    print(numbers(found) if options.json else describe(found))
    return 0
