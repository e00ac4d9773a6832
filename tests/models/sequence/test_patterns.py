"""Stacks of several mixers by name."""

import pytest
import torch

from linsight.models.sequence import PATTERNS, SequenceConfig, Stack, transnormer


@pytest.mark.parametrize(("layers", "first"), [(2, 1), (5, 3), (6, 3), (1, 1)])
@pytest.mark.parametrize("variant", ["t1", "t2"])
def test_the_first_half_is_local_and_the_second_linear(layers, first, variant):
    stack = transnormer(SequenceConfig(dim=16, layers=layers), variant)
    chosen = [stack.mixer_of_layer(layer) for layer in range(layers)]
    assert [mixer.kind for mixer in chosen] == ["diag_attention"] * first + ["norm_attention"] * (
        layers - first
    )
    assert {mixer.variant for mixer in chosen} == {variant}


@pytest.mark.parametrize("name", PATTERNS)
def test_the_split_law_holds_of_the_whole_stack(name):
    """Across the blocks of the first half, whose phase the second half does not know."""
    torch.manual_seed(0)
    stack = Stack(PATTERNS[name](SequenceConfig(dim=16, layers=4, mlp_dim=16))).double().eval()
    x = torch.randn(2, 150, 16, dtype=torch.float64)
    with torch.no_grad():
        whole, final = stack(x)
        pieces, state = [], None
        for piece in x.split([1, 63, 1, 5, 60, 20], dim=1):
            y, state = stack(piece, state)
            pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-9, atol=1e-10)
    for one, other in zip(state, final, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)
