"""What a piece of a row does to the states of a selective scan."""

from torch import Tensor

from linsight.ops.linear import accumulator_dtype
from linsight.ops.pieces import Piece
from linsight.ops.scan.selective import selective_scan

__all__ = ["selective_scan_piece"]


def selective_scan_piece(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, *, form: str = "auto") -> Piece:
    """The map h_0 -> h_T of `selective_scan` on these tokens: h_T = exp(A sum_t delta_t) h_0 + written.

    Args:
        u, delta, A, B, form: As in `selective_scan`.

    Returns:
        written and decay, `(batch, channels, states)` each.

    Cost: that of `selective_scan`, whose outputs are left unread.
    """
    _, written = selective_scan(u, delta, A, B, B, form=form)
    steps = delta.to(accumulator_dtype(written.dtype, delta.dtype)).sum(1)
    return Piece(written, (A.to(written.dtype) * steps.unsqueeze(-1)).exp())
