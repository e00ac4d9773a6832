"""Performer: softmax attention estimated with positive random features, in linear time."""

import math
from dataclasses import dataclass
from itertools import repeat
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.heads import HeadedMixer
from linsight.nn import RandomProjection, Scaling

__all__ = ["Performer", "PerformerConfig", "PerformerState"]

BLOCK = 256
"""Tokens whose logarithms of features are made at a time. Forward and backward of the compiled kernel, heads
of 64 and 266 features: 4 heads, T=1024, 34 ms in blocks of 128, 30 of 256, 28 of 512 and of all; 8 heads,
T=4096, 243 ms of 128, 228 of 256, 254 of all, and forward 74, 71 and 89 (torch 2.13, one AVX-512 core)."""


@dataclass(frozen=True)
class PerformerConfig(MixerConfig):
    """Performer: `heads`, the random features, and how long one draw of them serves."""

    kind: Literal["performer"] = "performer"
    heads: int = 4
    num_features: int | None = None
    """Features m of a head; None for K ln K, rounded, with K the width of a head (266 of 64)."""
    kernel: Literal["exp", "hyperbolic", "relu"] = "exp"
    """`exp` estimates softmax; `hyperbolic` too, by features in pairs of W and -W (of less variance, and m
    even); `relu` is the generalised kernel relu(W x) + 0.001, which does not."""
    scaling: Scaling = "chi"
    """Norms of the rows of W, as in `linsight.nn.orthogonal_gaussian`."""
    redraw_every: int | None = 1000
    """Training calls after which W is drawn anew; None for never."""
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse features that cannot be drawn."""
        if self.kernel not in ("exp", "hyperbolic", "relu"):
            raise ValueError(f"kernel: expected 'exp', 'hyperbolic' or 'relu', got {self.kernel!r}")
        if self.num_features is not None and self.num_features < 1:
            raise ValueError(f"num_features: expected at least 1, got {self.num_features}")
        if self.kernel == "hyperbolic" and (self.num_features or 0) % 2:
            raise ValueError(
                f"num_features: expected an even number for kernel 'hyperbolic', got {self.num_features}"
            )

    def build(self, dim: int, *, causal: bool = True) -> "Performer":
        """The mixer for tokens of width `dim`."""
        return Performer(dim, self, causal=causal)


class PerformerState(NamedTuple):
    """The sums over all tokens so far, relative to the largest key so far; zeros at first.

    `memory` `(batch, heads, features, head_dim + 1)`, float32: sums of phi(k) exp(-peak) v^T, and in the last
    column of phi(k) exp(-peak) alone. `peak` `(batch, heads)`, float32: log of the largest sum of a key's
    features. `draw` `(batch,)`, int64: which random features, 0 for a row without tokens. Bytes per sequence:
    4 * heads * (features * (head_dim + 1) + 1) + 8.
    """

    memory: Float[Tensor, "batch heads features values"]
    peak: Float[Tensor, "batch heads"]
    draw: Int[Tensor, " batch"]


class Performer(HeadedMixer):
    """o_t = phi(q_t)^T sum_(j <= t) phi(k_j) v_j^T / (phi(q_t)^T sum_(j <= t) phi(k_j)), phi random.

        phi(x) = m^(-1/2) exp(W z - |z|^2 / 2) ,  z = x K^(-1/4) ,  E[phi(q) . phi(k)] = exp(q . k / sqrt K)

    Choromanski et al. 2021, arXiv 2009.14794 (FAVOR+). W has orthogonal rows (`nn.orthogonal_gaussian`).

    Every query is divided by the sum of its features, which cancels. So does one constant for all keys, and
    the largest sum of features of a key so far is one: with c_t its logarithm,

        S_t = exp(c_(t-1) - c_t) S_(t-1) + exp(log phi(k_t) - c_t) [v_t, 1]^T

    which is linear attention with a decay by token. (The largest of the whole sequence would leak the future
    through rounding and, with an epsilon in the denominator, outright.) Nothing is added to the denominator
    and it has no floor but underflow: a query whose features meet those of the keys at less than 1e-30
    (1e-292 in float64), both as parts of their sums, reads 0.

    The estimate is poor where |q||k| is large: with normal q and k of K = 64, m = 266, its relative error is
    0.69, at twice that size 0.97. Normalise queries and keys there.

    In training mode W is drawn anew after `redraw_every` calls that begin a sequence, or by
    `projection.redraw()`; a state of other features is refused. Calls that continue a state never redraw. A
    traced call, and one whose activations are computed again in the backward, need `redraw_every=None` and
    explicit redraws between steps.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, features, redrawing, form.
        causal: Whether token t sees the tokens up to t alone.

    Cost per head: O(T m (K + V)) for `recurrent` and `chunk`, which makes features block by block;
    O(T^2 (m + V)) for `parallel`.

    Raises:
        ValueError: `heads` does not divide `dim`; a state of other random features.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("performer", dim=16, heads=2).eval()
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)
        True
    """

    def __init__(self, dim: int, config: PerformerConfig | None = None, *, causal: bool = True) -> None:
        config = config or PerformerConfig()
        forms: tuple[Form, ...] = ("naive", "parallel", "chunk", "recurrent")
        forms = forms if causal else forms[:2]
        super().__init__("performer", dim, config.heads, causal=causal, forms=forms, form=config.form)
        paired, width = config.kernel == "hyperbolic", self.head_dim
        features = config.num_features or max(width, round(width * math.log(width)))
        rows = -(-features // 2) if paired else features
        self.num_features = 2 * rows if paired else rows
        self.projection = RandomProjection(
            rows, width, scaling=config.scaling, redraw_every=config.redraw_every
        )
        self.config = config

    def mix(self, x, state, valid):
        """Project, attend, project."""
        if state is None:
            self.projection.advance()
        qkv = self.project(x)
        o, state = self.attend(*qkv.unbind(2), state=state, valid=valid)
        return self.out(o.flatten(2)), state

    def attend(
        self,
        q: Float[Tensor, "B T H K"],
        k: Float[Tensor, "B T H K"],
        v: Float[Tensor, "B T H K"],
        *,
        state: PerformerState | None = None,
        valid: Bool[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T H K"], PerformerState | None]:
        """The mixer between its projections, with the features as they are drawn: o and the state after."""
        exact = ops.accumulator_dtype(v.dtype)
        queries, keys, values = (part.to(exact) for part in (q, k, v))
        weight = self.projection.weight.to(exact) * self.head_dim**-0.25
        mask = None if valid is None else valid[:, :, None]
        with ops.without_autocast(v.device):
            if self.causal:
                start = self._zeros(len(v), exact, v.device) if state is None else state
                o, memory, peak = self._causal(queries, keys, values, weight, start, mask)
                draw = self.projection.draw.expand(len(v)).clone()  # a redraw is in place
                draw = draw if mask is None else torch.where(mask.any(1)[:, 0], draw, start.draw)
                state = PerformerState(memory, torch.where(draw[:, None] != 0, peak, 0), draw)
            else:
                o = self._bidirectional(queries, keys, values, weight, mask)
        return o.to(v.dtype), state

    def _causal(self, q, k, values, weight, state, mask):
        """The op on logarithms that are made block by block, so that a block's stay in the cache."""
        wide = q[..., :1].expand(*q.shape[:3], self.num_features)
        plan = ops.linear_attention_plan(wide, wide, values, form=self.form)
        self.last_form = plan.form
        size = BLOCK if plan.form in ("compiled", "chunk") else q.shape[1]
        after = state.memory, torch.where(state.draw[:, None] != 0, state.peak, -math.inf)
        masks = repeat(None) if mask is None else mask.split(size, 1)
        outputs = []
        for qc, kc, vc, valid in zip(*(t.split(size, 1) for t in (q, k, values)), masks, strict=False):
            logs = self._logs(qc, weight), self._logs(kc, weight)
            o, after = ops.favor_attention(
                *logs, vc, self._log_weights(kc, valid), initial_state=after, form=plan.form
            )
            outputs.append(o)
        return torch.cat(outputs, 1), *after

    def _bidirectional(self, q, k, values, weight, mask):
        self.last_form = form = "naive" if self.form == "naive" else "parallel"
        logs = self._logs(q, weight), self._logs(k, weight)
        return ops.global_favor_attention(*logs, values, self._log_weights(k, mask), form=form)

    def _logs(self, x, weight):
        """log phi(x) without what a token's features have in common: `(batch, length, heads, features)`.

        The features of one head lie together in memory, as products by head read them.
        """
        logits = x.transpose(1, 2) @ weight.mT
        if self.config.kernel == "relu":
            logits = (logits.relu() + 1e-3).log()
        elif self.config.kernel == "hyperbolic":
            logits = torch.cat([logits, -logits], -1)
        return logits.transpose(1, 2)

    def _log_weights(self, k, mask):
        """What the features of a key have in common: `(batch, length, heads)`."""
        relu = self.config.kernel == "relu"
        logs = k.new_zeros(k.shape[:3]) if relu else k.square().sum(-1) / (-2 * self.head_dim**0.5)
        return logs if mask is None else torch.where(mask, logs, -math.inf)

    def _check_state(self, x, state):
        super()._check_state(x, state)
        # Reading the numbers would break tracing; they are compared where they can be read.
        if not torch.compiler.is_compiling():
            other = (state.draw != 0) & (state.draw != self.projection.draw)
            if other.any():
                raise ValueError(
                    "state.draw: expected a state made with this mixer's present random features, got one "
                    "of another draw; after a redraw begin with state=None"
                )

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        if not self.causal:
            return None
        weight = self.qkv.weight
        return self._zeros(batch, ops.accumulator_dtype(dtype or weight.dtype), device or weight.device)

    def _zeros(self, batch, dtype, device):
        shape = batch, self.heads, self.num_features, self.head_dim + 1
        return PerformerState(
            torch.zeros(shape, dtype=dtype, device=device),
            torch.zeros(batch, self.heads, dtype=dtype, device=device),
            torch.zeros(batch, dtype=torch.int64, device=device),
        )

    def state_size(self, length):
        """Independent of `length`."""
        numbers = self.heads * (self.num_features * (self.head_dim + 1) + 1)
        itemsize = ops.accumulator_dtype(self.qkv.weight.dtype).itemsize
        return itemsize * numbers + 8 if self.causal else 0

    def cost(self, length):
        """The quadratic form against the linear ones, features included."""
        features, values = self.num_features, self.head_dim + 1
        made, memory = 4 * length * features * self.head_dim, features * values
        pairs, bytes_ = 2 * length * length * (features + values), 4 * self.heads
        linear = Cost(self.heads * (made + 4 * length * memory), bytes_ * memory)
        return {
            "parallel": Cost(self.heads * (made + pairs), bytes_ * length * (length + 2 * features)),
            "chunk": linear,
            "recurrent": linear,
        }
