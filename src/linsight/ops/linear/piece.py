"""What a piece of a row does to the state of linear attention."""

import torch
import torch.nn.functional as F
from torch import Tensor

from linsight.ops.linear.features import check_feature_map, elu1
from linsight.ops.linear.precision import accumulator_dtype, without_autocast
from linsight.ops.pieces import Piece

__all__ = ["linear_attention_piece"]


def linear_attention_piece(
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    *,
    normalise: bool = False,
    feature_map: str = "identity",
) -> Piece:
    """The map S_0 -> S_T of `linear_attention` on these tokens, from no queries and for no outputs.

        S_T = diag(exp sum_t g_t) S_0 + sum_t diag(exp sum_(s > t) g_s) k_t v_t^T

    Args:
        k, v, log_decay, normalise, feature_map: As in `linear_attention`, on `(B, T, H, ...)`, T >= 1.

    Returns:
        written `(B, H, K, W)` and decay `(B, H, K or 1, 1)`, None without decay; float32, or float64 where k
        or v is.

    Cost a head: one product, O(T K V); sums of log-decays run from the end, so that no exponent is positive
    and nothing is subtracted.
    """
    check_feature_map(feature_map)
    exact = accumulator_dtype(k.dtype, v.dtype)
    k, v = (elu1(k) if feature_map == "elu1" else k).to(exact), v.to(exact)
    if normalise:
        v = F.pad(v, (0, 1), value=1.0)
    decay = None
    if log_decay is not None:
        g = log_decay.to(exact)
        g = g.expand(k.shape[:3]) if g.ndim == 1 else g
        g = g.unsqueeze(-1) if g.ndim == 3 else g
        left = g.flip(1).cumsum(1).flip(1)
        k = k * F.pad(left[:, 1:], (0, 0, 0, 0, 0, 1)).exp()
        decay = left[:, 0].exp().unsqueeze(-1)
    with without_autocast(k.device):
        return Piece(torch.einsum("bthk,bthv->bhkv", k, v), decay)
