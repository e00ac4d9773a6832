"""Every registered mixer: split law, forms, causality, batch, fork, step, size (spec/mixers.md, 2)."""

import pickle

import laws
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

LENGTH = 100
SPLITS = [(1, 99), (63, 37), (64, 36), (65, 35), (7, 11, 13, 17, 19, 23, 10), (1,) * LENGTH]


@pytest.mark.parametrize("sizes", SPLITS, ids=lambda sizes: f"{len(sizes)}-pieces-from-{sizes[0]}")
def test_split_law_in_every_form(case, signal, sizes):
    mixer = case()
    for form in (*mixer.forms, "auto"):
        with laws.in_form(mixer, form), torch.no_grad():
            laws.split_law(mixer, signal(2, LENGTH), sizes, 1e-10)


@pytest.mark.parametrize("sizes", [(37, 63), (64, 36)])
def test_split_law_in_float32_and_from_a_state(case, signal, sizes):
    mixer = case(torch.float32)
    for form in (*mixer.forms, "auto"):
        with laws.in_form(mixer, form), torch.no_grad():
            laws.split_law(mixer, signal(2, LENGTH).float(), sizes, 1e-5, case.started(mixer, 2))


def test_split_law_at_random_splits(case, signal):
    mixer = case()

    @settings(max_examples=20)
    @given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5), start=st.integers(1, 70))
    def at(sizes, start):
        with torch.no_grad():
            laws.split_law(mixer, signal(2, sum(sizes)), sizes, 1e-10, case.started(mixer, 2, start))

    at()


@pytest.mark.parametrize("length", [1, 2, 7, 63, 64, 65, 130, 199])
def test_all_forms_are_one_function(case, signal, length):
    mixer, x = case(), signal(2, length)
    with torch.no_grad():
        laws.form_law(mixer, x, 1e-10)
        laws.form_law(mixer, x, 1e-10, case.started(mixer, 2), torch.tensor([length, length // 2]))


@pytest.mark.parametrize("length", [7, 199])
def test_all_forms_are_one_function_in_float32(case, signal, length):
    mixer = case(torch.float32)
    with torch.no_grad():
        laws.form_law(mixer, signal(2, length).float(), 1e-5, case.started(mixer, 2))


def test_the_form_is_an_option_and_an_attribute(case, signal):
    for form in case().forms:
        mixer = case(form=form)
        assert mixer.form == form
        mixer(signal(1, 3))
        assert mixer.last_form == form
    assert case().form == "auto"


@pytest.mark.parametrize("start", [1, 5, 64, 69])
def test_the_future_changes_no_bit_of_the_past(case, signal, start):
    mixer = case()
    for form in mixer.forms:
        with laws.in_form(mixer, form), torch.no_grad():
            laws.causality_law(mixer, signal(2, 70), start)


@pytest.mark.parametrize("start", [1, 5, 64, 69])
def test_outputs_of_a_prefix_are_the_prefix_of_outputs(case, signal, start):
    mixer = case()
    for form in mixer.forms:
        with laws.in_form(mixer, form), torch.no_grad():
            laws.prefix_law(mixer, signal(2, 70), start, 1e-10)


def test_the_first_token_is_remembered(case, signal):
    laws.memory_law(case(), signal(3, 20))


def test_rows_are_independent_and_states_select_along_batch(case, signal):
    mixer = case()
    for form in mixer.forms:
        with laws.in_form(mixer, form), torch.no_grad():
            laws.batch_law(mixer, signal(4, 20), 1e-10)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("length", [1, 33])
def test_a_state_can_be_continued_twice(case, signal, mode, length):
    mixer = case()
    for form in mixer.forms:
        with laws.in_form(mixer, form), mode():
            laws.fork_law(mixer, signal(2, length))


def test_decoding_in_inference_mode_equals_the_whole(case, signal):
    """What generation does: a long call for the prompt, then steps of one token."""
    mixer, x = case(), signal(2, 90)
    with torch.inference_mode():
        laws.split_law(mixer, x, (50, *[1] * 40), 1e-10)


def test_order_of_the_past_matters_exactly_where_positions_say(case, signal):
    mixer, x = case(), signal(1, 12)
    mixed = torch.cat([x[:, :11].flip(1), x[:, 11:]], dim=1)
    change = laws.relative_rms(mixer(mixed)[0][:, -1], mixer(x)[0][:, -1])
    assert change > 1e-4 if case.sees_order else change < 1e-12


def test_state_size_is_what_the_tensors_hold(case, signal):
    for dtype in (torch.float32, torch.float64):
        laws.size_law(case(dtype), signal(2, 100).to(dtype))


def test_a_state_of_fixed_size_makes_every_step_equally_large(case, signal):
    """A step never allocates O(T): the largest tensor of a step is the same after 5 and after 500 tokens."""
    mixer = case(torch.float32)
    if mixer.state_size(500) != mixer.state_size(5):
        pytest.skip("the state grows with the sequence")
    states = [case.started(mixer, 1, length) for length in (5, 500)]
    token = signal(1, 1).float()
    early, late = (laws.largest_tensor(lambda state=state: mixer(token, state)) for state in states)
    assert early == late


def test_decoding_moves_the_memory_of_a_growing_state_rarely(case, signal):
    """A cache copied at every step costs O(T) each: its room grows geometrically, and steps write into it."""
    mixer, token = case(), signal(1, 1)
    if mixer.state_size(500) == mixer.state_size(5):
        pytest.skip("the state has a fixed size")
    state, places, moves = None, None, 0
    with torch.no_grad():
        for _ in range(300):
            _, state = mixer(token, state)
            before, places = places, [tensor.data_ptr() for tensor in state if tensor.is_floating_point()]
            moves += before != places
    assert moves <= 15, f"{moves} moves in 300 steps"


def test_cost_counts_every_form_it_names(case):
    mixer = case()
    small, large = mixer.cost(4096), mixer.cost(8192)
    assert set(small) == set(large) <= set(mixer.forms)
    for form, cost in small.items():
        assert cost.flops > 0
        assert cost.bytes > 0
        growth = large[form].flops / cost.flops
        quadratic = form == "parallel"
        assert growth == pytest.approx(4 if quadratic else 2, rel=0.05), form


def test_a_state_is_plain_data(case, signal):
    """Picklable, movable, detachable: nothing but tensors in a tuple."""
    mixer = case()
    _, state = mixer(signal(2, 5))
    again = pickle.loads(pickle.dumps(type(state)(*(tensor.detach() for tensor in state))))
    laws.assert_states(again, state, 0.0, "after pickling")
    moved = type(state)(*(tensor.detach().to("cpu", copy=True) for tensor in state))
    laws.assert_close(mixer(signal(2, 3), moved)[0], mixer(signal(2, 3), state)[0], 0.0, "after a copy")


def test_two_evaluations_give_the_same_bits(case, signal):
    for causal in (True, False):
        mixer, x = case(causal=causal), signal(2, 70)
        assert torch.equal(mixer(x)[0], mixer(x)[0])
        assert torch.equal(mixer.eval()(x)[0], mixer.train()(x)[0])


def test_save_and_load_and_continue(case, signal, tmp_path):
    mixer, x = case(), signal(2, 20)
    want = mixer(x)[0]
    _, state = mixer(x[:, :11])
    torch.save((mixer.state_dict(), tuple(state)), tmp_path / "saved.pt")
    weights, tensors = torch.load(tmp_path / "saved.pt", weights_only=True)
    fresh = case()
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            tensor.zero_()
    fresh.load_state_dict(weights)
    assert torch.equal(fresh(x)[0], want)
    laws.assert_close(
        fresh(x[:, 11:], type(state)(*tensors))[0], want[:, 11:], 1e-10, "continued after loading"
    )


def test_a_seed_fixes_the_initial_weights(case):
    first, second = case(), case()
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
