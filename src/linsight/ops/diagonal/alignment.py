"""Padded rows of recurrences that do not change with the token."""

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["align_right", "valid_tokens"]


def valid_tokens(x: Tensor, lengths: Int[Tensor, "B"]) -> Tensor:
    """`(B, T)`: which tokens of x `(B, T, ...)` a row has."""
    return torch.arange(x.shape[1], device=x.device) < lengths[:, None]


def align_right(x: Tensor, lengths: Int[Tensor, "B"]) -> Tensor:
    """x `(B, T, ...)` with each row's `lengths[b]` tokens moved to its end, after zeros.

    What sums up from nothing does not see zeros that come first, so the sum over an aligned row is the one
    at the row's own last token: the padding neither adds to it nor lets it decay.

    >>> align_right(torch.tensor([[1, 2, 0], [3, 4, 5]]), torch.tensor([2, 3]))
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    length = x.shape[1]
    source = torch.arange(length, device=x.device) + lengths[:, None] - length
    tail = (1,) * (x.ndim - 2)
    index = source.clamp(min=0).reshape(*source.shape, *tail).expand(-1, -1, *x.shape[2:])
    return torch.where(source.reshape(*source.shape, *tail) >= 0, x.gather(1, index), 0)
