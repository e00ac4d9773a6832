"""The gate of a feed-forward network: silu of one half of a projection times the other half."""

import torch
import torch.nn.functional as F
from torch import Tensor

from linsight import kernels
from linsight.ops.forms import check_form
from linsight.ops.linear import accumulator_dtype

__all__ = ["gated_silu"]

OP = "gated_silu"
FORMS = ("naive", "compiled")
ENOUGH = 2**16
"""Numbers of x below which the call of a kernel costs more than it saves."""


def gated_silu(x: Tensor, *, form: str = "auto") -> Tensor:
    """y = silu(gate) value, silu(z) = z / (1 + exp(-z)), of x = (gate, value) side by side in the last axis.

    Shazeer 2020, arXiv 2002.05202 (SwiGLU).

    Args:
        x: Gates, then as many values, `(..., 2 width)`; any strides, any sizes.
        form: How it is computed, never what: `naive` is torch's operations, each rounded to x's dtype;
            `compiled` is the kernel of `linsight.kernels.cpu`, on a CPU, float32 inside and rounded once;
            `auto` takes it where it runs and x is large.

    Returns:
        `(..., width)` in x's dtype, whatever the autocast.

    Cost: `compiled` passes over x once, and in the backward over x and y's gradient, where `naive` passes
    three times and keeps twice as much; it has no second derivative.

    Raises:
        TypeError: x is not a floating-point tensor.
        ValueError: an odd last axis or none; a `form` that is not there; `compiled` where it does not run,
            with the reason.

    Example:
        >>> gated_silu(torch.tensor([0.0, 100.0, 7.0, 2.0]))
        tensor([  0., 200.])
    """
    check_form(FORMS, form, None)
    if not x.is_floating_point():
        raise TypeError(f"x: expected a floating-point tensor, got a tensor of {x.dtype}")
    if x.ndim == 0 or x.shape[-1] % 2:
        raise ValueError(f"x: expected as many values as gates in the last axis, got shape {tuple(x.shape)}")
    exact = accumulator_dtype(x.dtype)
    if form == "compiled":
        kernels.require(OP, form, x.device, exact)
    elif form == "naive" or kernels.choose(OP, x.device, exact).engine != "compiled" or x.numel() < ENOUGH:
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate) * value
    taken = x if x.dtype == torch.bfloat16 else x.to(exact)
    return kernels.cpu.gated_silu(taken).to(x.dtype)
