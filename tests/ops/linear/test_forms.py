"""All forms are one function: outputs, final state and every gradient agree with the definition."""

from dataclasses import replace

import pytest
import torch
from linear_cases import DECAYS, FORMS, LENGTHS, READS, assert_equal, case, results

from linsight import ops

EXACT = 1e-10
SINGLE = 1e-5
# A gradient that is 0 in exact arithmetic (one token, normalised) is compared with inputs' size, 1.
VANISHING = 0.1


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_forms_agree(decay, read, length):
    """With the definition in float64: to 1e-10 in float64, and to 1e-5 in float32."""
    single = case(length, decay, read, dtype=torch.float32, scale=0.7)
    double = single.to(torch.float64)
    expected = results(double)
    for form, chunk_size in FORMS:
        assert_equal(results(double, form, chunk_size), expected, EXACT)
        assert_equal(results(single, form, chunk_size), expected, SINGLE, dtype=torch.float32)
    assert_equal(results(single), expected, SINGLE, dtype=torch.float32)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_forms_agree_when_normalised(decay, read):
    for length in (1, 2, 65):
        single = case(length, decay, read, dtype=torch.float32, normalise=True)
        double = single.to(torch.float64)
        expected = results(double)
        for form, chunk_size in FORMS:
            assert_equal(results(double, form, chunk_size), expected, EXACT, least=VANISHING)
            found = results(single, form, chunk_size)
            assert_equal(found, expected, SINGLE, least=VANISHING, dtype=torch.float32)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_the_feature_map_is_that_of_queries_and_keys_before(decay, read):
    """Every form on q and k is the definition on elu(q) + 1 and elu(k) + 1; a key of -inf is a key of 0."""
    plain = case(20, decay, read, normalise=True)
    plain = plain.map(lambda name, x: 4 * x - 2 if name in "qk" else x)
    plain.k[0, 7] = -torch.inf
    mapped = replace(plain, options=plain.options | {"feature_map": "elu1"})
    before = plain.map(lambda name, x: torch.where(x > 0, x + 1, x.exp()) if name in "qk" else x)
    for form, chunk_size in (("naive", None), *FORMS):
        for found, expected in zip(mapped(form, chunk_size), before("naive"), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    gradient = results(mapped)["grad of k"]
    assert gradient.isfinite().all()
    assert not gradient[0, 7].any()


@pytest.mark.parametrize("of", ["output", "state"])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_gradients_agree_for_a_loss_on_outputs_or_on_the_final_state_alone(decay, read, normalise, of):
    for state in (False, True):
        call = case(10, decay, read, normalise=normalise, state=state)
        expected = results(call, of=of)
        for form, chunk_size in FORMS:
            assert_equal(results(call, form, chunk_size, of=of), expected, EXACT, least=VANISHING)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_no_initial_state_is_a_state_of_zeros(decay, read, normalise):
    call = case(10, decay, read, normalise=normalise, state=False)
    zeros = torch.zeros(
        *call.q.shape[:1], *call.q.shape[2:], call.v.shape[-1] + normalise, dtype=torch.float64
    )
    for form, chunk_size in (("naive", None), *FORMS):
        actual = results(call, form, chunk_size)
        given = case(10, decay, read, normalise=normalise, state=False)
        expected = results(type(given)(**{**vars(given), "initial_state": zeros}), form, chunk_size)
        del expected["grad of initial_state"]
        assert_equal(actual, expected, EXACT, least=VANISHING)


@pytest.mark.parametrize("form", ["naive", "recurrent", "parallel", "chunk"])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_gradcheck(decay, read, form):
    """The analytic gradient of every form is the numerical one, to random directions."""
    for normalise in (False, True):
        call = case(3, decay, read, normalise=normalise, batch=1, heads=2, features=2, values=2)
        names = list(call.tensors())

        def function(*tensors, call=call, names=names):
            given = dict(zip(names, tensors, strict=True))
            return type(call)(**{**vars(call), **given})(form, 2 if form == "chunk" else None)

        inputs = [x.requires_grad_() for x in call.tensors().values()]
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


def test_normalising_is_a_column_of_ones_and_a_division():
    """`normalise` is the plain op on [v, 1], first columns over the last."""
    for decay in DECAYS:
        call = case(20, decay, normalise=True)
        options = {**call.options, "normalise": False}
        widened = torch.cat([call.v, torch.ones_like(call.v[..., :1])], dim=-1)
        plain, final = type(call)(**{**vars(call), "v": widened, "options": options})("naive")
        for form, chunk_size in (("naive", None), *FORMS):
            o, state = call(form, chunk_size)
            torch.testing.assert_close(o, plain[..., :-1] / plain[..., -1:])
            torch.testing.assert_close(state, final)


def test_a_constant_value_is_returned_by_the_normalised_op():
    """Weights that sum to one: v = c gives o = c, even where the similarities are tiny."""
    q, k = torch.rand(2, 2, 30, 3, 5, dtype=torch.float64).unbind(0)
    v = torch.full((2, 30, 3, 4), 1.7, dtype=torch.float64)
    for form, chunk_size in (("naive", None), *FORMS):
        o, _ = ops.linear_attention(q * 1e-2, k * 1e-2, v, normalise=True, form=form, chunk_size=chunk_size)
        torch.testing.assert_close(o, v)


def test_an_all_zero_query_gives_zero_and_finite_gradients_when_normalised():
    call = case(6, normalise=True, state=False)
    call.q[:, 3] = 0
    for form, chunk_size in (("naive", None), *FORMS):
        found = results(call, form, chunk_size)
        assert (found["o"][:, 3] == 0).all()
        assert all(x.isfinite().all() for x in found.values())
    assert_equal(results(call, "parallel"), results(call), EXACT, least=VANISHING)


def test_below_the_floor_the_denominator_has_no_gradient():
    call = case(6, normalise=True, state=False)
    call.q[:, 3] *= 1e-9
    expected = results(call)
    for form, chunk_size in FORMS:
        assert_equal(results(call, form, chunk_size), expected, EXACT, least=VANISHING)
