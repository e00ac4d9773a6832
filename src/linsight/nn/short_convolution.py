"""A causal convolution of a few taps, channel by channel, that is called as a mixer is."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from linsight import ops
from linsight.nn.ranks import AcrossRanks

__all__ = ["ShortConvolution"]


class ShortConvolution(AcrossRanks, nn.Conv1d):
    """y_t = bias + sum_i weight_i x_(t - taps + 1 + i), channel by channel; x before the first token is 0.

    As in Gu, Dao 2023, arXiv 2312.00752, section 3.4. It obeys the split law: `y, state = conv(x, state)`
    for any length >= 1. The parameters and their initialisation are those of `torch.nn.Conv1d(channels,
    channels, taps, groups=channels)`: `weight` `(channels, 1, taps)`, its last tap the token's own, and
    `bias` `(channels,)`.

    The state is the last `taps - 1` inputs as they came, before convolution and activation, oldest first:
    `(batch, taps - 1, channels)`.

    Deviation: the original keeps `taps` inputs, the oldest of which no later token sees.

    Args:
        channels: Width of x.
        taps: Tokens that one output sees.
        bias: Whether there is one.

    Cost: O(length taps channels). Sums are float32 (float64 for float64 x), whatever the autocast. It is
    `ops.short_convolution`.

    Raises:
        ValueError: Channels or taps below 1.

    Example:
        >>> conv = ShortConvolution(8, taps=3)
        >>> x = torch.randn(1, 6, 8)
        >>> whole, _ = conv(x)
        >>> first, state = conv(x[:, :1])
        >>> rest, state = conv(x[:, 1:], state)
        >>> torch.equal(whole, torch.cat([first, rest], dim=1)), state.shape
        (True, torch.Size([1, 2, 8]))
    """

    def __init__(self, channels: int, taps: int = 4, *, bias: bool = True) -> None:
        for name, value in (("channels", channels), ("taps", taps)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        super().__init__(channels, channels, taps, groups=channels, bias=bias)
        self.taps = taps

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        x: Float[Tensor, "batch length channels"],
        state: Float[Tensor, "batch held channels"] | None = None,
        valid: Bool[Tensor, "batch length"] | None = None,
    ) -> tuple[Float[Tensor, "batch length channels"], Float[Tensor, "batch held channels"]]:
        """Convolve, continuing from `state`.

        Args:
            x: Inputs, in any length >= 1.
            state: What an earlier call returned, or None for the beginning.
            valid: Which inputs are tokens, those on the left of each row; None for all. y is free where it is
                False, and the state is that after the row's last token.
        """
        lengths = None if valid is None else valid.sum(1)
        if self.group is None:
            return ops.short_convolution(
                x, self.weight.squeeze(1), self.bias, initial_state=state, lengths=lengths
            )
        before = self.initial_state(len(x), dtype=x.dtype) if state is None else state.to(x.dtype)
        before, after = self.group.before_and_after(self.piece(x, valid), before)
        y, _ = ops.short_convolution(x, self.weight.squeeze(1), self.bias, initial_state=before)
        return y, after

    def piece(
        self, x: Float[Tensor, "batch length channels"], valid: Bool[Tensor, "batch length"] | None = None
    ) -> ops.Piece:
        """What these inputs do to the state: n of them shift it by n places, and stand in the last n."""
        held, length = self.taps - 1, x.shape[1]
        lengths = None if valid is None else valid.sum(1)
        count = x.new_full((len(x),), length, dtype=torch.int64) if lengths is None else lengths
        places = torch.arange(held, device=x.device)
        shift = places == places[:, None] + count[:, None, None]
        return ops.Piece(ops.last_inputs(x, None, held, lengths), shift.to(x.dtype), matrix=True)

    def initial_state(
        self, batch: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Float[Tensor, "batch held channels"]:
        """Zeros: what is before the first token."""
        weight = self.weight
        return torch.zeros(
            batch, self.taps - 1, len(weight), dtype=dtype or weight.dtype, device=device or weight.device
        )
