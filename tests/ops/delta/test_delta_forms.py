"""All forms are one function, the equations': outputs, final state and every gradient."""

from dataclasses import replace

import pytest
import torch
from delta_cases import DECAYS, FORMS, LENGTHS, RULES, assert_equal, case, defined, results

from linsight import ops

EXACT = 1e-10
# The sums of a block are of single precision; conditioning of the solve is that of the recurrence.
SINGLE = 1e-5


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("rule", RULES)
def test_forms_agree(rule, decay, length):
    """With dense matrices in numpy, and in every gradient with the definition; to 1e-5 in float32."""
    single = case(rule, length, decay, dtype=torch.float32)
    double = single.to(torch.float64)
    expected = results(double)
    o, state = defined(double)
    assert_equal(
        {"output": expected["output"], "state": expected["state"]}, {"output": o, "state": state}, 1e-12
    )
    for form, chunk_size in FORMS:
        assert_equal(results(double, form, chunk_size), expected, EXACT)
        assert_equal(results(single, form, chunk_size), expected, SINGLE)


@pytest.mark.parametrize("of", ["output", "state"])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("rule", RULES)
def test_gradients_agree_for_a_loss_on_outputs_or_on_the_final_state_alone(rule, decay, of):
    for state in (False, True):
        call = case(rule, 10, decay, state=state)
        for form, chunk_size in FORMS:
            assert_equal(results(call, form, chunk_size, of=of), results(call, of=of), EXACT, least=0.1)


@pytest.mark.parametrize("form", ["naive", "recurrent", "chunk"])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("rule", RULES)
def test_gradcheck(rule, decay, form):
    """The analytic gradient of every form is the numerical one, to random directions."""
    call = case(rule, 5, decay, batch=1, heads=2, features=3, values=2)
    names = list(call.tensors())

    def function(*tensors):
        given = dict(zip(names, tensors, strict=True))
        return replace(call, **given)(form, 3 if form == "chunk" else None)

    inputs = [x.requires_grad_() for x in call.tensors().values()]
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
def test_the_worked_example(form, chunk_size):
    """Spec, section 20: decay before the prediction error, and beta on both key and value."""
    q = torch.tensor([[1.0, 0], [0, -1], [-1, 1]], dtype=torch.float64).reshape(1, 3, 1, 2)
    k = torch.tensor([[0.0, 1], [1, -1], [-1, 0]], dtype=torch.float64).reshape(1, 3, 1, 2)
    v = torch.tensor([1.0, 2, 4], dtype=torch.float64).reshape(1, 3, 1, 1)
    beta = torch.tensor([1.0, 0.5, 1], dtype=torch.float64).reshape(1, 3, 1)
    decay = torch.tensor([-0.5, 0, -1], dtype=torch.float64).reshape(1, 3, 1)
    k = torch.nn.functional.normalize(k, dim=-1)
    o, _ = ops.delta_rule(q, k, v, beta, decay, form=form, chunk_size=chunk_size)
    assert o.flatten().tolist() == pytest.approx([0, -0.0428932, 4.0157795], abs=1e-6)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
def test_orthonormal_keys_recall_exactly(form, chunk_size):
    """beta = 1, no decay: S^T k_j = v_j for every j, whatever was stored there before."""
    keys, _ = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64))
    k, v = keys.reshape(1, 7, 1, 7), torch.randn(1, 7, 1, 4, dtype=torch.float64)
    before = torch.randn(1, 1, 7, 4, dtype=torch.float64)
    ones = torch.ones(1, 7, 1, dtype=torch.float64)
    _, state = ops.delta_rule(k, k, v, ones, initial_state=before, form=form, chunk_size=chunk_size)
    torch.testing.assert_close(keys @ state[0, 0], v[0, :, 0])


@pytest.mark.parametrize("decay", DECAYS)
def test_beta_zero_is_pure_decay(decay):
    call = case("delta", 20, decay)
    call.beta.zero_()
    total = 0 if decay == "none" else call.log_decay.sum(1)
    kept = call.initial_state
    if decay != "none":
        kept = kept * (total[..., None, None] if decay == "token" else total[..., None]).exp()
    for form, chunk_size in FORMS:
        torch.testing.assert_close(call(form, chunk_size)[1], kept)


@pytest.mark.parametrize("decay", DECAYS)
def test_without_what_reads_the_rule_is_linear_attention(decay):
    """Spec, section 17: w = 1, a = 0 is plain linear attention; with a decay, the decayed one."""
    call = case("dplr", 20, decay)
    call.a.zero_()
    want = ops.linear_attention(
        call.q, call.k, call.v, call.log_decay, scale=0.7, initial_state=call.initial_state, form="naive"
    )
    for form, chunk_size in FORMS:
        for got, expected in zip(call(form, chunk_size), want, strict=True):
            torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
def test_a_unit_key_replaces_what_is_stored_there(form, chunk_size):
    """Spec, section 17: w = 1, a = 1, k = kk: S^T kk = v after the token, and nothing else has moved."""
    call = case("dplr", 1)
    call = replace(call, a=call.k, b=-call.k)
    _, state = call(form, chunk_size)
    torch.testing.assert_close(torch.einsum("bhkv,bhk->bhv", state, call.k[:, 0]), call.v[:, 0])
    other = torch.randn(2, 3, 5, dtype=torch.float64)
    other = other - (other * call.k[:, 0]).sum(-1, keepdim=True) * call.k[:, 0]
    torch.testing.assert_close(
        torch.einsum("bhkv,bhk->bhv", state, other), torch.einsum("bhkv,bhk->bhv", call.initial_state, other)
    )


def test_low_precision_is_computed_in_float32():
    call = case("delta", 40, "token", dtype=torch.bfloat16)
    o, state = call("chunk")
    assert (o.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    _, want = defined(call.to(torch.float64))
    assert_equal({"state": state}, {"state": want}, SINGLE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_equal({"state": call.to(torch.float32)("chunk")[1]}, {"state": want}, SINGLE)
