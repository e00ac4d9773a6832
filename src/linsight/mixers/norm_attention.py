"""NormAttention: linear attention whose outputs a norm brings to size, and no denominator."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.heads import HeadedMixer
from linsight.nn import simple_rms_norm

__all__ = ["NormAttention", "NormAttentionConfig", "NormAttentionState"]


@dataclass(frozen=True)
class NormAttentionConfig(MixerConfig):
    """NormAttention: `heads`, the `variant` of TransNormer, and the norm's `eps`."""

    kind: Literal["norm_attention"] = "norm_attention"
    heads: int = 4
    variant: Literal["t1", "t2"] = "t2"
    """What is applied to queries and keys: elu (t1), or 1 + elu (t2)."""
    eps: float = 1e-6
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse variants that do not exist, and an eps that does not keep zeros from dividing by zero."""
        if self.variant not in ("t1", "t2"):
            raise ValueError(f"variant: expected 't1' or 't2', got {self.variant!r}")
        if not self.eps > 0:
            raise ValueError(f"eps: expected above 0, got {self.eps}")

    def build(self, dim: int, *, causal: bool = True) -> "NormAttention":
        """The mixer for tokens of width `dim`."""
        return NormAttention(dim, self, causal=causal)


class NormAttentionState(NamedTuple):
    """The sum of act(k) v^T over all tokens so far, by head: `(batch, heads, head_dim, head_dim)`, float32.

    Bytes per sequence: 4 * dim * head_dim, whatever the length.
    """

    memory: Float[Tensor, "batch heads features values"]


class NormAttention(HeadedMixer):
    """O = SimpleRMSNorm(concat_heads(act(Q) (act(K)^T V))), SimpleRMSNorm(x) = x / sqrt(mean(x^2) + eps).

    Qin et al. 2022, arXiv 2210.10340, section 4.1 (TransNormer): a denominator of similarities makes the
    gradients of linear attention unbounded, and the norm that takes its place runs over the full embedding,
    all heads together, without weights. v is not activated, and there is no scale. t1's similarities may be
    negative, which only a mixer without a denominator allows. With `causal=False` the sums run over all
    tokens of the row.

    Sums and norm are computed in float32 (float64 for float64 x): without a denominator they grow with the
    length, past float16's 65,504.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, variant, eps, form.
        causal: Whether token t sees the tokens up to t alone.

    Cost per head: O(T K V) for `recurrent` and `chunk`, O(T^2 (K + V)) for `parallel` (as the authors' causal
    layer).

    Raises:
        ValueError: `heads` does not divide `dim`.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("norm_attention", dim=16, heads=2, variant="t1")
        >>> x = torch.randn(1, 5, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-5)
        True
    """

    def __init__(self, dim: int, config: NormAttentionConfig | None = None, *, causal: bool = True) -> None:
        config = config or NormAttentionConfig()
        forms: tuple[Form, ...] = ("naive", "parallel", "chunk", "recurrent")
        forms = forms if causal else forms[:2]
        super().__init__("norm_attention", dim, config.heads, causal=causal, forms=forms, form=config.form)
        self.config = config

    def mix(self, x, state, valid):
        """Project, activate, sum, normalise, project."""
        qkv = self.project(x)
        q, k, v = qkv.to(ops.accumulator_dtype(qkv.dtype)).unbind(2)
        q, k = F.elu(q), F.elu(k)
        if self.config.variant == "t2":
            q, k = q + 1, k + 1
        if valid is not None:
            k = torch.where(valid[:, :, None, None], k, 0)
        if self.causal:
            memory = None if state is None else state.memory
            self.last_form = ops.linear_attention_plan(q, k, v, form=self.form).form
            o, memory = ops.linear_attention(q, k, v, initial_state=memory, form=self.form)
            state = NormAttentionState(memory)
        else:
            self.last_form = form = "naive" if self.form == "naive" else "parallel"
            o = ops.global_linear_attention(q, k, v, form=form)
        return self.out(simple_rms_norm(o.flatten(2), self.config.eps).to(qkv.dtype)), state

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        if not self.causal:
            return None
        weight, width = self.qkv.weight, self.head_dim
        dtype, device = ops.accumulator_dtype(dtype or weight.dtype), device or weight.device
        return NormAttentionState(torch.zeros(batch, self.heads, width, width, dtype=dtype, device=device))

    def state_size(self, length):
        """Independent of `length`."""
        itemsize = ops.accumulator_dtype(self.qkv.weight.dtype).itemsize
        return itemsize * self.dim * self.head_dim if self.causal else 0

    def cost(self, length):
        """The quadratic form against the linear ones."""
        width = self.head_dim
        pair, token, bytes_ = 4 * width, 4 * width * width, 4 * self.dim * width
        return {
            "parallel": Cost(self.heads * length * length * pair, 4 * self.heads * length * length),
            "chunk": Cost(self.heads * length * token, bytes_),
            "recurrent": Cost(self.heads * length * token, bytes_),
        }
