"""The laws of a recurrence: splits, prefixes, causality, independence of rows, any strides, empty axes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_cases import DECAYS, FORMS, READS, Case, assert_equal, case, relative_error, results

ANY_FORM = st.sampled_from([("naive", None), ("auto", None), ("auto", 4), *FORMS])


@settings(max_examples=60)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 17), ANY_FORM), min_size=1, max_size=5),
    decay=st.sampled_from(DECAYS),
    read=st.sampled_from(READS),
    normalise=st.booleans(),
    seed=st.integers(0, 99),
)
def test_split_law(pieces, decay, read, normalise, seed):
    """Pieces of any length, each in any form, with the state carried, are the whole: values and gradients."""
    whole = case(sum(n for n, _ in pieces), decay, read, normalise=normalise, seed=seed)
    whole = whole.map(lambda _, x: x.requires_grad_())

    def in_pieces(call: Case) -> tuple[torch.Tensor, torch.Tensor]:
        outputs, start, state = [], 0, call.initial_state
        for length, (form, chunk_size) in pieces:
            o, state = call.tokens(start, start + length, initial_state=state)(form, chunk_size)
            outputs.append(o)
            start += length
        return torch.cat(outputs, dim=1), state

    def everything(o, state):
        generator = torch.Generator().manual_seed(seed)
        weights = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in (o, state)]
        inputs = list(whole.tensors().values())
        gradients = torch.autograd.grad([o, state], inputs, weights, materialize_grads=True)
        return dict(enumerate([o.detach(), state.detach(), *gradients]))

    assert_equal(everything(*in_pieces(whole)), everything(*whole("auto")), 1e-10, least=0.1)


@settings(max_examples=40)
@given(
    batch=st.integers(0, 3),
    length=st.integers(0, 20),
    heads=st.integers(0, 3),
    features=st.integers(0, 9),
    values=st.integers(0, 9),
    decay=st.sampled_from(DECAYS),
    read=st.sampled_from(READS),
    form=ANY_FORM,
    normalise=st.booleans(),
)
def test_any_shape_works_even_empty(batch, length, heads, features, values, decay, read, form, normalise):
    """Any axis may be 0: outputs have the inputs' shapes and agree with the definition."""
    sizes = {"batch": batch, "heads": heads, "features": features, "values": values}
    call = case(length, decay, read, normalise=normalise, **sizes)
    found = results(call, *form)
    assert found["o"].shape == (batch, length, heads, values)
    assert found["final state"].shape == (batch, heads, features, values + normalise)
    assert_equal(found, results(call), 1e-10, least=0.1)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
def test_no_tokens_leave_the_state_alone(form, chunk_size):
    call = case(0, "token")
    o, state = call(form, chunk_size)
    assert o.shape == call.v.shape
    assert torch.equal(state, call.initial_state)
    assert state.data_ptr() != call.initial_state.data_ptr()
    assert not case(0, state=False)(form, chunk_size)[1].any()


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("decay", DECAYS)
def test_the_future_changes_no_bit_of_the_past(decay, read, form, chunk_size):
    """Causality: strong changes of tokens >= s leave outputs before s identical to the last bit."""
    for normalise in (False, True):
        call = case(37, decay, read, normalise=normalise, dtype=torch.float32)
        before, _ = call(form, chunk_size)
        for s in (1, 16, 20, 36):
            for factor in (5, 20):
                changed = call.map(lambda _, x: x.clone())
                changed.q[:, s:] *= factor
                changed.k[:, s:] *= factor
                changed.v[:, s:] += 7
                if decay in ("token", "feature"):
                    changed.log_decay[:, s:] -= 3
                after, _ = changed(form, chunk_size)
                assert torch.equal(after[:, :s], before[:, :s])
                assert not torch.equal(after[:, s:], before[:, s:])


@pytest.mark.parametrize(("form", "chunk_size"), FORMS)
@pytest.mark.parametrize("decay", DECAYS)
def test_prefix_law(decay, form, chunk_size):
    """The op on a prefix is the prefix of the op: nothing depends on the length."""
    call = case(40, decay, normalise=True)
    whole, _ = call(form, chunk_size)
    for s in (1, 15, 33):
        o, _ = call.tokens(0, s)(form, chunk_size)
        assert relative_error(o, whole[:, :s]) < 1e-12


def test_the_current_token_is_read_after_its_update_and_not_before_it():
    """`read` is the difference between seeing token t at t, and seeing it from t + 1 on."""
    call = case(5, state=False)
    changed = call.map(lambda _, x: x.clone())
    changed.v[:, 2] += 7
    for form, chunk_size in (("naive", None), *FORMS):
        for read, first in (("after", 2), ("before", 3)):
            old, new = (
                Case(**{**vars(c), "options": {"read": read}})(form, chunk_size)[0] for c in (call, changed)
            )
            differs = (old != new).any(dim=-1).any(dim=-1).any(dim=0)
            assert differs.tolist() == [t >= first for t in range(5)]


@pytest.mark.parametrize(("form", "chunk_size"), FORMS)
@pytest.mark.parametrize("decay", DECAYS)
def test_rows_and_heads_do_not_meet(decay, form, chunk_size):
    """Batch and heads are independent: a selection of the inputs gives the selection of the results."""
    call = case(20, decay, batch=4, heads=3)
    o, state = call(form, chunk_size)
    rows, heads = torch.tensor([2, 0]), torch.tensor([1, 2])
    axes = {"log_decay": 0 if decay == "head" else 2, "initial_state": 1}

    def select(name, x):
        x = x.index_select(axes.get(name, 2), heads)
        return x if name == "log_decay" and decay == "head" else x[rows]

    part, part_state = call.map(select)(form, chunk_size)
    torch.testing.assert_close(part, o[rows][:, :, heads])
    torch.testing.assert_close(part_state, state[rows][:, heads])


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("decay", DECAYS)
def test_strides_do_not_matter(decay, form, chunk_size):
    """Transposed, expanded and strided inputs give what contiguous ones give, gradients included."""
    call = case(20, decay, "bonus")
    call = call.map(lambda name, x: x[:1].expand_as(x) if name == "v" else x)

    def restride(name, x):
        if name == "v":
            return x[:1].expand_as(x)
        return torch.stack([x, x.flip(0)], dim=-1)[..., 0] if x.ndim == 1 else x.mT.contiguous().mT

    strided = call.map(restride)
    assert not any(x.is_contiguous() for x in strided.tensors().values())

    def all_results(given):
        leaves = given.map(lambda _, x: x.requires_grad_())
        o, state = leaves(form, chunk_size)
        inputs = list(leaves.tensors().values())
        # The gradient of a sum is an expanded tensor: strides of 0 reach the backward.
        return [o, state, *torch.autograd.grad(o.sum() + state.sum(), inputs)]

    for actual, expected in zip(
        all_results(strided), all_results(call.map(lambda _, x: x.contiguous())), strict=True
    ):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize(("form", "chunk_size"), [("naive", None), *FORMS])
@pytest.mark.parametrize("decay", DECAYS)
def test_inputs_are_not_changed_and_no_result_shares_their_memory(decay, form, chunk_size):
    """A state is a value: it may be continued twice."""
    call = case(1, decay, normalise=True)
    copies = {name: x.clone() for name, x in call.tensors().items()}
    o, state = call(form, chunk_size)
    o.fill_(9)
    state.fill_(9)
    for name, x in call.tensors().items():
        assert torch.equal(x, copies[name]), name
