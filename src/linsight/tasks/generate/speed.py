"""How fast images are drawn: by the state, by a cache of keys and values, and by re-running the prefix."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from linsight.mixers import config
from linsight.models.sequence import ImageDensity, ImageDensityConfig, SequenceModel
from linsight.tasks.base import Progress
from linsight.tasks.exhibits import Curves, Exhibit, Table

__all__ = ["Route", "measure_routes", "speed_exhibits"]


@dataclass(frozen=True)
class Route:
    """Seconds of the decoding steps of one way of sampling, and the bytes that it carries.

    `seconds[i]` is the time of the call that yields the logits after `positions[i]` tokens; `state_bytes` are
    those of the mixers' states of the whole batch after the last step.
    """

    name: str
    positions: tuple[int, ...]
    seconds: tuple[float, ...]
    state_bytes: int

    def step_seconds(self, length: int) -> np.ndarray:
        """The time of each of the first `length` steps, interpolated between the measured ones."""
        return np.interp(np.arange(1, length + 1), self.positions, self.seconds)

    def total_seconds(self, length: int) -> float:
        """The time of a whole sequence of `length` steps."""
        return float(self.step_seconds(length).sum())


@torch.inference_mode()
def measure_routes(
    model: ImageDensity, peer: ImageDensity, *, batch: int, progress: Progress | None = None
) -> tuple[Route, ...]:
    """Time the three routes at this batch size; `peer` is the same network with softmax attention.

    State and cache are stepped through all positions; the prefix is re-run at nine of them.
    """
    length = model.patches.number
    # Which cells they are costs nothing; the first one is a start token.
    tokens = torch.zeros(batch, length, dtype=torch.int64, device=model.log_prior.device)
    tokens[:, 0] = model.patches.vocabulary
    mixers = ", ".join(dict.fromkeys(mixer.kind for mixer in model.config.sequence.mixers))
    routes = []
    for name, network in (
        (f"state ({mixers} attention)", model.network),
        ("key-value cache (softmax attention)", peer.network),
    ):
        seconds, state_bytes = _stepped(network, tokens)
        routes.append(Route(name, tuple(range(1, length + 1)), seconds, state_bytes))
        if progress:
            progress("sampling speed", len(routes), 3)
    places = sorted({max(1, round(share * length / 8)) for share in range(9)})
    seconds = []
    for n in places:
        begin = _now(tokens)
        model.network(tokens[:, :n])
        seconds.append(_now(tokens) - begin)
    routes.append(Route(f"re-running the prefix ({mixers} attention)", tuple(places), tuple(seconds), 0))
    if progress:
        progress("sampling speed", len(routes), 3)
    return tuple(routes)


def speed_exhibits(
    model: ImageDensity, *, batch: int = 64, progress: Progress | None = None
) -> tuple[dict[str, float], tuple[Exhibit, ...]]:
    """Images per second by each route, and milliseconds per step against the position."""
    with torch.random.fork_rng(devices=[]):  # the peer's weights are drawn, and nobody's next draw may notice
        peer = softmax_peer(model.config).to(model.log_prior)
    routes = measure_routes(model, peer, batch=batch, progress=progress)
    length = model.patches.number
    curves = [route.step_seconds(length) for route in routes]
    totals = [route.total_seconds(length) for route in routes]
    rows = tuple(
        (
            route.name,
            f"{batch / total:.1f}",
            f"{1e3 * total / length:.2f}",
            f"{1e3 * steps[:10].mean():.2f} / {1e3 * steps[-10:].mean():.2f}",
            f"{total / totals[0]:.1f}",
            f"{route.state_bytes / 2**20:.2f}",
        )
        for route, total, steps in zip(routes, totals, curves, strict=True)
    )
    columns = (
        "route",
        "images / s",
        "ms / step",
        "ms of the first / last 10 steps",
        "time against the state",
        "MiB carried",
    )
    note = (
        f"{batch} images at a time, {length} tokens each, float32, wall clock on {torch.get_num_threads()} "
        "threads, the network alone. The prefix is re-run at nine positions, the steps between interpolated; "
        "the cache belongs to a network of the same size with softmax attention and untrained weights, which "
        "cost the same."
    )
    step_time = Curves(
        "step_time",
        "A step's cost against its position",
        {
            route.name: (list(route.positions), [1e3 * seconds for seconds in route.seconds])
            for route in routes
        },
        "position in the sequence (tokens)",
        f"time of a step (ms, {batch} images)",
        log_y=True,
    )
    metrics = {"sampled_images_per_second": batch / totals[0]}
    return metrics, (Table("speed", "Speed of sampling", columns, rows, note), step_time)


def softmax_peer(of: ImageDensityConfig) -> ImageDensity:
    """The same density with softmax attention in every layer, with as many heads as a mixer there has."""
    heads = (getattr(mixer, "heads", None) for mixer in of.sequence.mixers)
    heads = next((number for number in heads if number), math.gcd(4, of.sequence.dim))
    sequence = replace(of.sequence, mixers=(config("softmax", heads=heads),))
    return replace(of, sequence=sequence).build().eval()


def _stepped(network: SequenceModel, tokens: torch.Tensor) -> tuple[tuple[float, ...], int]:
    network(tokens[:, :1])  # the first call of a process is slower than any other
    seconds, state = [], None
    for step in range(tokens.shape[1]):
        begin = _now(tokens)
        _, state = network(tokens[:, step : step + 1], state)
        seconds.append(_now(tokens) - begin)
    layers = () if state is None else state.layers
    return tuple(seconds), sum(tensor.nbytes for layer in layers for tensor in layer)


def _now(tensor: torch.Tensor) -> float:
    """The clock, when the tensor's device has done all that it was given."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()
