"""FAVOR+ against its definition in float64: outputs, state and all gradients, of every form."""

import pytest
import torch
from favor_cases import HEADS, defined, drawn, found

from linsight import ops

FORMS = (("naive", None), ("recurrent", None), ("parallel", None), ("chunk", 16), ("chunk", None))


@pytest.mark.parametrize(("form", "size"), FORMS)
@pytest.mark.parametrize("length", [1, 2, 17, 65])
def test_every_form_is_the_definition(form, size, length):
    given = {name: x.requires_grad_() for name, x in drawn(length, 5, 3).items()}
    got, want = found(given, form, size), defined(given)
    cotangents = [torch.randn_like(x) for x in want]
    for actual, expected in zip(got, want, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)
    inputs = list(given.values())
    for actual, expected in zip(
        torch.autograd.grad(got, inputs, cotangents),
        torch.autograd.grad(want, inputs, cotangents),
        strict=True,
    ):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", ["naive", "parallel", "auto"])
def test_both_directions_are_the_last_output_of_the_causal_one(form):
    """Of the last token, which sees all; and of every other, when it stands last."""
    inputs = tuple(drawn(9, 5, 3)[name] for name in ("q", "k", "v", "log_weights"))
    o = ops.global_favor_attention(*inputs, form=form)
    for t in range(9):
        order = [i for i in range(9) if i != t] + [t]
        last = ops.favor_attention(*(x[:, order] for x in inputs))[0][:, -1]
        torch.testing.assert_close(o[:, t], last, rtol=1e-11, atol=1e-11)


def test_a_row_without_keys_reads_zero_in_both_directions():
    q, k, v, weights = (drawn(5, 4, 3)[name] for name in ("q", "k", "v", "log_weights"))
    weights[0] = -torch.inf
    leaves = [x.requires_grad_() for x in (q, k, v, weights)]
    for o in (ops.global_favor_attention(*leaves), ops.favor_attention(*leaves)[0]):
        assert not o[0].any()
        assert o[1].all()
        gradients = torch.autograd.grad(o.sum(), leaves)
        assert all(x.isfinite().all() and not x[0].any() for x in gradients)


def test_a_constant_of_a_query_changes_nothing_and_one_of_all_keys_the_peak_alone():
    given = drawn(20, 5, 3)
    q, k, v, weights = (given[name] for name in ("q", "k", "v", "log_weights"))
    o, (memory, peak) = ops.favor_attention(q, k, v, weights)
    other, state = ops.favor_attention(q + 700 * torch.randn(2, 20, HEADS, 1), k, v, weights + 300)
    torch.testing.assert_close(other, o, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(state, (memory, peak + 300), rtol=1e-11, atol=1e-11)


def test_refusals():
    q = torch.zeros(2, 3, 1, 4)
    with pytest.raises(ValueError, match=r"log_weights: expected shape \(2, 3, 1\), got \(2, 3\)"):
        ops.favor_attention(q, q, q, q[:, :, 0, 0])
    with pytest.raises(
        ValueError, match=r"initial_state\[0\]: expected shape \(2, 1, 4, 5\), got \(2, 1, 4, 4\)"
    ):
        ops.favor_attention(q, q, q, q[..., 0], initial_state=(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1)))
    with pytest.raises(ValueError, match=r"initial_state\[1\]: expected shape \(2, 1\), got \(2,\)"):
        ops.favor_attention(q, q, q, q[..., 0], initial_state=(torch.zeros(2, 1, 4, 5), torch.zeros(2)))
    with pytest.raises(ValueError, match=r"form: expected one of auto, naive, parallel, .*, got 'fast'"):
        ops.favor_attention(q, q, q, q[..., 0], form="fast")
    with pytest.raises(ValueError, match=r"log_weights: expected shape \(2, 3, 1\), got \(2, 3, 1, 4\)"):
        ops.global_favor_attention(q, q, q, q)
