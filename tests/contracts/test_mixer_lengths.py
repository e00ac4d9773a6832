"""Every registered mixer with padded rows (spec/mixers.md, section 2: 4)."""

import laws
import laws_lengths
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

LENGTHS = [(70, 1, 64, 65), (5, 0, 70, 63), (0, 0, 0, 0), (1, 1, 1, 1), (70, 70, 70, 70)]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_a_padded_row_is_its_solo_run(case, signal, lengths, causal):
    mixer, x = case(causal=causal), signal(4, 70)
    for form in mixer.forms:
        with laws.in_form(mixer, form), torch.no_grad():
            laws_lengths.lengths_law(mixer, x, torch.tensor(lengths), 1e-10)
            if causal:
                laws_lengths.lengths_law(mixer, x, torch.tensor(lengths), 1e-10, case.started(mixer, 4))


def test_a_padded_row_is_its_solo_run_in_float32(case, signal):
    mixer, x = case(torch.float32), signal(4, 70).float()
    with torch.no_grad():
        laws_lengths.lengths_law(mixer, x, torch.tensor(LENGTHS[1]), 1e-5, case.started(mixer, 4))


def test_a_row_of_no_tokens_keeps_its_state(case, signal):
    mixer = case()
    state = case.started(mixer, 2)
    y, final = mixer(signal(2, 7), state, torch.tensor([0, 0]))
    assert not y.any()
    laws.assert_same_sequences(final, state, 0.0, "length 0")


def test_ragged_pieces_continue_each_row_at_its_own_position(case, signal):
    """Prompts of different lengths, then steps of one token in which some rows rest."""
    mixer = case()
    pieces = [(9, 2, 5), (1, 1, 1), (1, 0, 1), (0, 1, 1), (20, 1, 64), (1, 1, 1)]
    for form in mixer.forms:
        with laws.in_form(mixer, form), torch.no_grad():
            laws_lengths.ragged_law(mixer, signal(3, 88), [torch.tensor(piece) for piece in pieces], 1e-10)


def test_random_lengths(case, signal):
    mixer = case()

    @settings(max_examples=15)
    @given(st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3).filter(any), min_size=1, max_size=4))
    def of(pieces):
        pieces = [torch.tensor([1, 1, 1]), *(torch.tensor(piece) for piece in pieces)]
        width = sum(int(piece.max()) for piece in pieces)
        with torch.no_grad():
            laws_lengths.ragged_law(mixer, signal(3, width), pieces, 1e-10)

    of()


@pytest.mark.parametrize("causal", [True, False])
def test_padding_gets_no_gradient_and_gives_none(case, signal, causal):
    mixer = case(causal=causal)
    for form in mixer.forms:
        with laws.in_form(mixer, form):
            laws_lengths.padding_gradient_law(mixer, signal(4, 12), torch.tensor([12, 5, 0, 1]), 1e-9)


def test_lengths_of_whole_rows_change_nothing(case, signal):
    mixer, x = case(), signal(2, 30)
    y, final = mixer(x, None, torch.tensor([30, 30]))
    want, want_final = mixer(x)
    laws.assert_close(y, want, 1e-12, "full lengths")
    laws.assert_states(final, want_final, 1e-12, "full lengths")
