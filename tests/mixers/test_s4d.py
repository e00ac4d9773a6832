"""S4D against a dense real system by scipy (spec/mixers.md, section 15)."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from linsight import mixers, optim

FORMS = ("naive", "parallel", "chunk", "recurrent", "auto")


def built(**options) -> mixers.Mixer:
    torch.manual_seed(0)
    return mixers.build("s4d", **{"dim": 6, "states": 8, **options}).double()


def finished(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """y + D u, GELU by the error function, a linear map and a gate."""
    z = y + weights["D"] * x
    z = z * (1 + torch.erf(z / math.sqrt(2))) / 2
    value, gate = (z @ weights["out.weight"].T + weights["out.bias"]).chunk(2, -1)
    return value / (1 + (-gate).exp())


def defined(mixer: mixers.Mixer, x: Tensor, method: str) -> Tensor:
    """Channel by channel, the pairs written as real systems of 2 x 2, discretised by scipy and stepped."""
    weights = {name: parameter.detach() for name, parameter in mixer.named_parameters()}
    batch, length, dim = x.shape
    y = np.zeros(x.shape)
    for d in range(dim):
        real, imag = -weights["log_A_real"][d].exp().numpy(), weights["A_imag"][d].numpy()
        pairs = len(real)
        A, B, C = np.zeros((2 * pairs, 2 * pairs)), np.zeros((2 * pairs, 1)), np.zeros((1, 2 * pairs))
        for n in range(pairs):
            at = slice(2 * n, 2 * n + 2)
            A[at, at] = [[real[n], -imag[n]], [imag[n], real[n]]]
            B[at, 0] = weights["B"][d, n]
            C[0, at] = 2 * weights["C"][d, n, 0], -2 * weights["C"][d, n, 1]
        step = weights["log_dt"][d].exp().item()
        A, B, *_ = scipy.signal.cont2discrete((A, B, C, np.zeros((1, 1))), step, method=method)
        for b in range(batch):
            h = np.zeros((2 * pairs, 1))
            for t in range(length):
                h = A @ h + B * x[b, t, d].item()
                y[b, t, d] = (C @ h).item()
    return finished(weights, x, torch.from_numpy(y))


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
@pytest.mark.parametrize("init", ["lin", "inv", "legs", "real"])
def test_every_form_is_the_dense_system(init, method, trial, signal):
    """Also tells a missing factor 2, and the real part taken before the sum."""
    mixer, x = built(init=init, discretisation=method), signal(2, 70, 6)
    want = defined(mixer, x, method)
    for mixer.form in FORMS:
        with torch.no_grad():
            trial.close(mixer(x)[0], want, 1e-10, mixer.form)


@pytest.mark.parametrize(
    ("init", "real", "imag"),
    [
        ("lin", [-0.5] * 4, [0, math.pi, 2 * math.pi, 3 * math.pi]),
        ("inv", [-0.5] * 4, [17.825, 4.2441, 1.5279, 0.36378]),
        ("legs", [-0.5] * 4, [19.857, 5.3542, 1.9578, 0.4275]),
        ("real", [-1, -2, -3, -4], [0, 0, 0, 0]),
    ],
)
def test_where_eigenvalues_begin(init, real, imag):
    """With N the full number of states: half of it would give other numbers to `inv`."""
    mixer = mixers.build("s4d", dim=3, states=8, init=init)
    weights = dict(mixer.named_parameters())
    for d in range(3):
        assert (-weights["log_A_real"][d].exp()).tolist() == pytest.approx(real, abs=1e-5)
        assert weights["A_imag"][d].tolist() == pytest.approx(imag, abs=5e-4)


def test_steps_are_log_uniform_between_their_bounds():
    torch.manual_seed(0)
    log_dt = mixers.build("s4d", dim=4000, states=2).get_parameter("log_dt")
    low, high = math.log(1e-3), math.log(0.1)
    assert low <= log_dt.min() < low + 0.01
    assert high - 0.01 < log_dt.max() <= high + 1e-6
    assert log_dt.mean().item() == pytest.approx((low + high) / 2, abs=0.1)


def test_the_worked_example_through_the_whole_layer():
    """One pair, A = -0.5 + pi i, B = C = 1, dt = 0.1, D = 0: an impulse gives the kernel."""
    mixer = mixers.build("s4d", dim=1, states=2).double()
    with torch.no_grad():
        for name, value in (("log_dt", math.log(0.1)), ("log_A_real", math.log(0.5)), ("A_imag", math.pi)):
            mixer.get_parameter(name).fill_(value)
        for name in ("B", "C"):
            mixer.get_parameter(name).copy_(torch.tensor([[[1.0, 0.0]]]))
        mixer.get_parameter("D").zero_()
        mixer.get_parameter("out.weight").copy_(torch.tensor([[1.0], [0.0]]))
        mixer.get_parameter("out.bias").copy_(torch.tensor([0.0, 30.0]))
    x = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).reshape(1, 4, 1)
    kernel = torch.tensor([0.191929, 0.164773, 0.124467, 0.0761113], dtype=torch.float64)
    want = torch.nn.functional.gelu(kernel)
    for mixer.form in FORMS:
        torch.testing.assert_close(mixer(x)[0].flatten(), want, rtol=0, atol=1e-6)


def test_no_state_can_grow_whatever_the_parameters():
    """Re A = -exp(...) stays below 0."""
    mixer = built()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(3 * torch.randn_like(parameter))
    for method in ("zoh", "bilinear"):
        mixer.config = mixers.config("s4d", states=8, discretisation=method)
        assert (mixer.discretised()[0].real <= 0).all()


def test_the_dynamics_learn_slowly_and_without_decay(signal):
    """One step of AdamW at lr 0.1: A, B and dt move by 1e-3, C and D by 0.1."""
    mixer = mixers.build("s4d", dim=4, states=4)
    groups = optim.param_groups(mixer, lr=0.1, weight_decay=0.5)
    of = {name: group for group in groups for name in group["param_names"]}
    for name in ("log_A_real", "A_imag", "B", "log_dt"):
        assert (of[name]["lr"], of[name]["weight_decay"]) == (1e-3, 0), name
    assert of["C"]["lr"] == of["D"]["lr"] == 0.1
    before = {name: parameter.detach().clone() for name, parameter in mixer.named_parameters()}
    mixer(signal(2, 20, 4).float())[0].square().sum().backward()
    torch.optim.AdamW(groups).step()
    for name, parameter in mixer.named_parameters():
        moved = (parameter - before[name]).abs().max().item()
        assert moved == pytest.approx(of[name]["lr"], rel=0.6), name


def test_a_state_holds_half_the_states_as_pairs_of_numbers(signal):
    mixer = mixers.build("s4d", dim=6, states=8)
    _, state = mixer(signal(2, 5, 6).bfloat16().float())
    assert state.h.shape == (2, 6, 4, 2)
    assert state.h.dtype == torch.float32
    assert mixer.state_size(1) == 4 * 6 * 8


def test_what_does_not_exist_is_refused():
    for options, words in (
        ({"states": 7}, "mixer 's4d': expected an even number of states, .* got states 7"),
        ({"states": 0}, "got states 0"),
        ({"dt_min": 0.0}, "mixer 's4d': expected 0 < dt_min <= dt_max, got 0.0 and 0.1"),
        ({"dt_min": 1.0}, "got 1.0 and 0.1"),
        ({"causal": False}, "mixer 's4d' sees the past alone"),
    ):
        with pytest.raises(ValueError, match=words):
            mixers.build("s4d", dim=4, **options)
