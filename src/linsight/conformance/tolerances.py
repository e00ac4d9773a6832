"""How close two computations of the same thing must be, by dtype, and why."""

import torch

__all__ = ["BUDGETS", "GRADIENTS", "SUMS", "rounding"]

SUMS = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Two orders of the same sum, relative RMS.

n terms differ by at most n eps times the condition of the sum (Higham 2002, section 4.2). With n = 200 tokens
and eps = 2^-53 this is 2e-14 times the condition, with 2^-24 it is 1e-5, where errors in fact grow as sqrt(n)
and leave room for a condition of 10. Real defects stand far above: the smallest planted one at 1e-4.
"""

GRADIENTS = {torch.float64: 1e-9, torch.float32: 1e-3}
"""As SUMS, through one derivative more: ten times as much in float64.

In float32 a hundred times: the derivative of a ratio divides rounding errors by its denominator, and of a
hundred tokens some have a denominator of a thousandth of the others' (seen: 4e-4 with relu features).
"""

BUDGETS = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 2.5e-3}
"""Against float64 with the same rounded weights, relative RMS at 200 tokens.

What remains is the rounding of activations: 2^-9 in bfloat16 and 2^-12 in float16 at each of about five
places, doubled by feature maps that square; in float32 the sums over 200 tokens as well. Correct mixers stay
below 0.4 of it, tokens of nearly vanishing denominators left out.
"""


def rounding(dtype: torch.dtype, length: int) -> float:
    """The relative rounding of a transform over `length` tokens that mixes them all, such as an FFT."""
    return 8 * torch.finfo(dtype).eps * max(length, 2)
