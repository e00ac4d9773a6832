"""What one of several devices holds and sends in a step of training, for four ways to share the work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from linsight.profiling.pieces import PieceBytes
from linsight.profiling.traffic import (
    all_gather_sent,
    all_reduce_sent,
    passed_around,
    reduce_scatter_sent,
    share,
)

__all__ = [
    "Job",
    "Load",
    "Network",
    "crossover",
    "ddp",
    "devices_needed",
    "fsdp",
    "ring_attention",
    "sequence",
]

FLOAT32 = 4


@dataclass(frozen=True)
class Network:
    """Blocks in a row: `params` weights in all, `layers` blocks.

    `kept`: bytes that a block keeps for the backward of a token. `piece`: what a block's state sends to other
    devices, None where rows cannot be spread. `key_value`: bytes of a token's keys and values in a block, for
    `ring_attention` alone.
    """

    params: int
    layers: int
    kept: float
    piece: PieceBytes | None = None
    key_value: int = 0


@dataclass(frozen=True)
class Job:
    """A step of training: `batch` rows of `length` tokens on `devices` devices.

    Weights and gradients are float32, as `linsight train` has them in either precision; `optimizer_bytes` is
    what the optimiser has for a weight: 8 for Adam's two moments in float32.
    """

    length: int
    batch: int
    devices: int
    optimizer_bytes: int = 8

    def __post_init__(self) -> None:
        """Refuse a step of nothing."""
        for name in ("length", "batch", "devices"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Load:
    """Bytes of the device that has most: what it `holds` at once, and what it `sends` in a step."""

    holds: Mapping[str, int]
    sends: Mapping[str, int]

    @property
    def held(self) -> int:
        """All that the device holds."""
        return sum(self.holds.values())

    @property
    def sent(self) -> int:
        """All that the device sends in a step."""
        return sum(self.sends.values())


def ddp(network: Network, job: Job) -> Load:
    """Every device has all weights and its share of the rows; gradients are summed by an all-reduce.

        holds: (4 + 4 + optimiser) N, and ceil(B / P) T tokens;    sends: 2 (P - 1) / P . 4 N

    Li et al. 2020, arXiv 2006.15704. The buckets in which torch sends gradients, 4 N more unless they are
    views of them, are left out.
    """
    rows = share(job.batch, job.devices)
    return Load(
        _replica(network, job) | {"activations": _activations(network, rows * job.length)},
        {"gradients, all-reduce": all_reduce_sent(FLOAT32 * network.params, job.devices)},
    )


def fsdp(network: Network, job: Job) -> Load:
    """Every device has its share of the weights and of the rows; a block is whole while it computes.

        holds: (4 + 4 + optimiser) N / P, two blocks' weights (one computes, one arrives), a block's gradient,
               and ceil(B / P) T tokens
        sends: twice an all-gather of the weights and a reduce-scatter of the gradients, 3 (P - 1) / P . 4 N

    Rajbhandari et al. 2019, arXiv 1910.02054 (stage 3: half as much again as the all-reduce); Zhao et al.
    2023, arXiv 2304.11277. Weights are gathered again in the backward, as FSDP2 does by default, in float32;
    what is not in blocks (embedding, head) counts as if it were spread over them.
    """
    size, devices = FLOAT32 * network.params, job.devices
    rows, piece, block = share(job.batch, devices), share(size, devices), share(size, network.layers)
    whole = min(2 * block, size) + block if devices > 1 else 0
    return Load(
        {
            "weights": piece,
            "gradients": piece,
            "optimiser": share(job.optimizer_bytes * network.params, devices),
            "activations": _activations(network, rows * job.length),
            "gathered": whole,
        },
        {
            "weights, all-gather": 2 * all_gather_sent(piece, devices),
            "gradients, reduce-scatter": reduce_scatter_sent(size, devices),
        },
    )


def sequence(network: Network, job: Job) -> Load:
    """Every device has all weights and T / P tokens of every row; pieces meet by the split law.

        holds: as ddp, but B ceil(T / P) tokens; the pieces of a layer from all devices, and the state that
               each layer starts from
        sends: 2 (P - 1) / P . 4 N for the gradients, as ddp; in every layer (P - 1) B pieces and margins
               forward, and as many bytes of their gradients backward

    A margin is a piece too, of a state that shifts: the next device alone would do unless its own piece is
    shorter than the margin. How far it shifts, a matrix of taps^2, is not counted.

    A piece is S_end = transition . S_start + written, of a size that the length does not change. After an
    all-gather each device composes those before its own; the gradient of the all-gather is a reduce-scatter
    of P pieces, which sends (P - 1) again. Sun et al. 2025, arXiv 2502.07563 (LASP-2), for linear attention.
    What a device sends grows with P, and all wait once; on a ring (Sun et al. 2024, arXiv 2404.02882, LASP)
    it sends one state a layer, and waits for all devices before it.

    Raises:
        ValueError: The network's rows cannot be spread; more devices than tokens.
    """
    if network.piece is None:
        raise ValueError("network: expected a mixer whose state is made of pieces, got none")
    tokens, devices, layers = _tokens(job), job.devices, network.layers
    pieces = job.batch * network.piece.gathered
    waiting = devices * pieces + layers * job.batch * network.piece.written if devices > 1 else 0
    return Load(
        _replica(network, job) | {"activations": _activations(network, tokens), "gathered": waiting},
        {
            "gradients, all-reduce": all_reduce_sent(FLOAT32 * network.params, devices),
            "states, all-gather": 2 * layers * all_gather_sent(pieces, devices),
            "margins, all-gather": 2 * layers * all_gather_sent(job.batch * network.piece.margin, devices),
        },
    )


def ring_attention(network: Network, job: Job) -> Load:
    """Softmax attention over rows that are spread: keys and values visit every device. A comparison.

        holds: as ddp, but B ceil(T / P) tokens, and two blocks of keys and values (one leaves, one arrives)
        sends: 2 (P - 1) / P . 4 N for the gradients, as ddp; in every layer, with s bytes of keys and
               values for the B T / P tokens, (P - 1) s forward, (P - 1) s again backward, and P s of
               their gradients, which travel along and go home: (3 P - 2) s, nearly three times all rows

    Liu, Zaharia, Abbeel 2023, arXiv 2310.01889. Every head has keys and values of its own, whose gradients
    travel in their precision. A causal row lets half of the arithmetic be skipped, but not the sending.

    Raises:
        ValueError: More devices than tokens.
    """
    tokens, devices, layers = _tokens(job), job.devices, network.layers
    block = tokens * network.key_value
    return Load(
        _replica(network, job)
        | {
            "activations": _activations(network, tokens),
            "gathered": 2 * block if devices > 1 else 0,
        },
        {
            "gradients, all-reduce": all_reduce_sent(FLOAT32 * network.params, devices),
            "keys and values, ring": layers * 2 * passed_around(block, devices),
            "their gradients, ring": layers * passed_around(block, devices, home=True),
        },
    )


def crossover(spread: Network, ring: Network, job: Job) -> int | None:
    """The least length from which on `sequence` sends less than `ring_attention`; the job's own is not read.

    The pieces do not grow with the length, keys and values do: with n = ceil(T / P),

        states and margins < n . (3 P - 2) L B key_value,

    so n is the next whole number above their ratio, and the least T is (n - 1) P + 1, or P, the shortest row
    that can be spread. None where there is one device, which sends nothing.

    Raises:
        ValueError: Networks of different numbers of weights, whose gradients differ too; no bytes of keys and
            values; as `sequence`.
    """
    if ring.key_value < 1:
        raise ValueError(f"key_value: expected at least 1 byte for a token, got {ring.key_value}")
    if spread.params != ring.params:
        raise ValueError(f"params: expected the same in both, got {spread.params} and {ring.params}")
    devices = job.devices
    if devices == 1:
        return None
    shortest = Job(devices, job.batch, devices)
    fixed = sequence(spread, shortest).sent
    growing = ring_attention(ring, shortest).sent
    common = all_reduce_sent(FLOAT32 * spread.params, devices)
    tokens = (fixed - common) // (growing - common) + 1
    return max((tokens - 1) * devices + 1, devices)


def devices_needed(
    strategy: Callable[[Network, Job], Load], network: Network, job: Job, memory: float
) -> int | None:
    """The least number of devices of which one holds at most `memory` bytes; None where there is none.

    Every number up to 1,024 is tried, and above it the powers of 2 up to 2^20; the job's own is not read.
    """
    tried = [*range(1, 1025), *(2**power for power in range(11, 21))]
    for devices in tried:
        if strategy in (sequence, ring_attention) and devices > job.length:
            return None
        if strategy(network, Job(job.length, job.batch, devices, job.optimizer_bytes)).held <= memory:
            return devices
    return None


def _replica(network: Network, job: Job) -> dict[str, int]:
    size = FLOAT32 * network.params
    return {"weights": size, "gradients": size, "optimiser": job.optimizer_bytes * network.params}


def _activations(network: Network, tokens: int) -> int:
    return round(tokens * network.layers * network.kept)


def _tokens(job: Job) -> int:
    """Of a device, where every row is spread."""
    if job.devices > job.length:
        raise ValueError(f"devices: expected at most one for each of {job.length} tokens, got {job.devices}")
    return job.batch * share(job.length, job.devices)
