"""How fast images are drawn: by the state, by a cache of keys and values, and by re-running the prefix."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from linsight.densities import Autoregressive, state_bytes
from linsight.mixers import config
from linsight.models.sequence import ImageDensity, ImageDensityConfig
from linsight.tasks.base import Progress
from linsight.tasks.exhibits import Curves, Exhibit, Table

__all__ = ["Route", "measure_routes", "speed_exhibits"]


@dataclass(frozen=True)
class Route:
    """Seconds of the decoding steps of one way of sampling, and the bytes that it carries.

    `seconds[i]` is the time that it takes to have the logits of the cell number `positions[i]`, the first one
    being 1; `state_bytes` are those of the state of the whole batch at the last one.
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
    model: Autoregressive,
    peer: ImageDensity | None = None,
    *,
    batch: int,
    progress: Progress | None = None,
) -> tuple[Route, ...]:
    """Time the routes at this batch size: the state, a peer's cache, and the prefix again and again.

    `peer` is the same network with softmax attention. State and cache are stepped through all cells; the
    prefix is re-run at nine of them, where one pass of the network scores it.
    """
    what = _mixers(model)
    stepped = {f"state{what}": model}
    if peer is not None:
        stepped["key-value cache (softmax attention)"] = peer
    total = len(stepped) + (model.passes == 1)
    routes: list[Route] = []
    for name, density in stepped.items():
        seconds, size = _stepped(density, batch)
        routes.append(Route(name, tuple(range(1, len(seconds) + 1)), seconds, size))
        if progress:
            progress("sampling speed", len(routes), total)
    if model.passes == 1:
        routes.append(_again(model, f"re-running the prefix{what}", batch))
        if progress:
            progress("sampling speed", total, total)
    return tuple(routes)


def speed_exhibits(
    model: Autoregressive, *, batch: int = 64, progress: Progress | None = None
) -> tuple[dict[str, float], tuple[Exhibit, ...]]:
    """Images per second by each route, and milliseconds per step against the position."""
    peer = None
    if isinstance(model, ImageDensity):
        # The peer's weights are drawn, and nobody's next draw may notice.
        with torch.random.fork_rng(devices=[]):
            peer = softmax_peer(model.config).to(model.log_prior)
    routes = measure_routes(model, peer, batch=batch, progress=progress)
    length = model.num_cells
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
        f"{batch} images at a time, {length} steps each, float32, wall clock on {torch.get_num_threads()} "
        "threads, the network alone."
    )
    if model.passes == 1:
        note += " The prefix is re-run at nine positions, the steps between interpolated."
    if peer is not None:
        note += (
            " The cache belongs to a network of the same size with softmax attention and untrained weights, "
            "which cost the same."
        )
    step_time = Curves(
        "step_time",
        "A step's cost against its position",
        {
            route.name: (list(route.positions), [1e3 * seconds for seconds in route.seconds])
            for route in routes
        },
        "position in the image (steps)",
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


def _mixers(model: Autoregressive) -> str:
    """Which mixers carry the state, in brackets; nothing where none does."""
    if not isinstance(model, ImageDensity):
        return ""
    kinds = dict.fromkeys(mixer.kind for mixer in model.config.sequence.mixers)
    return f" ({', '.join(kinds)} attention)"


def _stepped(model: Autoregressive, batch: int) -> tuple[tuple[float, ...], int]:
    # Which cells they are costs nothing.
    start, cell = model.starts(batch), torch.zeros_like(model.starts(batch))[:, None]
    model.read(model.begin(start))  # the first call of a process is slower than any other
    first, feed = model.one_way()
    seconds, state = [], None
    for step in range(model.num_cells):
        begin = _now(cell)
        state = feed(state, cell) if step else first(start)
        model.read(state)
        seconds.append(_now(cell) - begin)
    return tuple(seconds), state_bytes(state)


def _again(model: Autoregressive, name: str, batch: int) -> Route:
    start = model.starts(batch)
    cells = start.new_zeros(batch, model.num_cells)
    places = sorted({max(1, round(share * model.num_cells / 8)) for share in range(9)})
    seconds = []
    for place in places:
        begin = _now(cells)
        model.log_probs(cells[:, :place], start)
        seconds.append(_now(cells) - begin)
    return Route(name, tuple(places), tuple(seconds), 0)


def _now(tensor: torch.Tensor) -> float:
    """The clock, when the tensor's device has done all that it was given."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()
