"""Builds what is to be measured, proves that it is right, measures it, writes the page."""

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from linsight import mixers, reports
from linsight.cli.progress import watching
from linsight.cli.tables import columns
from linsight.conformance import check, kind_subject
from linsight.profiling import allocator, measure_costs
from linsight.profiling.peers import PEERS, peer
from linsight.reports.costs import cost_exhibits

__all__ = ["Request", "bench"]

PROOF = ("forms", "split", "causality")
"""The laws that a mixer keeps before its time is told: a fast wrong answer has no speed."""


@dataclass(frozen=True)
class Request:
    """What to measure, how, and where to; the fields are those of the command line."""

    kinds: tuple[str, ...] | None
    lengths: tuple[int, ...]
    dim: int
    seconds: float
    causal: bool
    peers: bool
    out: Path


def bench(request: Request, *, as_json: bool, command: Sequence[str]) -> None:
    """Measure, print the summary, write the folder, print the page's path."""
    kinds, lengths, causal = request.kinds, request.lengths, request.causal
    chosen = dict.fromkeys(["softmax", *(mixers.kinds() if kinds is None else kinds)])
    makers: dict[str, Callable[[int], nn.Module]] = {}
    missing: dict[str, str] = {}
    for kind in chosen:
        make = partial(_mixer, kind, request.dim, causal, max(lengths))
        try:
            make(lengths[0])
        except ValueError as error:
            if kinds is not None and kind in kinds:
                raise
            missing[kind] = str(error)
            continue
        report = check(kind_subject(kind, causal=causal), PROOF, quick=True)
        if report.broken:
            raise RuntimeError(f"{kind}: breaks {report.broken[0].law}, and is not measured")
        makers[kind] = make
    for package in PEERS if request.peers else ():
        try:
            module = peer(package, request.dim, causal=causal)
        except ImportError as error:
            missing[package] = f"it does not import here ({error})"
        except ValueError as error:
            missing[package] = str(error)
        else:
            makers[package] = partial(_same, module)
    torch.set_num_threads(1)
    with watching() as progress:
        found = measure_costs(
            lambda length: {name: make(length) for name, make in makers.items()},
            request.dim,
            lengths,
            seconds=request.seconds,
            progress=progress,
        )
    exhibits = cost_exhibits(found, missing=missing)
    settings = {
        "dim": request.dim,
        "heads": request.dim // 64,
        "batch": 1,
        "dtype": "float32",
        "causal": causal,
        "seconds": request.seconds,
        "stride of strided and fixed": "the square root of the length",
        "allocator": allocator(),
    }
    page = reports.write_folder(
        request.out,
        title="What mixers cost",
        exhibits=exhibits,
        settings=settings,
        numbers=[asdict(costs) for costs in found],
        command=shlex.join(command),
    )
    if as_json:
        print((request.out / "numbers.json").read_text(encoding="utf-8"), end="")
    else:
        print(columns(exhibits[0]))
        print(page)


def _mixer(kind: str, dim: int, causal: bool, longest: int, length: int) -> nn.Module:
    """The kind with heads 64 wide, what depends on the length as published, and its other options as is."""
    config = mixers.config(kind)
    options = {"heads": dim // 64, "n_max": longest, "stride": math.isqrt(length)}
    fitting = {name: value for name, value in options.items() if hasattr(config, name)}
    torch.manual_seed(0)
    return mixers.build(kind, dim=dim, causal=causal, **fitting).eval()


def _same(module: nn.Module, length: int) -> nn.Module:
    return module
