"""What a sequence model is to its compiled step: tensors of its embedding, its blocks, and their states."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

__all__ = [
    "MAPS",
    "BlockState",
    "DecodedBlock",
    "DecodedConvolution",
    "DecodedEmbedding",
    "DecodedMixer",
]

MAPS = ("identity", "elu1", "relu", "relu2", "softmax")
"""Feature maps by their numbers in decode.h; of the names of `linsight.nn.feature_map`."""


@dataclass(frozen=True)
class DecodedConvolution:
    """A causal convolution and silu of some channels of a row, from `first` on.

    Args:
        weights: `(taps, channels)`, the last tap the token's own.
        bias: `(channels,)` or None.
    """

    first: int
    weights: Tensor
    bias: Tensor | None


@dataclass(frozen=True, kw_only=True)
class DecodedMixer:
    """A mixer whose state is a memory by head: what its projections of a token are, and how they change it.

        S = keep S + gain k v^T, or keep S + k (beta (v - keep S^T k))^T
        o = scale q^T S, divided by its sum with `normalise`, + skip v;  out(norm(o) * silu(gate))

    with keep = `constant`, or exp(rate s) and gain = s = softplus(step + step_bias); beta after a sigmoid.
    A selective scan, where there are `rates`, has a memory by channel, channels for heads and one value:

        h = exp(rates s) h + s B x,  o = C h + skip x,  s = softplus(spread r + step_bias); r, B, C = select x

    Args:
        project: `(numbers, dim)`; all that follows is of these numbers, by the place of the first one.
        out: `(dim, heads values)`.
        heads, keys, values: Sizes of the memory, `(batch, heads, keys, values)`; one more with `normalise`.
        v: Values `(heads, values)`; of a scan x.
        q, k: Queries and keys `(groups, keys)`; of a scan the places of C and B in what `select` gives.
        gate: `(heads, values)`; None for none.
        step, beta: `(heads,)`; None for none.
        groups: Of heads that share queries and keys; None for none.
        feature_map: Of queries and keys, in `MAPS`.
        unit: Divide queries and keys by their length.
        frequencies: `(keys / 2,)` of rotary positions, in float64.
        convolutions: At most three, before all else.
        constant, rate, step_bias, skip: `(heads,)`; `rate` is negative.
        largest: beta at most.
        norm: `(heads values,)`, weights of the norm by group; None for none.
        norm_groups: How many groups have an RMS norm of their own, with `norm_eps`; 0: no norm.
        gate_first: The gate stands before the norm.
        select, spread, rates: Of a scan, `(rank + 2 keys, channels)`, `(channels, rank)`, `(channels, keys)`.
    """

    project: Tensor
    out: Tensor
    heads: int
    keys: int
    values: int
    v: int
    q: int
    k: int
    gate: int | None = None
    step: int | None = None
    beta: int | None = None
    groups: int | None = None
    feature_map: str = "identity"
    normalise: bool = False
    unit: bool = False
    scale: float = 1.0
    frequencies: Tensor | None = None
    convolutions: tuple[DecodedConvolution, ...] = ()
    constant: Tensor | None = None
    rate: Tensor | None = None
    step_bias: Tensor | None = None
    skip: Tensor | None = None
    largest: float = 1.0
    norm: Tensor | None = None
    norm_groups: int = 0
    norm_eps: float = 0.0
    gate_first: bool = False
    select: Tensor | None = None
    spread: Tensor | None = None
    rates: Tensor | None = None


@dataclass(frozen=True)
class DecodedBlock:
    """x + mixer(norm(x)), then x + mlp(norm(x)) unless there is none; all in float32.

    Args:
        norm: `(dim,)`, weights of the norm before the mixer.
        mixer: What stands between.
        mlp: `(dim,)` of the norm before it, `(2 hidden, dim)` to gates and values, `(dim, hidden)` back.
    """

    norm: Tensor
    mixer: DecodedMixer
    mlp: tuple[Tensor, Tensor, Tensor] | None


class BlockState(NamedTuple):
    """The memory, the inputs of convolutions `(batch, taps - 1, channels)`, rotary positions `(batch,)`."""

    memory: Tensor
    inputs: tuple[Tensor, ...] = ()
    position: Tensor | None = None


@dataclass(frozen=True)
class DecodedEmbedding:
    """A step's vector as a sum of rows: of the values at some distances back, of the start, and of the place.

    Args:
        cells: `(neighbours, vocabulary + 1, dim)`; the last row is that of a neighbour that is not there.
        distances: How far back each neighbour lies; 1 is the token that is read now.
        window: How many tokens before that one are kept.
        inside: `(places, neighbours)`, which are there; None: those that have been read.
        starts: `(starts, dim)` of the first token, whose values follow the vocabulary; None for none.
        positions: `(places, dim)`; None for none.
    """

    cells: Tensor
    distances: tuple[int, ...]
    window: int
    inside: Tensor | None
    starts: Tensor | None
    positions: Tensor | None
