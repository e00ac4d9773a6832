"""The gated feed-forward network is its formula, token by token."""

import torch

from linsight.nn import GatedMLP


def test_the_network_is_its_formula() -> None:
    """W_out (silu(W_gate x) * W_value x), the gate's weights in the first rows of the common matrix."""
    mlp = GatedMLP(5, 7).double()
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    gate = x @ mlp.gate_value.weight[:7].T
    value = x @ mlp.gate_value.weight[7:].T
    expected = (gate / (1 + torch.exp(-gate)) * value) @ mlp.out.weight.T
    torch.testing.assert_close(mlp(x), expected, rtol=1e-12, atol=1e-12)


def test_tokens_are_mapped_one_by_one() -> None:
    mlp = GatedMLP(4, 6).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    one_by_one = torch.stack([mlp(x[:, step]) for step in range(5)], dim=1)
    torch.testing.assert_close(mlp(x), one_by_one, rtol=1e-13, atol=1e-13)
    assert torch.equal(mlp(torch.zeros(4, dtype=torch.float64)), torch.zeros(4, dtype=torch.float64))


def test_there_are_no_biases_and_the_hidden_width_is_the_gated_one() -> None:
    shapes = {name: tuple(p.shape) for name, p in GatedMLP(4, 6).named_parameters()}
    assert shapes == {"gate_value.weight": (12, 4), "out.weight": (4, 6)}
