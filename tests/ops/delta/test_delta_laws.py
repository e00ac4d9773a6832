"""The laws of a recurrence: splits, causality, absent tokens, resets, extremes, refusals."""

from dataclasses import replace

import pytest
import torch
from delta_cases import DECAYS, FORMS, RULES, assert_equal, case, results
from hypothesis import given, settings
from hypothesis import strategies as st

from linsight import ops

ANY_FORM = st.sampled_from([("naive", None), *FORMS])


@settings(max_examples=40)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 17), ANY_FORM), min_size=1, max_size=4),
    rule=st.sampled_from(RULES),
    decay=st.sampled_from(DECAYS),
    seed=st.integers(0, 99),
)
def test_split_law(pieces, rule, decay, seed):
    """Pieces of any length, each in any form, with the state carried, are the whole: values and gradients."""
    whole = case(rule, sum(n for n, _ in pieces), decay, seed=seed)
    whole = whole.map(lambda _, x: x.requires_grad_())

    def in_pieces():
        outputs, start, state = [], 0, whole.initial_state
        for length, (form, chunk_size) in pieces:
            o, state = whole.tokens(start, start + length, initial_state=state)(form, chunk_size)
            outputs.append(o)
            start += length
        return torch.cat(outputs, dim=1), state

    def everything(o, state):
        generator = torch.Generator().manual_seed(seed)
        weights = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in (o, state)]
        inputs = list(whole.tensors().values())
        gradients = torch.autograd.grad([o, state], inputs, weights, materialize_grads=True)
        return dict(enumerate([o.detach(), state.detach(), *gradients]))

    assert_equal(everything(*in_pieces()), everything(*whole("auto")), 1e-10, least=0.1)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("rule", RULES)
def test_the_future_changes_no_bit_of_the_past(rule, decay, form, chunk_size):
    call = case(rule, 37, decay, dtype=torch.float32)
    before, _ = call(form, chunk_size)
    for s in (1, 16, 33):
        changed = call.map(lambda _, x: x.clone())
        for name, x in changed.tensors().items():
            if name in ("k", "a", "b"):  # of the same length: 37 tokens of longer ones overflow float32
                x[:, s:] = -x[:, s:].roll(1, -1)
            elif name != "initial_state":
                x[:, s:] = 1 - x[:, s:] if name == "beta" else 5 * x[:, s:]
        after, _ = changed(form, chunk_size)
        assert torch.equal(after[:, :s], before[:, :s])
        assert not torch.equal(after[:, s:], before[:, s:])


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("rule", RULES)
def test_a_token_that_writes_nothing_and_decays_nothing_is_absent(rule, decay):
    """Padding of rows: k, b or beta, and the log decay are 0."""
    call = case(rule, 30, decay)
    for name in ("beta", "log_decay") if rule == "delta" else ("k", "b", "log_decay"):
        if name in call.tensors():
            call.tensors()[name][:, 20:] = 0
    for form, chunk_size in FORMS:
        state = call(form, chunk_size)[1]
        torch.testing.assert_close(state, call.tokens(0, 20)("naive")[1])


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("extreme", [0.0, -1e-4, -50.0, -1000.0, float("-inf")])
@pytest.mark.parametrize("decay", ["token", "feature"])
@pytest.mark.parametrize("rule", RULES)
def test_every_extreme_is_finite_and_accurate(rule, decay, extreme, form, chunk_size):
    """Everywhere, and side by side with weak decays: sums must not pass through decays outside of them."""
    for share in (1.0, 0.1):
        call = case(rule, 40, decay, dtype=torch.float32)
        chosen = torch.rand(call.log_decay.shape, generator=torch.Generator().manual_seed(2)) < share
        call = replace(call, log_decay=torch.where(chosen, extreme, 0.01 * call.log_decay))
        found = results(call, form, chunk_size)
        assert all(x.isfinite().all() for x in found.values())
        assert_equal(found, results(call.to(torch.float64)), 1e-5, least=0.1)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("decay", ["token", "feature"])
def test_minus_infinity_is_a_reset_before_the_prediction_error(decay, form, chunk_size):
    """The token that resets already corrects an empty memory, and sends no gradient to what was before."""
    call = case("delta", 20, decay)
    call.log_decay[:, 8] = float("-inf")
    leaves = call.map(lambda _, x: x.requires_grad_())
    o, state = leaves(form, chunk_size)
    fresh_o, fresh = call.tokens(8, 20, initial_state=None)(form, chunk_size)
    torch.testing.assert_close(o[:, 8:], fresh_o)
    torch.testing.assert_close(state, fresh)
    inputs = [leaves.k, leaves.beta, leaves.initial_state]
    grads = torch.autograd.grad(o[:, 8:].sum() + state.sum(), inputs)
    assert not grads[0][:, :8].any()
    assert not grads[1][:, :8].any()
    assert not grads[2].any()


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
def test_a_reads_the_old_state_before_its_decay(form, chunk_size):
    """A reset of the diagonal leaves what a has read of the state before it."""
    call = case("dplr", 1, "feature")
    call.log_decay[:] = float("-inf")
    _, state = call(form, chunk_size)
    read = torch.einsum("bhk,bhkv->bhv", call.a[:, 0], call.initial_state)
    want = call.b[:, 0, :, :, None] * read[:, :, None] + call.k[:, 0, :, :, None] * call.v[:, 0, :, None]
    torch.testing.assert_close(state, want)


@pytest.mark.parametrize("rule", RULES)
def test_long_rows_of_one_key_stay_bounded(rule):
    """Correlated keys are the worst case of the solve: 500 times one key, in float32."""
    call = case(rule, 500, dtype=torch.float32, batch=1)
    call = call.map(lambda name, x: x if name in ("v", "initial_state") else x[:, :1].expand_as(x).clone())
    if rule == "dplr":
        call = replace(call, b=-call.a)
    want = results(call.to(torch.float64))
    assert_equal(results(call, "chunk"), want, 1e-4, least=1.0)


@pytest.mark.parametrize("shape", [(0, 3, 2, 5, 4), (2, 0, 2, 5, 4), (2, 3, 0, 5, 4), (2, 3, 2, 5, 0)])
@pytest.mark.parametrize("rule", RULES)
def test_any_shape_works_even_empty(rule, shape):
    batch, length, heads, features, values = shape
    for decay in DECAYS:
        call = case(rule, length, decay, batch=batch, heads=heads, features=features, values=values)
        for form, chunk_size in (("naive", None), *FORMS):
            o, state = call(form, chunk_size)
            assert o.shape == (batch, length, heads, values)
            assert state.shape == (batch, heads, features, values)
            if not length:
                assert torch.equal(state, call.initial_state)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("rule", RULES)
def test_inputs_are_not_changed_and_no_result_shares_their_memory(rule, form, chunk_size):
    call = case(rule, 1, "token")
    copies = {name: x.clone() for name, x in call.tensors().items()}
    for x in call(form, chunk_size):
        x.fill_(9)
    assert all(torch.equal(x, copies[name]) for name, x in call.tensors().items())


def test_refusals_name_the_argument():
    q, k, v = torch.zeros(3, 2, 4, 3, 5).unbind(0)
    beta = torch.zeros(2, 4, 3)
    cases = [
        (ValueError, r"beta: expected shape \(2, 4, 3\), got \(2, 4\)", {"beta": beta[..., 0]}),
        (TypeError, "beta: expected a floating-point tensor", {"beta": beta.long()}),
        (
            ValueError,
            r"log_decay: expected shape \(2, 4, 3\) or \(2, 4, 3, 5\), got \(3,\)",
            {"log_decay": beta[0, 0]},
        ),
        (ValueError, r"initial_state: expected shape \(2, 3, 5, 5\)", {"initial_state": beta}),
        (
            ValueError,
            "form: expected one of auto, naive, chunk, recurrent, compiled, got 'parallel'",
            {"form": "parallel"},
        ),
        (ValueError, "chunk_size: only forms", {"form": "naive", "chunk_size": 4}),
        (ValueError, "chunk_size: expected at least 1, got 0", {"chunk_size": 0}),
    ]
    for error, match, changes in cases:
        with pytest.raises(error, match=match):
            ops.delta_rule(**{"q": q, "k": k, "v": v, "beta": beta, **changes})
    with pytest.raises(ValueError, match=r"b: expected shape \(2, 4, 3, 5\), got \(2, 4, 3\)"):
        ops.dplr_delta_rule(q, k, v, a=k, b=beta)


def test_the_plan():
    """A step is recurrent; a long call is cut evenly, so that its last block is not mostly padding."""

    def plan(length, **options):
        return ops.delta_rule_plan(*torch.zeros(3, 1, length, 2, 4, dtype=torch.float64), **options)

    assert plan(1) == ("recurrent", None)
    assert plan(33) == ("chunk", 17)
    assert plan(33, chunk_size=32) == ("chunk", 32)
    assert plan(33, form="naive") == ("naive", None)
