"""Linear attention over all tokens of a row at once, past and future."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from linsight.ops.linear.arguments import check_tokens
from linsight.ops.linear.precision import accumulator_dtype, product_dtype, without_autocast
from linsight.ops.linear.undecayed import FLOOR

__all__ = ["global_linear_attention"]


def global_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float = 1.0,
    normalise: bool = False,
    form: Literal["auto", "naive", "parallel"] = "auto",
) -> Float[Tensor, "B T H V"]:
    """Linear attention in which every token reads the sum over all tokens.

        o_t = scale * q_t^T sum_s k_s v_s^T,   divided by max(scale * q_t . sum_s k_s, 1e-6) if `normalise`

    Katharopoulos et al. 2020, arXiv 2006.16236, equation 6. A token whose k is 0 is as if it were absent.

    Args:
        q: Queries `(B, T, H, K)`, feature map applied. T may be 0.
        k: Keys `(B, T, H, K)`, feature map applied.
        v: Values `(B, T, H, V)`.
        scale: Factor of the similarities.
        normalise: Divide by the sum of similarities, which must not be negative.
        form: `naive` weighs every pair of tokens, the product from left to right; `parallel` and `auto` go
            from right to left.

    Returns:
        o `(B, T, H, V)` in v's dtype; sums are float32 (float64 for float64 inputs), under autocast too.

    Cost: O(T K V) time a head; `naive` O(T^2 (K + V)).

    Raises:
        TypeError: inputs that are not floating point.
        ValueError: shapes that do not fit, or another form.
    """
    check_tokens(q, k, v)
    if form not in ("auto", "naive", "parallel"):
        raise ValueError(f"form: expected 'auto', 'naive' or 'parallel', got {form!r}")
    exact, dtype = accumulator_dtype(q.dtype, k.dtype, v.dtype), product_dtype(q.dtype, k.dtype, v.dtype)
    with without_autocast(q.device):
        queries, keys, values = (x.transpose(1, 2) for x in (q, k, v))
        if form == "naive":
            weights = queries.to(exact) @ keys.to(exact).mT * scale
            if normalise:
                weights = weights / weights.sum(-1, keepdim=True).clamp(min=FLOOR)
            return (weights @ values.to(exact)).transpose(1, 2).to(v.dtype)
        wide_keys = keys.to(exact)
        memory = wide_keys.mT @ values.to(exact) * scale
        o = queries.to(dtype) @ memory.to(dtype)
        if normalise:
            den = queries.to(exact) @ wide_keys.sum(-2).unsqueeze(-1) * scale
            o = o / den.clamp(min=FLOOR)
        return o.transpose(1, 2).to(v.dtype)
