"""A learned decay may go to either end: keep everything, or nothing. Both are numbers like any other."""

import copy

import pytest
import torch

from linsight import mixers
from linsight.conformance.tolerances import BUDGETS

ENDS = {
    "rwkv6": ("time_decay", -40.0, 20.0),
    "rwkv7": ("w0", -40.0, 40.0),
    "mamba": ("A_log", -40.0, 12.0),
    "mamba2": ("A_log", -40.0, 12.0),
    "gated_delta": ("A_log", -40.0, 12.0),
    "lru": ("nu_log", -40.0, 6.0),
    "s4": ("log_A_real", -40.0, 12.0),
    "s4d": ("log_A_real", -40.0, 12.0),
}
"""The parameter of each kind with learned decays, and where e^-40 is decayed of a state, or all of it."""

TRAINED = {"rwkv6", "rwkv7"}
"""Kinds whose other maps begin at zero: without weights in them nothing is mixed."""


def at_an_end(kind: str, end: int, dtype: torch.dtype):
    """A mixer in `dtype` with its decays at one end, and the same weights in float64."""
    torch.manual_seed(3)
    mixer = mixers.build(kind, dim=64)
    with torch.no_grad():
        if kind in TRAINED:
            for parameter in mixer.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.1)
        dict(mixer.named_parameters())[ENDS[kind][0]].fill_(ENDS[kind][end])
    mixer = mixer.to(dtype)
    return mixer, copy.deepcopy(mixer).double()


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    assert got.isfinite().all()
    return ((got.double() - want).square().mean().sqrt() / want.square().mean().sqrt()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("end", [1, 2], ids=["keeps all", "keeps nothing"])
@pytest.mark.parametrize("kind", ENDS)
def test_outputs_are_those_of_float64_at_either_end(kind, end, dtype) -> None:
    """From one token to 4,097, in which bfloat16 stops counting sixteen times over."""
    mixer, exact = at_an_end(kind, end, dtype)
    row = torch.randn(1, 4097, 64).to(dtype)
    for length in (1, 31, 33, 4097):
        x = row[:, :length]
        with torch.no_grad():
            want = exact(x.double())[0]
            # The rounding of a sum grows as the root of its terms, its condition as much again.
            growth = max(1.0, length / 200) if dtype == torch.float32 else 1.0
            assert relative(mixer(x)[0], want) < BUDGETS[dtype] * growth


@pytest.mark.parametrize("end", [1, 2], ids=["keeps all", "keeps nothing"])
@pytest.mark.parametrize("kind", ENDS)
def test_every_form_has_the_outputs_and_the_gradients_of_the_definition_at_either_end(kind, end) -> None:
    _, mixer = at_an_end(kind, end, torch.float32)
    x = torch.randn(2, 67, 64, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(2, 67, 64, dtype=torch.float64)
    sources = [x, *mixer.parameters()]
    found = []
    for form in mixer.forms:
        mixer.form = form
        y = mixer(x)[0]
        found.append([y, *torch.autograd.grad((y * wanted).sum(), sources, allow_unused=True)])
    for one in found[1:]:
        for got, want in zip(one, found[0], strict=True):
            if want is not None:
                assert got.isfinite().all()
                scale = want.abs().max().clamp(min=1e-6)
                assert ((got - want).abs().max() / scale).item() < 1e-8
