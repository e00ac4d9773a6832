"""The gated feed-forward network of a block."""

from jaxtyping import Float
from torch import Tensor, nn

from linsight import ops

__all__ = ["GatedMLP"]


class GatedMLP(nn.Module):
    """W_out (silu(W_gate x) * W_value x), token by token, no biases.

    Shazeer 2020, arXiv 2002.05202 (SwiGLU). Input and output `(..., dim)`; `hidden` is the gated width.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_value = nn.Linear(dim, 2 * hidden, bias=False)
        self.out = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """Apply the network to every token."""
        return self.out(ops.gated_silu(self.gate_value(x)))
