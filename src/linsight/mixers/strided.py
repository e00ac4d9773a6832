"""Strided sparse attention: the last tokens, and every stride-th token before."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Form, MixerConfig
from linsight.mixers.patterned import Combine, PatternedAttention, Positions, check_choice

__all__ = ["StridedAttention", "StridedAttentionConfig", "StridedAttentionState"]


@dataclass(frozen=True)
class StridedAttentionConfig(MixerConfig):
    """Strided attention: `heads`, the stride, how the two parts combine, and positions."""

    kind: Literal["strided"] = "strided"
    heads: int = 4
    stride: int = 32
    """About the square root of the length, or the width of the raster that the tokens are read from."""
    combine: Combine = "merged"
    part: ops.Part = "both"
    positions: Positions = "none"
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        check_choice(self.kind, "combine", self.combine, ("merged", "heads"))
        check_choice(self.kind, "part", self.part, ("both", "first", "second"))
        check_choice(self.kind, "positions", self.positions, ("none", "rotary"))
        if self.stride < 1:
            raise ValueError(f"mixer 'strided': expected stride of at least 1, got {self.stride}")

    def build(self, dim: int, *, causal: bool = True) -> "StridedAttention":
        """The mixer for tokens of width `dim`."""
        return StridedAttention(dim, self, causal=causal)


class StridedAttentionState(NamedTuple):
    """The keys and values of all tokens so far, `(batch, length, heads, head_dim)`, and how many a row has.

    Every residue class of the stride is read again, so that none can be forgotten.
    """

    keys: Float[Tensor, "batch length heads dim"]
    values: Float[Tensor, "batch length heads dim"]
    position: Int[Tensor, " batch"]


class StridedAttention(PatternedAttention):
    """Softmax attention to {i-l..i} and to {j <= i : (i - j) mod l = 0}, with the stride l.

    Child, Gray, Radford, Sutskever 2019, arXiv 1904.10509. Two layers connect every pair j <= i. With
    `causal=False`: |i - j| <= l, and all j with (i - j) mod l = 0.

    Cost: O(T (l + T / l) K) per head, T^1.5 at l = sqrt T; a step costs O((l + T / l) K). State: 2 * position
    * dim numbers in the dtype of the tokens, plus the position.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, stride, combination, part, positions, form.
        causal: Whether token t sees the tokens up to t alone.

    Raises:
        ValueError: As `PatternedAttention`; a stride below 1.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("strided", dim=16, heads=2, stride=4)
        >>> mixer(torch.randn(1, 30, 16))[0].shape
        torch.Size([1, 30, 16])
    """

    state_type = StridedAttentionState

    def __init__(
        self, dim: int, config: StridedAttentionConfig | None = None, *, causal: bool = True
    ) -> None:
        super().__init__("strided", dim, config or StridedAttentionConfig(), causal=causal)

    def pattern(self, part):
        """The stride's."""
        return ops.Strided(self.config.stride, part, self.causal)
