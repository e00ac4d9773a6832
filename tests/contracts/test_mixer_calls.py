"""What the laws do not ask of every module, and every registered mixer has: forms, costs, plain states."""

import pickle
from dataclasses import fields

import pytest
import torch

from linsight import mixers
from linsight.conformance import Native, small_options
from linsight.conformance.laws.states import largest_tensor
from linsight.conformance.runs import in_pieces
from linsight.conformance.subject import kind_subject
from linsight.profiling import peak_bytes

OTHERWISE = {
    "heads": 4,
    "positions": "rotary",
    "feature_map": "relu",
    "normalise": False,
    "num_features": 5,
    "kernel": {"performer": "hyperbolic", "gau": "laplace", "flash": "laplace"},
    "scaling": "sqrt",
    "variant": "t1",
    "eps": 0.5,
    "block": 5,
    "window": 3,
    "stride": 4,
    "columns": 1,
    "combine": "heads",
    "part": "first",
    "rounds": 1,
    "buckets": 4,
    "size": 2,
    "expansion": 1,
    "key_dim": 6,
    "chunk": 5,
    "norm": "position",
    "n_max": 2000,
    "num_projected": 5,
    "sharing": "none",
    "mixer": mixers.config("linear", heads=2, feature_map="relu"),
    "shared": True,
    "states": 4,
    "init": "inv",
    "discretisation": {"hippo": "zoh", "s4d": "bilinear"},
    "dt_min": 0.05,
    "dt_max": 0.5,
    "expand": 3,
    "taps": 2,
    "allow_neg_eigval": True,
    "step_rank": 2,
    "r_min": 0.5,
    "r_max": 0.9,
    "max_phase": 0.3,
    "head_dim": {"gated_delta": 3, "mamba2": 8, "rwkv6": 4, "rwkv7": 4},
    "groups": 4,
    "norm_before_gate": True,
    "step_limits": (0.02, 0.03),
    "mix_rank": 3,
    "decay_rank": 3,
    "rate_rank": 3,
    "gate_rank": 3,
    "hidden": 5,
    "order": 3,
    "memories": 1,
}
"""Another value of every option that says what is computed; by kind, where kinds share the name alone."""

FOURIER = ("s4", "s4d")
"""Kinds whose parallel form is a Fourier transform: T log T."""

HOW = ("kind", "form", "redraw_every", "layer", "num_layers", "value_rank")
"""Options that name the mixer, say how it is computed, when it changes, and where it stands (which decides
initial values, and what layers after the first have: both tested with the mixers)."""


def test_the_form_is_an_option_and_an_attribute(case, signal):
    for form in case().forms:
        mixer = case(form=form)
        assert mixer.form == form
        mixer(signal(1, 3))
        assert mixer.last_form == form
    assert case().form == "auto"


@pytest.mark.parametrize("kind", mixers.kinds())
def test_every_option_makes_a_difference(kind, signal):
    """The trap: an option that is accepted and ignored, as a published layer does with its position bias."""
    x, known = signal(2, 30), mixers.config(kind)

    def output(**options):
        # Moved by noise: what starts at 0 would hide the option.
        subject = kind_subject(kind, causal=known.directions[0], small=small_options(kind), **options)
        return subject.build()(x)[0]

    for option in (field.name for field in fields(known) if field.name not in HOW):
        other = OTHERWISE[option]
        other = other[kind] if isinstance(other, dict) else other
        assert not torch.equal(output(**{option: other}), output()), f"{option} is ignored"


def test_memory_grows_with_the_length_and_not_with_its_square(case):
    """In training and without; at 4 times the length all pairs of tokens take 16 times as much."""
    for causal in case.directions:
        mixer = case(torch.float32, causal=causal, **({"n_max": 2048} if case.kind == "linformer" else {}))
        if mixer.state_grows:
            pytest.skip("its cost is not linear")

        def call(length, train, mixer=mixer):
            x = torch.ones(1, length, 8)
            with torch.set_grad_enabled(train):
                y = mixer(x)[0]
            if train:
                y.sum().backward()

        for train in (False, True):
            short, long = (peak_bytes(lambda n=length, train=train: call(n, train)) for length in (512, 2048))
            assert long <= 4.01 * short, f"causal={causal}, training={train}: {short} and {long} bytes"


def test_order_of_the_past_matters_exactly_where_positions_say(case, signal):
    mixer, x = case(), signal(1, 12)
    mixed = torch.cat([x[:, :11].flip(1), x[:, 11:]], dim=1)
    want = mixer(x)[0][:, -1]
    change = ((mixer(mixed)[0][:, -1] - want).norm() / want.norm()).item()
    assert change > 1e-4 if case.sees_order else change < 1e-12


def test_decoding_moves_the_memory_of_a_growing_state_rarely(case, signal):
    """A cache copied at every step costs O(T) each: its room grows geometrically, and steps write into it."""
    mixer, token = case(), signal(1, 1)
    if not mixer.state_grows:
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
        # Linformer's keys are projected to a few; a step of a growing state reads a share of all tokens.
        linear = case.kind in ("linformer", *FOURIER)
        quadratic = (form == "parallel" and not linear) or mixer.state_grows
        logarithm = 0.1 if case.kind in FOURIER else 0.05
        assert growth == pytest.approx(4 if quadratic else 2, rel=logarithm), form


def test_a_state_is_plain_data(causal_case, signal, trial):
    """A NamedTuple of tensors: picklable, movable, detachable."""
    mixer = causal_case()
    _, state = mixer(signal(2, 5))
    assert isinstance(state, tuple)
    assert all(isinstance(tensor, torch.Tensor) for tensor in state)
    again = pickle.loads(pickle.dumps(type(state)(*(tensor.detach() for tensor in state))))
    trial.states(again._asdict(), state._asdict(), 0.0, "after pickling")
    moved = type(state)(*(tensor.detach().to("cpu", copy=True) for tensor in state))
    trial.same(mixer(signal(2, 3), moved)[0], mixer(signal(2, 3), state)[0], "after a copy")


def test_a_state_that_steps_have_made_may_be_continued_twice(causal_case, signal):
    """The first call's cache has no room behind it, as the law of forks has it; a later one's has."""
    mixer, token = causal_case(), signal(2, 1)
    with torch.no_grad():
        state = None
        for _ in range(4):
            _, state = mixer(token, state)
        _, one = mixer(token, state)
        kept = [tensor.clone() for tensor in one]
        mixer(-token, state)
    assert all(torch.equal(tensor, before) for tensor, before in zip(one, kept, strict=True))


def test_initial_state_takes_dtype_and_device(causal_case):
    state = causal_case(torch.float32).initial_state(3, dtype=torch.float64, device="cpu")
    assert all(tensor.dtype in (torch.float64, torch.int64) for tensor in state)
    assert all(len(tensor) == 3 for tensor in state)
    assert not any(tensor.any() for tensor in state)


def test_the_split_law_under_autocast(causal_case, signal, trial):
    """Activations round to 2^-9 in bfloat16; the state does not."""
    mixer, x = Native(causal_case(torch.float32)), signal(2, 80).float()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        y, state = in_pieces(mixer, x, (33, 1, 46))
        whole, final = mixer(x)
    trial.close(y, whole, 1e-2, "y in pieces")
    trial.states(mixer.tensors(state), mixer.tensors(final), 1e-2, "final")


def test_every_parameter_gets_a_finite_gradient(case, signal):
    for causal in case.directions:
        mixer = case(causal=causal)
        mixer(signal(2, 9))[0].square().sum().backward()
        for name, parameter in mixer.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name


def test_the_chunk_form_never_holds_every_outer_product(signal):
    """The textbook form materialises all k_t v_t^T (T K V numbers): 170 times slower than chunks."""
    length, dim = 2048, 64
    mixer = mixers.build("linear", dim=dim, heads=2, form="chunk")
    x = signal(1, length, dim).float()
    with torch.no_grad():
        largest = largest_tensor(lambda: mixer(x))
    assert largest <= 4 * length * dim, f"{largest} numbers in one tensor, {length * dim} in x"
