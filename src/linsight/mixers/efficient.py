"""Efficient attention: softmax over the features of queries and over the positions of keys."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.heads import HeadedMixer

__all__ = ["EfficientAttention", "EfficientAttentionConfig", "EfficientAttentionState"]

NONE = -1e30
"""The logarithm of a sum of no terms: -inf that can be subtracted from itself."""


@dataclass(frozen=True)
class EfficientAttentionConfig(MixerConfig):
    """Efficient attention: `heads`."""

    kind: Literal["efficient"] = "efficient"
    heads: int = 4
    form: Form = "auto"

    def build(self, dim: int, *, causal: bool = True) -> "EfficientAttention":
        """The mixer for tokens of width `dim`."""
        return EfficientAttention(dim, self, causal=causal)


class EfficientAttentionState(NamedTuple):
    """What the softmax over positions has summed so far, by head and feature of the keys; zeros at first.

    `memory` `(batch, heads, head_dim, head_dim + 1)`, float32: sums of exp(k - peak) v^T, and in the last
    column of exp(k - peak) alone, 0 for a row without tokens. `peak` `(batch, heads, head_dim)`, float32: the
    largest key. Bytes per sequence: 4 * dim * (head_dim + 2), whatever the length.
    """

    memory: Float[Tensor, "batch heads features values"]
    peak: Float[Tensor, "batch heads features"]


class EfficientAttention(HeadedMixer):
    """O = softmax_features(Q) (softmax_positions(K)^T V), per head.

    Shen et al. 2018, arXiv 1812.01243, section 3: every feature of the keys distributes a weight of 1 over
    the positions, every query one over the features. No factor 1 / sqrt K.

    Published without a causal form. Here token t has the softmax over positions 1..t, exactly: with
    L_t = log sum_(j <= t) exp k_j by head and feature,

        S_t = diag(exp(L_(t-1) - L_t)) S_(t-1) + exp(k_t - L_t) v_t^T ,    o_t = softmax(q_t)^T S_t

    which is linear attention with a decay by feature. No exponent is positive: keys of any size will do.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, form.
        causal: Whether token t sees the tokens up to t alone.

    Cost per head: O(T K V) for `recurrent` and `chunk`, O(T^2 (K + V)) for `parallel`. The sums L_t are
    float64 within a call, since their terms stop counting at 1 / t < 2^-24 max |k| in float32.

    Raises:
        ValueError: `heads` does not divide `dim`.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("efficient", dim=16, heads=2)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)
        True
    """

    def __init__(
        self, dim: int, config: EfficientAttentionConfig | None = None, *, causal: bool = True
    ) -> None:
        config = config or EfficientAttentionConfig()
        forms: tuple[Form, ...] = ("naive", "parallel", "chunk", "recurrent")
        forms = forms if causal else forms[:2]
        super().__init__("efficient", dim, config.heads, causal=causal, forms=forms, form=config.form)
        self.config = config

    def mix(self, x, state, valid):
        """Project, weigh positions and features, sum, project."""
        qkv = self.project(x)
        q, k, v = qkv.to(ops.accumulator_dtype(qkv.dtype)).unbind(2)
        q = q.softmax(-1)
        mask = None if valid is None else valid[:, :, None, None]
        if mask is not None:
            k = torch.where(mask, k, NONE)
        if self.causal:
            state = self.initial_state(x.shape[0], dtype=k.dtype, device=k.device) if state is None else state
            mix = self._by_definition if self.form == "naive" else self._by_decay
            o, state = mix(q, k, v, state, mask)
        else:
            weights = k.softmax(1)  # sums to 1 over the valid positions, but in a row without any
            weights = weights if mask is None else torch.where(mask, weights, 0)
            self.last_form = form = "naive" if self.form == "naive" else "parallel"
            o = ops.global_linear_attention(q, weights, v, form=form)
        return self.out(o.flatten(2).to(qkv.dtype)), state

    def _by_definition(self, q, k, v, state, mask):
        """Token by token, every sum relative to the largest term so far."""
        self.last_form = "naive"
        memory, total, peak = _open(state)
        outputs = []
        for t in range(q.shape[1]):
            before, peak = peak, torch.maximum(peak, k[:, t])
            keep, weight = (before - peak).exp(), (k[:, t] - peak).exp()
            weight = weight if mask is None else torch.where(mask[:, t], weight, 0)
            memory = keep[..., None] * memory + weight[..., None] * v[:, t, :, None]
            total = keep * total + weight
            share = memory / torch.where(total > 0, total, 1)[..., None]
            outputs.append((q[:, t, :, :, None] * share).sum(2))
        return torch.stack(outputs, 1), _closed(memory, total, peak)

    def _by_decay(self, q, k, v, state, mask):
        """The op, with keys and decays that keep the weights of every feature at a sum of 1."""
        memory, total, peak = _open(state)
        some = torch.where(total > 0, total, 1)
        before = torch.where(total > 0, peak.double() + some.double().log(), NONE)
        logs = k.double()
        sums = torch.cat([before[:, None], logs], 1).logcumsumexp(1)
        log_decay = (sums[:, :-1] - sums[:, 1:]).to(k.dtype)
        weights = (logs - sums[:, 1:]).exp().to(k.dtype)
        weights = weights if mask is None else torch.where(mask, weights, 0)
        self.last_form = ops.linear_attention_plan(q, weights, v, log_decay, form=self.form).form
        shares = memory / some[..., None]
        o, shares = ops.linear_attention(q, weights, v, log_decay, initial_state=shares, form=self.form)
        peak = torch.maximum(peak, k.amax(1))
        total = torch.where(peak > NONE, (sums[:, -1] - peak).exp().to(k.dtype), 0)
        return o, _closed(shares * total[..., None], total, peak)

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        if not self.causal:
            return None
        weight, width = self.qkv.weight, self.head_dim
        dtype, device = ops.accumulator_dtype(dtype or weight.dtype), device or weight.device
        return EfficientAttentionState(
            torch.zeros(batch, self.heads, width, width + 1, dtype=dtype, device=device),
            torch.zeros(batch, self.heads, width, dtype=dtype, device=device),
        )

    def state_size(self, length):
        """Independent of `length`."""
        itemsize = ops.accumulator_dtype(self.qkv.weight.dtype).itemsize
        return itemsize * self.dim * (self.head_dim + 2) if self.causal else 0

    def cost(self, length):
        """The quadratic form against the linear ones."""
        width = self.head_dim
        pair, token, bytes_ = 4 * width, 4 * width * width, 4 * self.dim * width
        return {
            "parallel": Cost(self.heads * length * length * pair, 4 * self.heads * length * length),
            "chunk": Cost(self.heads * length * token, bytes_),
            "recurrent": Cost(self.heads * length * token, bytes_),
        }


def _open(state):
    """The sums of values and of weights, and the peak, `NONE` where there is no term."""
    memory, total = state.memory[..., :-1], state.memory[..., -1]
    return memory, total, torch.where(total > 0, state.peak, NONE)


def _closed(memory, total, peak):
    """The state of these, with a peak of 0 where there is no term."""
    return EfficientAttentionState(
        torch.cat([memory, total[..., None]], -1), torch.where(peak > NONE, peak, 0)
    )
