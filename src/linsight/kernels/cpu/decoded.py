"""What a sequence model is to its compiled step: tensors of its embedding, its blocks, and their states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

__all__ = [
    "FUNCTIONS",
    "KERNELS",
    "MAPS",
    "BlockState",
    "DecodedBlock",
    "DecodedConvolution",
    "DecodedEmbedding",
    "DecodedMixer",
    "DecodedProjection",
]

MAPS = ("identity", "elu1", "relu", "relu2", "softmax", "elu")
"""Feature maps by their numbers in decode_functions.h; of the names of `linsight.nn.feature_map`, and elu."""
KERNELS = ("exp", "hyperbolic", "relu")
"""Kernels of random features by their numbers there, as of `PerformerConfig.kernel`."""
FUNCTIONS = ("identity", "tanh", "sigmoid", "exp", "silu")
"""Functions of projections and gates by their numbers in decode_functions.h."""


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
class DecodedProjection:
    """Numbers of a token, function(weight x + bias), which follow those of the projections before.

    Args:
        weight: `(numbers, inputs)`.
        input: The place of x among earlier numbers; None for the block's vector.
        share: Of the token before, x + share (before - x): `(dim,)`, or its place among earlier numbers; None
            for none.
        bias: `(numbers,)` or None.
        function: In `FUNCTIONS`.
    """

    weight: Tensor
    input: int | None = None
    share: Tensor | int | None = None
    bias: Tensor | None = None
    function: str = "identity"


@dataclass(frozen=True, kw_only=True)
class DecodedMixer:
    """A mixer whose state is a memory by head: what its projections of a token are, and how they change it.

        S = keep S + gain k v^T
        S = keep S + k (beta (v - keep S^T k))^T,  with `beta`
        S = keep S + k (1 + (learning - 1) replacement) v^T - learning kk (S^T kk)^T,  with `removal`
        o = scale q^T S, divided by its sum with `normalise`, + skip v
        o = scale q^T S + (q . bonus k) v  of S before,  with `bonus`
        out((norm(o) + (q . own k) v) * silu(gate))

    with keep = `constant`, or exp(rate s) and gain = s = softplus(step + step_bias), or exp(rate decay) by
    feature; beta after a sigmoid; kk = k removal, of length 1; v + (first - v) residual for v. A selective
    scan, where there are `rates`, has channels for heads and a memory `(channels, keys)`:

        h = exp(rates s) h + s k v,  o = q . h + skip v,  s = softplus(step + step_bias)

    FAVOR+ has `features` W: exp(W q) / its sum for q, exp(W k - |k|^2 / (2 sqrt width) - c) for k, where c is
    the logarithm of the largest sum of a key so far, and keep = exp(c before - c).

    Args:
        project: All that follows is of their numbers, by the place of the first one.
        out: `(dim, heads values)`.
        heads, keys, values: Sizes of the memory, `(batch, heads, keys, values)`; one more with `normalise`.
        v: Values `(heads, values)`.
        q, k: Queries and keys `(groups, keys)`; of a scan `(keys,)`, known as C and B.
        gate: `(heads, values)`; None for none.
        step, beta: `(heads,)`; None for none.
        decay, learning: `(heads, keys)`; None for none.
        residual: `(heads, values)`, how much of the `first` values, of the last layer that `relays`; or None.
        groups: Of heads that share queries and keys; None for none.
        feature_map: Of queries and keys, in `MAPS`.
        unit: Divide queries and keys by their length.
        frequencies: `(keys / 2,)` of rotary positions, in float64.
        convolutions: At most three, of what the first projection gives, before all others.
        constant, rate, step_bias, skip: `(heads,)`; `rate` is negative.
        bonus, own, removal, replacement: `(heads, keys)`; None for none.
        largest: beta at most.
        norm: `(heads values,)`, weights of the norm by group; None for none.
        norm_bias: `(heads values,)`; with it a group first loses its mean.
        norm_groups: How many groups have an RMS norm of their own, with `norm_eps`; 0: no norm.
        gate_first: The gate stands before the norm.
        gate_function: In place of silu, in `FUNCTIONS`.
        relays: Later layers read its values.
        rates: Of a scan, `(channels, keys)`.
        features: `(directions, width)`, where q and k are `(groups, width)`; `keys` is their number, twice
            that of directions in the kernel `hyperbolic`.
        kernel: Of them, in `KERNELS`.
        draw: Their number, which no memory of other features has; 0 without features.
    """

    project: Sequence[DecodedProjection]
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
    decay: int | None = None
    learning: int | None = None
    residual: int | None = None
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
    bonus: Tensor | None = None
    own: Tensor | None = None
    removal: Tensor | None = None
    replacement: Tensor | None = None
    largest: float = 1.0
    norm: Tensor | None = None
    norm_bias: Tensor | None = None
    norm_groups: int = 0
    norm_eps: float = 0.0
    gate_first: bool = False
    gate_function: str = "silu"
    relays: bool = False
    rates: Tensor | None = None
    features: Tensor | None = None
    kernel: str = "exp"
    draw: int = 0

    @property
    def numbers(self) -> int:
        """Of all projections."""
        return sum(len(one.weight) for one in self.project)

    @property
    def shifts(self) -> bool:
        """Whether a projection is of the token before, too."""
        return any(one.share is not None for one in self.project)


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
    """The memory, what convolutions have read `(batch, taps - 1, channels)`, and what only some mixers have.

    Rotary positions `(batch,)`, int64; the vectors of the tokens before, `(batch, dim)`; of random features c
    `(batch, heads)` and the number of their draw `(batch,)`, int64, 0 where nothing was read.
    """

    memory: Tensor
    inputs: tuple[Tensor, ...] = ()
    position: Tensor | None = None
    shift: Tensor | None = None
    peak: Tensor | None = None
    draw: Tensor | None = None


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
