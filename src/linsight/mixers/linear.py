"""Linear attention: softmax dropped, the product taken from right to left."""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.heads import HeadedMixer
from linsight.nn import feature_map

__all__ = ["LinearAttention", "LinearAttentionConfig", "LinearAttentionState"]


@dataclass(frozen=True)
class LinearAttentionConfig(MixerConfig):
    """Linear attention: `heads`, the feature map of `linsight.nn.feature_map`, and the normaliser."""

    kind: Literal["linear"] = "linear"
    heads: int = 4
    feature_map: str = "elu1"
    normalise: bool | None = None
    """Divide by the sum of similarities; None means wherever the feature map allows it."""
    form: Form = "auto"

    def build(self, dim: int, *, causal: bool = True) -> "LinearAttention":
        """The mixer for tokens of width `dim`."""
        return LinearAttention(dim, self, causal=causal)


class LinearAttentionState(NamedTuple):
    """The sum of phi(k) v^T over all tokens so far.

    `memory`: `(batch, heads, features, head_dim + 1)`, float32; the last column sums phi(k) alone and is the
    normaliser (absent without one). Its size does not depend on the number of tokens.
    """

    memory: Float[Tensor, "batch heads features values"]


class LinearAttention(HeadedMixer):
    """Attention whose similarity is an inner product phi(q) . phi(k), linear in the number of tokens.

        S_t = S_(t-1) + phi(k_t) v_t^T,  z_t = z_(t-1) + phi(k_t),  o_t = S_t^T phi(q_t) / (phi(q_t) . z_t)

    Katharopoulos, Vyas, Pappas, Fleuret 2020, arXiv 2006.16236. The denominator is floored at 1e-6, so that
    an all-zero phi(q) gives 0 and not NaN. With `causal=False` the sums run over all tokens of the row.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, feature map, normaliser, form.
        causal: Whether token t sees the tokens up to t alone.

    Cost per head with K features and V values: O(T K V) for `recurrent` and `chunk`, O(T^2 (K + V)) for
    `parallel` and `naive`-sized checks. State: 4 K (V + 1) bytes per head.

    Raises:
        ValueError: `heads` does not divide `dim`; an unknown feature map; a signed one with normalise.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("linear", dim=16, heads=2)
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)
        True
    """

    spreads = True

    def __init__(self, dim: int, config: LinearAttentionConfig | None = None, *, causal: bool = True) -> None:
        config = config or LinearAttentionConfig()
        forms: tuple[Form, ...] = ("naive", "parallel", "chunk", "recurrent")
        forms = forms if causal else forms[:2]
        super().__init__("linear", dim, config.heads, causal=causal, forms=forms, form=config.form)
        self.phi = feature_map(config.feature_map)
        self.normalise = self.phi.positive if config.normalise is None else config.normalise
        if self.normalise and not self.phi.positive:
            raise ValueError(
                f"mixer 'linear': normalise=True needs a non-negative feature map, and "
                f"{config.feature_map!r} is signed, so its sum passes through 0; use normalise=False"
            )
        self.config = config

    def mix(self, x, state, valid):
        """Project, map, sum, divide, project."""
        qk, v = self.project(x).split([2, 1], dim=2)
        v = v.squeeze(2)
        # The causal op knows this map, and a kernel of it computes it where it reads q and k.
        later = self.causal and self.config.feature_map == "elu1"
        q, k = (qk if later else self.phi.apply(qk)).unbind(2)
        if valid is not None:
            k = torch.where(valid[:, :, None, None], k, -torch.inf if later else 0)
        if self.causal:
            memory = None if state is None else state.memory
            self.last_form = ops.linear_attention_plan(q, k, v, form=self.form).form
            options = {"normalise": self.normalise, "feature_map": "elu1" if later else "identity"}
            o, memory = self.recur(
                partial(ops.linear_attention, q, k, v, form=self.form, **options),
                memory,
                lambda: ops.linear_attention_piece(k, v, **options),
            )
            state = LinearAttentionState(memory)
        else:
            self.last_form = form = "naive" if self.form == "naive" else "parallel"
            o = ops.global_linear_attention(q, k, v, normalise=self.normalise, form=form)
        return self.out(o.flatten(2)), state

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        if not self.causal:
            return None
        weight = self.qkv.weight
        return LinearAttentionState(
            torch.zeros(
                (batch, self.heads, *self._memory_shape),
                dtype=ops.accumulator_dtype(dtype or weight.dtype),
                device=device or weight.device,
            )
        )

    def state_size(self, length):
        """Independent of `length`."""
        features, values = self._memory_shape
        itemsize = ops.accumulator_dtype(self.qkv.weight.dtype).itemsize
        return itemsize * self.heads * features * values if self.causal else 0

    def cost(self, length):
        """The quadratic form against the linear ones."""
        features, values = self._memory_shape
        pair, token = 2 * (features + values), 4 * features * values
        return {
            "parallel": Cost(self.heads * length * length * pair, 4 * self.heads * length * length),
            "chunk": Cost(self.heads * length * token, 4 * self.heads * features * values),
            "recurrent": Cost(self.heads * length * token, 4 * self.heads * features * values),
        }

    @property
    def _memory_shape(self) -> tuple[int, int]:
        return self.phi.num_features(self.head_dim), self.head_dim + self.normalise
