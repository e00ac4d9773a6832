"""Builds what is to be measured, proves that it is right, measures it, writes the page."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from linsight import mixers, reports
from linsight.cli.progress import watching
from linsight.cli.tables import columns
from linsight.conformance import check, kind_subject
from linsight.profiling import measure_costs
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
    modules: dict[str, nn.Module] = {}
    missing: dict[str, str] = {}
    for kind in chosen:
        try:
            modules[kind] = _mixer(kind, request.dim, causal=causal, longest=max(lengths))
        except ValueError as error:
            if kinds is not None and kind in kinds:
                raise
            missing[kind] = str(error)
    for name in list(modules):
        report = check(kind_subject(name, causal=causal), PROOF, quick=True)
        if report.broken:
            raise RuntimeError(f"{name}: breaks {report.broken[0].law}, and is not measured")
    for package in PEERS if request.peers else ():
        try:
            modules[package] = peer(package, request.dim, causal=causal)
        except ImportError as error:
            missing[package] = f"it does not import here ({error})"
    torch.set_num_threads(1)
    with watching() as progress:
        found = measure_costs(modules, request.dim, lengths, seconds=request.seconds, progress=progress)
    exhibits = cost_exhibits(found, missing=missing)
    settings = {
        "dim": request.dim,
        "heads": request.dim // 64,
        "batch": 1,
        "dtype": "float32",
        "causal": causal,
        "seconds": request.seconds,
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


def _mixer(kind: str, dim: int, *, causal: bool, longest: int) -> nn.Module:
    """The kind with heads 64 wide, and its other options as they are."""
    config = mixers.config(kind)
    options = {"heads": dim // 64, "n_max": longest}
    fitting = {name: value for name, value in options.items() if hasattr(config, name)}
    torch.manual_seed(0)
    return mixers.build(kind, dim=dim, causal=causal, **fitting).eval()
