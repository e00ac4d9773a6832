"""FLASH, mixed chunk attention: a gated attention unit inside chunks, linear attention across them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from linsight import ops
from linsight.mixers.base import Cost, Form, MixerConfig
from linsight.mixers.gated import GatedMixer
from linsight.nn import rotary

__all__ = ["Flash", "FlashConfig"]


@dataclass(frozen=True)
class FlashConfig(MixerConfig):
    """FLASH: width of values over width of tokens, width of queries, the chunk, and the kernel f."""

    replaces_mlp: ClassVar[bool] = True
    kind: Literal["flash"] = "flash"
    expansion: int = 2
    key_dim: int = 128
    chunk: int = 256
    kernel: Literal["relu2", "laplace"] = "relu2"
    form: Form = "auto"

    def build(self, dim: int, *, causal: bool = True) -> "Flash":
        """The mixer for tokens of width `dim`."""
        return Flash(dim, self, causal=causal)


class Flash(GatedMixer):
    """Elementwise attention inside chunks of C tokens plus a linear sum over the closed chunks, gated.

        u = silu(x W_u), v = silu(x W_v), z = silu(x W_z); q, k, q', k' = rotary(z * gamma + beta), four pairs
        y_i = (u_i * (sum_j f(q_i . k_j / C + b_(i-j)) v_j + q'_i^T sum_m k'_m v_m^T / C)) W_o

    j over the tokens of i's chunk up to i, m over all tokens of earlier chunks. Hua, Dai, Liu, Le 2022, arXiv
    2202.10447, section 3.3, with f = relu^2, or `laplace` (Ma et al. 2022, arXiv 2209.10655). b is T5's
    relative bias. With `causal=False`, j runs over the whole chunk and m over the row, divided by its length
    instead of C. The norm before and the residual around it belong to the block.

    Nothing divides by the number of closed chunks, as in the paper: the linear part grows with the position,
    from an initial value that is small (gamma ~ 0.02).

    Args:
        dim: Width of the tokens.
        config: Widths, chunk, kernel, form.
        causal: Whether token t sees the tokens up to t alone.

    Cost, with s = key_dim and e = expansion * dim: `chunk` O(T (C (s + e) + s e)) time and O(T (C + s e / C))
    memory; a step O(C (s + e) + s e); `naive` O(T^2 (s + e)). State: 2 s e float32 numbers, C (s + e) in the
    dtype of the tokens, and the position, whatever the length: `linsight.ops.MixedState`.

    Raises:
        ValueError: An odd `key_dim`, which rotary positions cannot turn; an unknown kernel.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("flash", dim=16, key_dim=8, chunk=4)
        >>> x = torch.randn(1, 9, 16)
        >>> whole, _ = mixer(x)
        >>> first, state = mixer(x[:, :3])
        >>> second, state = mixer(x[:, 3:], state)
        >>> torch.allclose(whole, torch.cat([first, second], dim=1), atol=1e-6)
        True
    """

    keeps = ("keys", "values")

    def __init__(self, dim: int, config: FlashConfig | None = None, *, causal: bool = True) -> None:
        config = config or FlashConfig()
        if config.key_dim % 2:
            raise ValueError(f"mixer 'flash': rotary positions need an even key_dim, got {config.key_dim}")
        forms: tuple[Form, ...] = ("naive", "chunk", "recurrent") if causal else ("naive", "chunk")
        super().__init__("flash", dim, config, pairs=4, causal=causal, forms=forms)

    def mix(self, x, state, valid):
        """Project, turn, attend inside the chunk and across chunks, gate, project."""
        u, v, pairs = self.project(x)
        places = torch.arange(x.shape[1], device=x.device)[None].expand(len(x), -1)
        pairs = rotary(pairs, places if state is None else places + state.position[:, None])
        q, k, linear_q, linear_k = (part[:, :, None] for part in pairs.unbind(2))
        self.last_form = ops.block_plan(self.form, x.shape[1], causal=self.causal)
        o, state = ops.mixed_chunk_attention(
            q,
            k,
            linear_q,
            linear_k,
            v,
            chunk=self.config.chunk,
            weights=self.config.kernel,
            bias=self.bias.span(self.config.chunk),
            causal=self.causal,
            valid=valid,
            initial_state=state,
            form=self.last_form,
        )
        return self.out(u * o[:, :, 0]), state

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        if not self.causal:
            return None
        weight = self.uvz.weight
        dtype, device = dtype or weight.dtype, device or weight.device
        chunk, features, values = self.config.chunk, self.key_dim, self.value_dim
        memory = torch.zeros(batch, 1, features, values, dtype=ops.accumulator_dtype(dtype), device=device)
        keys, held = (torch.zeros(batch, chunk, 1, n, dtype=dtype, device=device) for n in (features, values))
        position = torch.zeros(batch, dtype=torch.int64, device=device)
        return ops.MixedState(memory, memory.clone(), keys, held, position)

    def state_size(self, length):
        """Independent of `length`."""
        dtype, features, values = self.uvz.weight.dtype, self.key_dim, self.value_dim
        sums = 2 * features * values * ops.accumulator_dtype(dtype).itemsize
        kept = self.config.chunk * (features + values) * dtype.itemsize
        return sums + kept + 8 if self.causal else 0

    def cost(self, length):
        """Linear in `length`."""
        chunk, features, values = self.config.chunk, self.key_dim, self.value_dim
        flops = 2 * length * (chunk * (features + values) + 2 * features * values)
        chunks = -(-length // chunk)
        costs = {"chunk": Cost(flops, 4 * (length * chunk + 2 * chunks * features * values))}
        if self.causal:
            costs["recurrent"] = Cost(flops, 4 * (chunk + features * values))
        return costs
