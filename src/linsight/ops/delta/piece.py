"""What a piece of a row does to the memory of the delta rule."""

import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.ops.delta.rule import delta_rule
from linsight.ops.linear.precision import accumulator_dtype
from linsight.ops.pieces import Piece

__all__ = ["delta_rule_piece"]


def delta_rule_piece(
    k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor | None = None, *, form: str = "auto"
) -> Piece:
    """The map S_0 -> S_T of `delta_rule` on these tokens, its decay the matrix prod_t (I - beta k k^T) e^g.

    The rule treats the columns of S alike and apart, so K columns more, whose values are zero and which start
    from I, end as the matrix: one call with V + K values gives both.

    Args:
        k, v, beta, log_decay, form: As in `delta_rule`.

    Returns:
        written `(B, H, K, V)` and decay `(B, H, K, K)`, a matrix.

    Cost: that of `delta_rule` with V + K values.
    """
    batch, _, heads, keys = k.shape
    values = v.shape[-1]
    exact = accumulator_dtype(k.dtype, v.dtype)
    start = F.pad(torch.eye(keys, dtype=exact, device=k.device), (values, 0))
    start = start.expand(batch, heads, keys, values + keys)
    _, end = delta_rule(k, k, F.pad(v, (0, keys)), beta, log_decay, initial_state=start, form=form)
    written, decay = end.split([values, keys], dim=-1)
    return Piece(written, decay, matrix=True)
