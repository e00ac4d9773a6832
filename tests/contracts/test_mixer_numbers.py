"""Every registered mixer's number formats and memory (spec/mixers.md, section 2: 6, 7, 10)."""

import copy

import laws
import poison
import pytest
import torch

# Relative RMS error against the naive form in float64 at length 200. The weights are rounded before, so what
# remains is rounding of activations: 2^-9 in bfloat16 and 2^-12 in float16 at each of about five places,
# doubled by the squares of relu2, taylor2 and dpfp.
BUDGETS = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 2.5e-3}


@pytest.mark.parametrize("dtype", BUDGETS, ids=str)
def test_the_dtype_ladder_stays_within_its_budget(case, signal, dtype):
    mixer, x = case(dtype), signal(2, 200).to(dtype)
    reference = copy.deepcopy(mixer).double()
    with torch.no_grad(), laws.in_form(reference, "naive"):
        want = reference(x.double())[0]
    for form in (*mixer.forms, "auto"):
        with torch.no_grad(), laws.in_form(mixer, form):
            y, _ = mixer(x)
        assert y.dtype == dtype
        error = laws.relative_rms(y, want)
        assert error <= BUDGETS[dtype], f"form {form} in {dtype}: {error:.3g}"


@pytest.mark.parametrize(
    ("dtype", "accumulator"), [(torch.float32, torch.float32), (torch.float64, torch.float64)]
)
def test_states_have_the_declared_dtypes(case, signal, dtype, accumulator):
    laws.state_law(case(dtype), signal(3, 7).to(dtype), accumulator)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_accumulating_states_are_float32_in_half_precision(case, signal, dtype):
    mixer = case(dtype)
    if mixer.state_size(500) != mixer.state_size(5):
        pytest.skip("a cache keeps tokens and adds nothing up")
    laws.state_law(mixer, signal(3, 7).to(dtype), torch.float32)


def test_accumulating_states_are_float32_under_autocast(case, signal):
    mixer, x = case(torch.float32), signal(3, 9).float()
    if mixer.state_size(500) != mixer.state_size(5):
        pytest.skip("a cache keeps tokens and adds nothing up")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for form in mixer.forms:
            with laws.in_form(mixer, form):
                laws.state_law(mixer, x, torch.float32)


def test_the_split_law_under_autocast(case, signal):
    mixer, x = case(torch.float32), signal(2, 80).float()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        laws.split_law(mixer, x, (33, 1, 46), 1e-2)


def test_running_sums_count_past_256_under_autocast(case, signal):
    """A bfloat16 sum of equal terms stops at 256; here 300 steps of one token precede 300 of another."""
    mixer = case(torch.float32)
    if mixer.state_size(500) != mixer.state_size(5):
        pytest.skip("a cache keeps tokens and adds nothing up")
    first, second = signal(2, 1).float()[:, 0]
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        laws.accumulation_law(mixer, first, second, half=300, tolerance=2e-2)


def test_initial_state_takes_dtype_and_device(case):
    state = case(torch.float32).initial_state(3, dtype=torch.float64, device="cpu")
    assert all(tensor.dtype in (torch.float64, torch.int64) for tensor in state)
    assert all(len(tensor) == 3 for tensor in state)
    assert not any(tensor.any() for tensor in state)


@pytest.mark.parametrize("causal", [True, False])
def test_uninitialised_memory_is_never_read(case, signal, causal):
    with torch.no_grad():
        poison.poison_law(case(causal=causal), signal(4, 70), torch.tensor([70, 5, 0, 64]))


def test_uninitialised_memory_is_never_read_in_steps(case, signal):
    mixer, x = case(), signal(2, 20)
    want, final = mixer(x)
    with poison.poisoned(), torch.no_grad():
        y, state = laws.in_pieces(mixer, x, [1] * 20)
    laws.assert_close(y, want, 1e-10, "poisoned steps")
    laws.assert_states(state, final, 1e-10, "poisoned steps")


def test_the_chunk_form_never_holds_every_outer_product(signal):
    """The textbook form materialises all k_t v_t^T (T K V numbers): 170 times slower than chunks."""
    from linsight import mixers

    length, dim = 2048, 64
    mixer = mixers.build("linear", dim=dim, heads=2, form="chunk")
    x = signal(1, length, dim).float()
    with torch.no_grad():
        largest = laws.largest_tensor(lambda: mixer(x))
    assert largest <= 4 * length * dim, f"{largest} numbers in one tensor, {length * dim} in x"
