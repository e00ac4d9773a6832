"""Fixed sparse attention: the own block, and the last columns of the blocks before."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from linsight import ops
from linsight.mixers.base import Form, MixerConfig
from linsight.mixers.patterned import Combine, PatternedAttention, Positions, check_choice

__all__ = ["FixedAttention", "FixedAttentionConfig", "FixedAttentionState"]


@dataclass(frozen=True)
class FixedAttentionConfig(MixerConfig):
    """Fixed attention: `heads`, the blocks and their columns, how the two parts combine, and positions."""

    kind: Literal["fixed"] = "fixed"
    heads: int = 4
    stride: int = 32
    """Tokens of a block."""
    columns: int = 4
    """How many of them, the last ones, later blocks see."""
    combine: Combine = "merged"
    part: ops.Part = "both"
    positions: Positions = "none"
    form: Form = "auto"

    def __post_init__(self) -> None:
        """Refuse what does not exist."""
        check_choice(self.kind, "combine", self.combine, ("merged", "heads"))
        check_choice(self.kind, "part", self.part, ("both", "first", "second"))
        check_choice(self.kind, "positions", self.positions, ("none", "rotary"))
        if not 1 <= self.columns <= self.stride:
            raise ValueError(
                f"mixer 'fixed': expected columns from 1 to the stride {self.stride}, got {self.columns}"
            )

    def build(self, dim: int, *, causal: bool = True) -> "FixedAttention":
        """The mixer for tokens of width `dim`."""
        return FixedAttention(dim, self, causal=causal)


class FixedAttentionState(NamedTuple):
    """The keys and values of all tokens so far, `(batch, length, heads, head_dim)`, and how many a row has.

    The open block and the columns of closed ones would do, l + c T / l tokens; but where rows are at other
    places in their blocks they close at other steps, and each closing would move the whole cache.
    """

    keys: Float[Tensor, "batch length heads dim"]
    values: Float[Tensor, "batch length heads dim"]
    position: Int[Tensor, " batch"]


class FixedAttention(PatternedAttention):
    """Softmax attention to the own block of l tokens, and to the last c tokens of every earlier block.

    Child, Gray, Radford, Sutskever 2019, arXiv 1904.10509; blocks lie at absolute places, which the state
    keeps. The second part alone gives 0 to the first l - c tokens, which have nothing to attend to. With
    `causal=False`: the whole own block, and the last c tokens of every block.

    Cost: O(T (l + c T / l) K) per head; a step costs O((l + c T / l) K). State: 2 * position * dim numbers in
    the dtype of the tokens, plus the position.

    Args:
        dim: Width of the tokens; `heads` must divide it.
        config: Heads, stride, columns, combination, part, positions, form.
        causal: Whether token t sees the tokens up to t alone.

    Raises:
        ValueError: As `PatternedAttention`; columns that are not within a block.

    Example:
        >>> import torch
        >>> from linsight import mixers
        >>> mixer = mixers.build("fixed", dim=16, heads=2, stride=8, columns=2)
        >>> mixer(torch.randn(1, 30, 16))[0].shape
        torch.Size([1, 30, 16])
    """

    state_type = FixedAttentionState

    def __init__(self, dim: int, config: FixedAttentionConfig | None = None, *, causal: bool = True) -> None:
        super().__init__("fixed", dim, config or FixedAttentionConfig(), causal=causal)

    def pattern(self, part):
        """The blocks'."""
        return ops.Fixed(self.config.stride, self.config.columns, part, self.causal)
