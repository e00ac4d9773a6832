"""The token before each token, with a state of its own."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from linsight import ops

__all__ = ["token_shift"]


def token_shift(
    x: Float[Tensor, "batch length dim"],
    last: Float[Tensor, "batch dim"] | None = None,
    valid: Bool[Tensor, "batch length"] | None = None,
) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch dim"]]:
    """x_(t-1) for every token t, and the state: the last token, which is the one before the next call's.

    Peng et al. 2023, arXiv 2305.13048, section 3.1. It obeys the split law.

    Args:
        x: Tokens, length >= 1.
        last: The state that an earlier call returned; None, the beginning, is a token of zeros.
        valid: Which places hold tokens, those on the left of each row; None for all. What is returned for the
            others is free, and the state is the row's own last token (`last` where it has none).

    Returns:
        The tokens before, `(batch, length, dim)`, and the state `(batch, dim)`, in x's dtype.

    Example:
        >>> before, last = token_shift(torch.tensor([[[1.0], [2.0], [3.0]]]))
        >>> before.flatten().tolist(), last.tolist()
        ([0.0, 1.0, 2.0], [[3.0]])
    """
    last = x.new_zeros(x.shape[0], x.shape[2]) if last is None else last.to(x.dtype)
    if valid is None:
        before = torch.cat([last.unsqueeze(1), x[:, :-1]], dim=1)
        return before, x[:, -1].clone()
    seen = torch.cat([last.unsqueeze(1), x], dim=1)
    return seen[:, :-1], ops.take(seen, valid.sum(1, keepdim=True)).squeeze(1)
