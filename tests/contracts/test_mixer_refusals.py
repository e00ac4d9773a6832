"""What every registered mixer refuses, and with which words (spec/mixers.md, section 2: 4, 11, 16)."""

import subprocess
import sys

import pytest
import torch

from linsight import mixers

HEADED = [kind for kind in mixers.kinds() if hasattr(mixers.config(kind), "heads")]


def refused(error, match, call):
    with pytest.raises(error, match=match) as info:
        call()
    assert "\n" not in str(info.value), "a refusal is one line"


def test_x_of_another_shape(case, signal):
    mixer = case()
    refused(ValueError, r"x.*\(?batch", lambda: mixer(signal(2, 3)[0]))
    refused(ValueError, r"x.*8.*6|dim.*8.*6|6.*8", lambda: mixer(signal(2, 3, 6)))


def test_x_that_is_not_real(case):
    refused((TypeError, ValueError), "x", lambda: case()(torch.ones(2, 3, 8, dtype=torch.int64)))


@pytest.mark.parametrize("lengths", [(4, 1), (-1, 2), (2,), (1, 1, 1)], ids=str)
def test_lengths_out_of_range_or_of_another_batch(case, signal, lengths):
    refused(ValueError, "lengths", lambda: case()(signal(2, 3), None, torch.tensor(lengths)))


def test_lengths_that_are_not_whole_numbers(case, signal):
    for lengths in (torch.tensor([1.0, 2.0]), torch.tensor([True, False])):
        refused(
            (TypeError, ValueError), "lengths", lambda lengths=lengths: case()(signal(2, 3), None, lengths)
        )


def test_a_mask_in_the_place_of_lengths(case, signal):
    mask = torch.tensor([[False, True, True], [True, False, True]])
    refused(ValueError, "lengths.*right|right.*lengths", lambda: case()(signal(2, 3), None, mask))


def test_a_state_of_another_batch(causal_case, signal):
    mixer = causal_case()
    refused(ValueError, "state", lambda: mixer(signal(3, 4), causal_case.started(mixer, 2)))


def test_a_state_of_another_width(causal_case, signal):
    mixer, wide = causal_case(), causal_case(dim=16)
    refused(ValueError, "state", lambda: mixer(signal(2, 4), causal_case.started(wide, 2)))


def test_a_state_of_another_mixer(causal_case, signal):
    mixer = causal_case()
    for kind in mixers.kinds():
        if kind != causal_case.kind and True in mixers.config(kind).directions:
            other = mixers.build(kind, dim=8).double()
            refused(
                (ValueError, TypeError),
                "state",
                lambda other=other: mixer(signal(2, 4), other.initial_state(2)),
            )
    refused((ValueError, TypeError), "state", lambda: mixer(signal(2, 4), torch.zeros(2, 3)))


def test_a_state_given_to_a_bidirectional_mixer(bidirectional_case, signal):
    mixer, state = bidirectional_case(causal=False), mixers.build("linear", dim=8).initial_state(2)
    refused(ValueError, "state.*causal=False takes none", lambda: mixer(signal(2, 4), state))


def test_a_bidirectional_mixer_has_no_state(bidirectional_case, signal):
    mixer = bidirectional_case(causal=False)
    assert mixer.causal is False
    assert mixer(signal(2, 4))[1] is None


def test_a_direction_that_a_kind_does_not_have(case):
    for causal in {True, False} - set(case.directions):
        refused(ValueError, "causal", lambda causal=causal: case(causal=causal))


def test_a_form_the_mixer_does_not_have(case):
    missing = {"naive", "parallel", "chunk", "recurrent"} - set(case().forms)
    for form in sorted(missing):
        refused(NotImplementedError, ", ".join(case().forms), lambda form=form: case(form=form))


def test_an_unknown_kind_names_the_known_ones():
    refused(ValueError, "linaer.*linear.*softmax", lambda: mixers.build("linaer", dim=8))


def test_an_unknown_option_is_named(case):
    refused((ValueError, TypeError), "widht", lambda: mixers.build(case.kind, dim=8, widht=1))


@pytest.mark.parametrize("kind", HEADED)
def test_dim_that_does_not_divide_into_heads(kind):
    refused(ValueError, r"dim 10\D.*heads 4", lambda: mixers.build(kind, dim=10, heads=4))
    for heads in (0, -2):
        refused(ValueError, "heads", lambda heads=heads: mixers.build(kind, dim=8, heads=heads))


def test_an_unknown_feature_map_names_the_known_ones():
    refused(
        ValueError, "elu2.*elu1.*taylor2", lambda: mixers.build("linear", dim=8, heads=2, feature_map="elu2")
    )


def test_a_signed_feature_map_has_no_normaliser():
    refused(
        ValueError,
        "identity.*normalise|normalise.*identity",
        lambda: mixers.build("linear", dim=8, heads=2, feature_map="identity", normalise=True),
    )
    mixers.build("linear", dim=8, heads=2, feature_map="identity", normalise=False)


CHOSEN = {
    "softmax": ("positions", "rotary"),
    "local": ("positions", "rotary"),
    "strided": ("combine", "merged"),
    "fixed": ("combine", "merged"),
    "norm_attention": ("variant", "t2"),
    "diag_attention": ("variant", "t2"),
    "performer": ("kernel", "exp"),
    "linformer": ("sharing", "kv"),
    "gau": ("kernel", "laplace"),
    "flash": ("kernel", "laplace"),
    "hippo": ("discretisation", "bilinear"),
    "s4d": ("init", "legs"),
}
"""An option of each kind that names one of a few things, and one of them."""

CHOICES = """
from linsight import mixers
for kind, option, known in {choices}:
    causal = mixers.config(kind).directions[0]
    for late in (False, True) if option == "form" else (False,):
        try:
            if late:
                mixers.build(kind, dim=8, causal=causal).form = "fastest"
            else:
                mixers.build(kind, dim=8, causal=causal, **{{option: "fastest"}})
            print(kind, option, "was accepted")
        except (ValueError, NotImplementedError) as error:
            print(option, known, "|", error)
"""


def test_an_unknown_choice_names_the_known_ones():
    """In another process: here the shape checks would catch it before the code a user runs does."""
    choices = [(kind, "form", "naive") for kind in mixers.kinds()]
    choices += [(kind, *chosen) for kind, chosen in CHOSEN.items()]
    program = CHOICES.format(choices=choices)
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    lines = printed.splitlines()
    assert len(lines) == len(choices) + len(mixers.kinds())
    for line in lines:
        words, _, message = line.partition(" | ")
        option, known = words.split()
        assert option in message, line
        assert "fastest" in message, line
        assert known in message, line


def test_rotary_positions_need_an_even_head_width():
    refused(ValueError, "rotary|even", lambda: mixers.build("softmax", dim=6, heads=2, positions="rotary"))


@pytest.mark.parametrize("kind", mixers.kinds())
def test_a_width_below_1(kind):
    for dim in (0, -8):
        refused(ValueError, "dim", lambda dim=dim: mixers.build(kind, dim=dim))


@pytest.mark.parametrize("kind", HEADED)
def test_heads_that_do_not_share_the_width_are_refused_with_the_nearest_widths(kind):
    with pytest.raises(ValueError, match="dim 100 is not divisible by heads 8; use dim 96 or 104"):
        mixers.build(kind, dim=100, heads=8)
    with pytest.raises(ValueError, match="dim 3 is not divisible by heads 8; use dim 8"):
        mixers.build(kind, dim=3, heads=8)
    with pytest.raises(ValueError, match="expected heads of at least 1, got 0"):
        mixers.build(kind, dim=8, heads=0)
