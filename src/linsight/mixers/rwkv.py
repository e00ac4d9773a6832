"""What the mixers of RWKV-6 and RWKV-7 share: their place in the stack, curves of channels, hints."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops
from linsight.mixers.base import Form, Mixer, MixerConfig
from linsight.mixers.heads import head_width
from linsight.mixers.recurrence import check_causal

__all__ = ["RWKVConfig", "RWKVMixer", "channels"]


@dataclass(frozen=True)
class RWKVConfig(MixerConfig):
    """Heads and the place in the stack, on which the initial values depend; a stack sets the place itself."""

    directions: ClassVar[tuple[bool, ...]] = (True,)
    heads: int = 4
    layer: int = 0
    num_layers: int = 1
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse places that do not exist, and ranks below 1."""
        if not 0 <= self.layer < self.num_layers:
            raise ValueError(
                f"layer: expected 0 to num_layers - 1, got layer {self.layer} and num_layers "
                f"{self.num_layers}: the initial values depend on where a layer stands"
            )
        for name, value in vars(self).items():
            if name.endswith("rank") and value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")

    def at(self, layer: int, num_layers: int) -> Any:
        """The configuration of this layer."""
        return replace(self, layer=layer, num_layers=num_layers)

    @property
    def depth(self) -> float:
        """0 in the first layer, 1 in the last; 0 where there is one alone."""
        return self.layer / max(self.num_layers - 1, 1)

    @property
    def height(self) -> float:
        """1 in the first layer, near 0 in the last."""
        return 1 - self.layer / self.num_layers


class RWKVMixer(Mixer):
    """Base of the two mixers: projections without biases, and a norm by head.

    Raises:
        ValueError: `causal=False`; `heads` does not divide `dim`.
    """

    keeps = ("shift",)
    state_type: ClassVar[Any]
    """Of the state: a NamedTuple of `shift` and `memory`."""
    eps = 64e-5
    """Of the norm: 1e-5 times the square of 8, by which the original scales heads of 64."""

    def __init__(self, kind: str, dim: int, config: RWKVConfig, *, causal: bool, forms: tuple[Form, ...]):
        check_causal(kind, causal)
        super().__init__(dim, causal=True, forms=forms, form=config.form)
        self.config = config
        self.heads = config.heads
        self.head_dim = head_width(kind, dim, config.heads)
        self.receptance = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        self.ln_x = nn.GroupNorm(self.heads, dim, eps=self.eps)
        nn.init.constant_(self.ln_x.weight, ((config.layer + 1) / config.num_layers) ** 0.7)

    def set_free(self, *, fast: str) -> None:
        """Leave every weight but those of linear maps undecayed; `fast` learns twice as fast."""
        self.hint(*(name for name, _ in self.named_parameters(recurse=False)), decay=False)
        self.hint(fast, lr_scale=2)

    @property
    def out(self) -> nn.Linear:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last projection."""
        return self.output

    def split(self, x: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length heads head_dim"]:
        """Channels by head."""
        return x.unflatten(-1, (self.heads, self.head_dim))

    def normed(self, o: Float[Tensor, "batch length heads head_dim"]) -> Float[Tensor, "batch length dim"]:
        """The norm by head, in o's dtype."""
        weight, bias = self.ln_x.weight.to(o.dtype), self.ln_x.bias.to(o.dtype)
        flat = F.group_norm(o.flatten(2).flatten(0, 1), self.heads, weight, bias, self.eps)
        return flat.unflatten(0, o.shape[:2])

    def initial_state(self, batch, *, dtype=None, device=None):
        """Zeros."""
        weight, width = self.key.weight, self.head_dim
        dtype, device = dtype or weight.dtype, device or weight.device
        exact = ops.accumulator_dtype(dtype)
        return self.state_type(
            torch.zeros(batch, self.dim, dtype=dtype, device=device),
            torch.zeros(batch, self.heads, width, width, dtype=exact, device=device),
        )

    def state_size(self, length):
        """Independent of `length`."""
        dtype = self.key.weight.dtype
        return self.dim * (dtype.itemsize + self.head_dim * ops.accumulator_dtype(dtype).itemsize)


def channels(dim: int, *, last: bool) -> Float[Tensor, "1 1 dim"]:
    """n / dim for every channel n, or n / (dim - 1), which is 1 in the `last`."""
    return (torch.arange(dim) / (max(dim - 1, 1) if last else dim)).reshape(1, 1, dim)
