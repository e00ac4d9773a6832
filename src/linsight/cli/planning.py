"""Reads a network's sizes off its own blocks, applies the strategies, and tells what they cost."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from linsight import profiling
from linsight.cli.amounts import in_bytes
from linsight.cli.mixer_words import mixer_config
from linsight.cli.tables import columns
from linsight.models.sequence import SequenceConfig, Stack
from linsight.profiling import Job, Load, Network, share
from linsight.tasks.exhibits import Table

__all__ = ["Found", "Request", "describe", "numbers", "work_out"]

STRATEGIES: dict[str, Callable[[Network, Job], Load]] = {
    "ddp": profiling.ddp,
    "fsdp": profiling.fsdp,
    "sequence": profiling.sequence,
    "ring attention": profiling.ring_attention,
}

LEFT_OUT = """\
Left out: embedding, head and loss (where whole rows are gathered for them, a device sends (P - 1) / P B T dim
values more), bfloat16 copies of weights, ddp's buckets, what a block needs while it computes, the allocator's
waste; latency, links that are shared, sending that hides behind arithmetic, and the arithmetic itself."""


@dataclass(frozen=True)
class Request:
    """What to plan; the fields are those of the command line."""

    length: int
    devices: int
    batch: int
    layers: int
    dim: int
    mlp_dim: int
    mixer: str
    params: int | None
    precision: str
    optimizer_bytes: int
    memory: float | None
    bandwidth: float | None


@dataclass(frozen=True)
class Found:
    """Loads by strategy, the reasons where there is none, and where costs cross; None: nowhere."""

    request: Request
    networks: Mapping[str, Network]
    loads: Mapping[str, Load]
    refused: Mapping[str, str]
    needed: Mapping[str, int | None]
    crossover: int | None


def work_out(request: Request) -> Found:
    """Build a stack of the mixer and one of softmax on paper, and apply the four strategies.

    Raises:
        ValueError: A mixer that does not exist, cannot be built at this width, or is not causal.
    """
    ours, refusal = _network(request, request.mixer)
    softmax, _ = _network(request, "softmax heads=1")
    networks = {name: ours for name in STRATEGIES} | {"ring attention": replace(softmax, params=ours.params)}
    job = Job(request.length, request.batch, request.devices, request.optimizer_bytes)
    loads: dict[str, Load] = {}
    refused = {"sequence": refusal} if refusal else {}
    needed: dict[str, int | None] = {}
    for name in STRATEGIES.keys() - refused.keys():
        strategy, network = STRATEGIES[name], networks[name]
        try:
            loads[name] = strategy(network, job)
        except ValueError as error:
            refused[name] = str(error)
        if request.memory is not None:
            needed[name] = profiling.devices_needed(strategy, network, job, request.memory)
    crossover = None if refusal else profiling.crossover(ours, networks["ring attention"], job)
    return Found(
        request,
        networks,
        {name: loads[name] for name in STRATEGIES if name in loads},
        refused,
        needed,
        crossover,
    )


def _network(request: Request, words: str) -> tuple[Network, str]:
    """The network of such blocks, and why its rows cannot be spread, or nothing."""
    config, dtype = mixer_config(words), getattr(torch, request.precision)

    def measure() -> tuple[Network, str]:
        stack = Stack(SequenceConfig(request.dim, request.layers, request.mlp_dim, (config,)))
        try:
            piece, refusal = profiling.piece_bytes(config.kind, stack.mixers[0]), ""
        except ValueError as error:
            piece, refusal = None, str(error)
        params = request.params or sum(weight.numel() for weight in stack.parameters())
        kept = profiling.kept_per_token(stack.blocks[0], request.dim, dtype=dtype)
        key_value = 2 * request.dim * dtype.itemsize if config.kind == "softmax" else 0
        return Network(params, request.layers, kept, piece, key_value), refusal

    return profiling.on_paper(measure)


def describe(found: Found) -> str:
    """The table, what follows from it, and what it leaves out."""
    request, params = found.request, found.networks["ddp"].params
    title = [
        f"{request.mixer}: {params:,} weights, {_several(request.layers, 'block')} of width {request.dim:,}, "
        f"{request.precision}",
        f"{_several(request.batch, 'row')} of {request.length:,} tokens in a step, "
        f"{_several(request.devices, 'device')}",
    ]
    return "\n".join([*title, "", columns(_table(found)).rstrip(), "", *_sentences(found), LEFT_OUT])


def _table(found: Found) -> Table:
    """Rows of what one device holds, then of what it sends, a column for each strategy."""
    loads, request = found.loads.values(), found.request
    rows = [
        *_part("it holds", [load.holds for load in loads]),
        *_part("it sends in a step", [load.sends for load in loads]),
        ("all devices send for a token", *(in_bytes(_per_token(load, request)) for load in loads)),
    ]
    if request.bandwidth is not None:
        rows.append(("seconds of sending", *(f"{load.sent / request.bandwidth:.3g}" for load in loads)))
    if request.memory is not None:
        needed = [found.needed[name] for name in found.loads]
        rows.append((f"devices of {in_bytes(request.memory)}", *(f"{n:,}" if n else "never" for n in needed)))
    return Table("plan", "", ("one device", *found.loads), tuple(rows))


def _part(title: str, loads: Sequence[Mapping[str, int]]) -> Iterator[tuple[str, ...]]:
    yield title, *(in_bytes(sum(load.values())) for load in loads)
    for name in dict.fromkeys(name for load in loads for name in load):
        yield f"  {name}", *(in_bytes(load[name]) if name in load else "-" for load in loads)


def _several(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _sentences(found: Found) -> list[str]:
    request = found.request
    lines = [f"{name}: {reason}" for name, reason in found.refused.items()]
    if request.batch % request.devices:
        lines.append(
            f"ddp, fsdp: {_several(request.batch, 'row')} cannot be dealt out evenly; the figures are of a "
            f"device with {_several(share(request.batch, request.devices), 'row')}"
        )
    if found.crossover is not None:
        lines.append(f"sequence sends less than ring attention from rows of {found.crossover:,} tokens on")
    return lines


def _per_token(load: Load, request: Request) -> float:
    return load.sent * request.devices / (request.batch * request.length)


def numbers(found: Found) -> str:
    """All of it as JSON; bytes are whole numbers."""
    strategies: dict[str, Any] = {}
    for name, load in found.loads.items():
        strategies[name] = {
            "holds": dict(load.holds),
            "held": load.held,
            "sends": dict(load.sends),
            "sent": load.sent,
            "sent_by_all_per_token": _per_token(load, found.request),
        }
        if found.request.bandwidth is not None:
            strategies[name]["seconds"] = load.sent / found.request.bandwidth
        if found.request.memory is not None:
            strategies[name]["devices_needed"] = found.needed[name]
    whole = {
        "request": asdict(found.request),
        "network": asdict(found.networks["ddp"]),
        "strategies": strategies,
        "refused": dict(found.refused),
        "crossover_length": found.crossover,
    }
    return json.dumps(whole, indent=2)
