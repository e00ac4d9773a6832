"""The short convolution refuses what does not fit; its laws are those of the module and of the kernels."""

import pytest
import torch

from linsight import ops


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"x": torch.zeros(2, 3)}, ValueError, r"x: expected 3 axes, got shape \(2, 3\)"),
        ({"x": torch.zeros(2, 3, 4).long()}, TypeError, r"x: expected a floating-point tensor, got .*int64"),
        ({"weight": torch.zeros(4)}, ValueError, r"weight: expected 2 axes, got shape \(4,\)"),
        ({"weight": torch.zeros(3, 2)}, ValueError, r"weight: expected shape \(4, taps >= 1\), got \(3, 2\)"),
        ({"weight": torch.zeros(4, 0)}, ValueError, r"weight: expected shape \(4, taps >= 1\), got \(4, 0\)"),
        ({"bias": torch.zeros(3)}, ValueError, r"bias: expected shape \(4,\), got \(3,\)"),
        ({"initial_state": torch.zeros(2, 2, 4)}, ValueError, r"initial_state: expected shape \(2, 1, 4\)"),
        ({"lengths": torch.zeros(3).long()}, ValueError, r"lengths: expected shape \(2,\), got \(3,\)"),
        ({"form": "chunk"}, ValueError, "form: expected one of auto, naive, compiled, got 'chunk'"),
    ],
)
def test_refusals_name_the_argument(changes, error, match) -> None:
    with pytest.raises(error, match=match):
        ops.short_convolution(**{"x": torch.zeros(2, 3, 4), "weight": torch.zeros(4, 2), **changes})
