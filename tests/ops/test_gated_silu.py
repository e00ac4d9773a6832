"""The gate of a feed-forward network is its formula, and refuses what does not fit."""

import pytest
import torch

from linsight import kernels, ops


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (torch.zeros(2, 3), ValueError, r"x: expected as many values as gates .*, got shape \(2, 3\)"),
        (torch.zeros(()), ValueError, r"x: expected as many values as gates .*, got shape \(\)"),
        (torch.zeros(4).long(), TypeError, r"x: expected a floating-point tensor, got .*int64"),
    ],
)
def test_refusals_name_the_argument(x, error, match) -> None:
    with pytest.raises(error, match=match):
        ops.gated_silu(x)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="form: expected one of auto, naive, compiled, got 'chunk'"):
        ops.gated_silu(torch.zeros(4), form="chunk")


@pytest.mark.parametrize("form", ["auto", "naive"])
def test_it_is_its_formula_and_has_all_derivatives(form: str) -> None:
    """z / (1 + exp(-z)) of the first half times the second; float64 is computed in float64."""
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    gate, value = x[:, :4], x[:, 4:]
    expected = gate / (1 + torch.exp(-gate)) * value
    torch.testing.assert_close(ops.gated_silu(x, form=form), expected, rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradgradcheck(lambda x: ops.gated_silu(x, form=form), x)


@pytest.mark.skipif(not kernels.cpu.levels(), reason=f"no library: {kernels.cpu.why_not()}")
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float16, 1.5e-3), (torch.bfloat16, 1.2e-2)])
def test_both_forms_agree_in_half_precision(dtype: torch.dtype, rtol: float) -> None:
    """Two roundings of naive against one: 2^-11 each in float16, 2^-8 in bfloat16."""
    x = torch.randn(5, 34).to(dtype)
    naive, compiled = (ops.gated_silu(x, form=form) for form in ("naive", "compiled"))
    assert naive.dtype == compiled.dtype == dtype
    torch.testing.assert_close(compiled, naive, rtol=rtol, atol=1e-6)
