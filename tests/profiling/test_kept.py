"""What autograd keeps for a backward, against what is known to be kept, and without the memory."""

import pytest
import torch
from torch import nn

from linsight import mixers
from linsight.profiling import kept_bytes, kept_per_token, on_paper


def test_a_product_keeps_its_factors_but_not_the_weights():
    layer = nn.Linear(8, 6)
    x = torch.ones(3, 8, requires_grad=True)
    assert kept_bytes(lambda: layer(x), besides=layer.parameters()) == x.nbytes
    assert kept_bytes(lambda: layer(x)) == x.nbytes + layer.weight.nbytes


def test_what_is_kept_twice_is_counted_once_and_views_by_their_storage():
    x = torch.ones(3, 8, requires_grad=True)
    assert kept_bytes(lambda: x * x) == x.nbytes
    assert kept_bytes(lambda: (x[:1] * x[1:2]).sum()) == x.nbytes
    assert kept_bytes(lambda: (x * 2) * (x * 3)) == 2 * x.nbytes


def test_what_is_dropped_on_the_way_counts_nothing():
    x = torch.ones(3, 8, requires_grad=True)
    assert kept_bytes(lambda: x + 1) == 0
    with torch.no_grad():
        assert kept_bytes(lambda: x * x) == 0


@pytest.mark.parametrize(
    ("layer", "rows"),
    [
        (nn.Linear(16, 4), 1),  # its input
        (nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)), 1 + 2),  # input, what relu gave
        (nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)), 1 + 2 + 2),  # and what it got
    ],
)
def test_a_token_more_adds_what_its_layers_keep(layer, rows):
    assert kept_per_token(layer, 16) == rows * 16 * 4


def test_autocast_keeps_half_of_a_product_and_no_copy_of_the_weights():
    layer = nn.Linear(16, 4)
    assert kept_per_token(layer, 16, dtype=torch.bfloat16) == 16 * 2


@pytest.mark.parametrize("kind", ["linear", "softmax", "mamba2", "gated_delta"])
def test_shapes_alone_tell_what_real_tensors_tell(kind):
    def told() -> float:
        return kept_per_token(mixers.build(kind, dim=32), 32, dtype=torch.bfloat16)

    assert on_paper(told) == told() > 0


def test_on_paper_a_layer_of_any_size_costs_nothing():
    """Of 40 TB."""

    def told() -> float:
        return kept_per_token(nn.Linear(10**7, 10**6, bias=False), 10**7)

    assert on_paper(told) == 4 * 10**7


def test_what_looks_at_values_runs_with_values():
    seen = []

    def looks() -> bool:
        seen.append(type(torch.ones(2)))
        return bool(torch.ones(2).sum() > 1)

    assert on_paper(looks) is True
    assert [kind is torch.Tensor for kind in seen] == [False, True]


def test_an_error_on_paper_is_the_error():
    with pytest.raises(ValueError, match="dim: expected at least 1"):
        on_paper(lambda: mixers.build("mamba2", dim=0))
