"""Recurrences against the reference loops of flash-linear-attention, where it is installed.

Its loops compute in float32, so agreement is to 1e-5 of each tensor's size; gradients are autograd's on both
sides. `python -m pytest tests/oracles` in an environment with `fla` runs them, elsewhere they are skipped.
"""

import importlib
import warnings

import pytest
import torch

from linsight import ops

FORMS = (("naive", None), ("chunk", None), ("chunk", 7), ("recurrent", None))
LENGTHS = (1, 33, 67)


def reference(module: str, name: str):
    """A function of fla, whose import warns of the missing accelerator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return getattr(importlib.import_module(f"fla.ops.{module}"), name)
        except ImportError:
            pytest.skip("flash-linear-attention is not installed")


def inputs(length: int, decay: str) -> dict[str, torch.Tensor]:
    """Batch 2, 3 heads, 5 features, 4 values: tokens, a decay by head or feature, and a state."""
    shape = (2, length, 3)
    unit = torch.nn.functional.normalize
    return {
        "q": torch.randn(*shape, 5),
        "k": unit(torch.randn(*shape, 5), dim=-1),
        "v": torch.randn(*shape, 4),
        "a": unit(torch.randn(*shape, 5), dim=-1),
        "b": -0.7 * unit(torch.randn(*shape, 5), dim=-1),
        "beta": torch.rand(shape),
        "log_decay": -torch.rand(*shape, *((5,) if decay == "feature" else ())),
        "initial_state": torch.randn(2, 3, 5, 4),
    }


def everything(function, given: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Outputs, final state, and the gradient of every input for a loss on both."""
    leaves = {name: x.clone().requires_grad_() for name, x in given.items()}
    o, state = function(**leaves)
    weight = torch.linspace(-1, 1, o.numel()).view_as(o)
    loss = (o * weight).sum() + state.square().sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return [o.detach(), state.detach(), *gradients]


def assert_agree(ours, theirs, given):
    want = everything(theirs, given)
    for form, chunk_size in FORMS:
        found = everything(
            lambda form=form, size=chunk_size, **x: ours(form=form, chunk_size=size, **x), given
        )
        for one, other in zip(found, want, strict=True):
            size = max(other.square().mean().sqrt().item(), 0.1)
            assert (one - other).square().mean().sqrt().item() <= 1e-5 * size


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    ("module", "name", "decay"),
    [
        ("gated_delta_rule.naive", "naive_recurrent_gated_delta_rule", "head"),
        ("kda.naive", "naive_recurrent_kda", "feature"),
    ],
)
def test_delta_rule(module, name, decay, length):
    """Gated DeltaNet's decay of a head, and Kimi Delta Attention's of a feature."""
    theirs = reference(module, name)
    given = inputs(length, decay)
    del given["a"], given["b"]

    def reference_rule(log_decay, **x):
        return theirs(**x, g=log_decay, scale=0.7, output_final_state=True)

    assert_agree(lambda **x: ops.delta_rule(**x, scale=0.7), reference_rule, given)


@pytest.mark.parametrize("length", LENGTHS)
def test_dplr_delta_rule(length):
    """RWKV-7's recurrence; fla's loop has heads before time, and scales by K^-1/2."""
    theirs = reference("generalized_delta_rule.dplr.naive", "dplr_recurrence")
    given = inputs(length, "feature")
    del given["beta"]

    def reference_rule(q, k, v, a, b, log_decay, initial_state):
        parts = (x.transpose(1, 2) for x in (q, k, v, a, b, log_decay))
        o, state = theirs(*parts, initial_state=initial_state)
        return o.transpose(1, 2), state

    assert_agree(lambda **x: ops.dplr_delta_rule(**x, scale=5**-0.5), reference_rule, given)


@pytest.mark.parametrize("length", LENGTHS)
def test_read_before_the_update_with_a_bonus(length):
    """RWKV-6's recurrence: ours is linear attention with read="before"."""
    theirs = reference("rwkv6.recurrent_naive", "naive_recurrent_rwkv6")
    given = {name: x for name, x in inputs(length, "feature").items() if name not in ("a", "b", "beta")}
    given["bonus"] = torch.randn(3, 5)

    def reference_rule(q, k, v, log_decay, bonus, initial_state):
        parts = (x.transpose(1, 2) for x in (q, k, v, log_decay))
        o, state = theirs(*parts, bonus, scale=0.7, initial_state=initial_state, output_final_state=True)
        return o.transpose(1, 2), state

    assert_agree(lambda **x: ops.linear_attention(**x, scale=0.7, read="before"), reference_rule, given)
