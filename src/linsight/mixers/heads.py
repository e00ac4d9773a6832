"""What mixers of equal heads share: one projection to queries, keys and values, and one back."""

from jaxtyping import Float
from torch import Tensor, nn

from linsight.mixers.base import Form, Mixer

__all__ = ["HeadedMixer", "head_width"]


class HeadedMixer(Mixer):
    """Base of mixers whose heads have equal widths: `qkv` and `out`, two linear maps without biases.

    Args:
        kind: The mixer's name, for messages.
        dim: Width of the tokens; `heads` must divide it.
        heads: Heads.
        causal, forms, form: As in `Mixer`.

    Raises:
        ValueError: `heads` does not divide `dim`.
    """

    def __init__(
        self,
        kind: str,
        dim: int,
        heads: int,
        *,
        causal: bool,
        forms: tuple[Form, ...],
        form: Form = "auto",
    ) -> None:
        super().__init__(dim, causal=causal, forms=forms, form=form)
        self.heads = heads
        self.head_dim = head_width(kind, dim, heads)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def project(self, x: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length 3 heads head_dim"]:
        """Queries, keys and values, stacked along the third axis."""
        return self.qkv(x).unflatten(-1, (3, self.heads, self.head_dim))


def head_width(kind: str, dim: int, heads: int) -> int:
    """How wide each of `heads` equal heads is.

    Raises:
        ValueError: They do not share `dim` equally; names the nearest widths that they do.
    """
    if heads < 1:
        raise ValueError(f"mixer {kind!r}: expected heads of at least 1, got {heads}")
    if dim % heads:
        below = dim - dim % heads
        near = f"{below} or {below + heads}" if below else f"{heads}"
        raise ValueError(f"mixer {kind!r}: dim {dim} is not divisible by heads {heads}; use dim {near}")
    return dim // heads
