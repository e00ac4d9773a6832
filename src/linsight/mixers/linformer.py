"""Linformer: softmax attention over a fixed number of learned mixtures of the keys and values."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.heads import HeadedMixer

__all__ = ["Linformer", "LinformerConfig"]


@dataclass(frozen=True)
class LinformerConfig(MixerConfig):
    """Linformer: `heads`, the longest row `n_max`, and how many projected keys stand for it."""

    kind: Literal["linformer"] = "linformer"
    directions: ClassVar[tuple[bool, ...]] = (False,)
    heads: int = 4
    n_max: int = 1024
    """The most tokens of a row."""
    num_projected: int = 64
    """Projected keys and values k of a head; at most `n_max`."""
    sharing: Literal["none", "headwise", "kv"] = "headwise"
    """`none`: E and F for every head; `headwise`: one E and one F; `kv`: one matrix that is both."""
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse projections that do not exist."""
        if self.sharing not in ("none", "headwise", "kv"):
            raise ValueError(f"sharing: expected 'none', 'headwise' or 'kv', got {self.sharing!r}")
        if not 1 <= self.num_projected <= self.n_max:
            raise ValueError(f"num_projected: expected 1 to n_max {self.n_max}, got {self.num_projected}")

    def build(self, dim: int, *, causal: bool = True) -> "Linformer":
        """The mixer for tokens of width `dim`; `causal` must be False."""
        return Linformer(dim, self, causal=causal)


class Linformer(HeadedMixer):
    """O = softmax(Q (E K)^T / sqrt K) (F V), per head, with learned E and F of shape (k, n_max).

    Wang, Li, Khabsa, Fang, Ma 2020, arXiv 2006.04768, equation 7. A row of T < n_max tokens uses the first T
    columns of E and F: columns belong to positions, so the mixer sees order. Padded tokens have keys and
    values of 0 and so no part in E K and F V.

    Deviation: the paper's layerwise sharing, one matrix for all layers, is a matter of a whole network and is
    left out. E and F begin as N(0, 1 / n_max), so that E K of a full row has the size of K.

    Never causal: every projected key is a mixture of all positions, past and future.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, n_max, projected keys, sharing, form.
        causal: Must be False.

    Cost per head: O(T k K) time, O(T k) memory at most; no state. Parameters beside the four projections:
    k n_max for `kv`, twice that for `headwise`, and for every head for `none`.

    Raises:
        ValueError: `causal=True`; `heads` does not divide `dim`; in a call, more than n_max tokens.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("linformer", dim=16, heads=2, causal=False, n_max=100, num_projected=8)
        >>> y, state = mixer(torch.randn(1, 70, 16))
        >>> y.shape, state
        (torch.Size([1, 70, 16]), None)
    """

    project_values: nn.Parameter | None

    def __init__(self, dim: int, config: LinformerConfig | None = None, *, causal: bool = False) -> None:
        config = config or LinformerConfig()
        super().__init__(
            "linformer", dim, config.heads, causal=causal, forms=("naive", "parallel"), form=config.form
        )
        if causal:
            raise ValueError(
                "causal: mixer 'linformer' is never causal, since each projected key mixes all positions, "
                "those after a token too; expected causal=False, got True"
            )
        self.max_length = config.n_max
        shape = (config.heads if config.sharing == "none" else 1, config.num_projected, config.n_max)
        self.project_keys = nn.Parameter(torch.randn(shape) * config.n_max**-0.5)
        values = None if config.sharing == "kv" else nn.Parameter(torch.randn(shape) * config.n_max**-0.5)
        self.register_parameter("project_values", values)
        self.config = config

    def mix(self, x, state, valid):
        """Project, shorten, attend, project. Padded tokens are 0, and so are their keys and values."""
        length = x.shape[1]
        if length > self.config.n_max:
            raise ValueError(f"x: expected at most n_max {self.config.n_max} tokens, got {length}")
        q, k, v = self.project(x).transpose(1, 3).unbind(2)
        e = self.project_keys[..., :length]
        f = e if self.project_values is None else self.project_values[..., :length]
        if self.form == "naive":
            self.last_form = "naive"
            exact = ops.accumulator_dtype(q.dtype)
            wide = (t.to(exact) for t in (q, k, v, e, f))
            o = _attended(*wide).to(q.dtype)
        else:
            self.last_form = "parallel"
            o = F.scaled_dot_product_attention(q, e @ k, f @ v)
        return self.out(o.transpose(1, 2).flatten(2)), None

    def initial_state(self, batch, *, dtype=None, device=None):
        """None: there is no state."""
        return None

    def state_size(self, length):
        """Nothing."""
        return 0

    def cost(self, length):
        """Linear in `length` in the one efficient form."""
        projected = self.config.num_projected
        return {"parallel": Cost(8 * length * projected * self.dim, 4 * self.heads * length * projected)}


def _attended(q: Tensor, k: Tensor, v: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """The definition: projected tokens as sums over positions, then one query at a time."""
    keys = sum(e[..., t, None] * k[:, :, t, None] for t in range(k.shape[2]))
    values = sum(f[..., t, None] * v[:, :, t, None] for t in range(v.shape[2]))
    rows = []
    for t in range(q.shape[2]):
        weights = ((q[:, :, t, None] * keys).sum(-1) / q.shape[-1] ** 0.5).softmax(-1)
        rows.append((weights[..., None] * values).sum(2))
    return torch.stack(rows, 2)
