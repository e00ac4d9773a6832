"""LRU against a literal loop of complex numbers (spec/mixers.md, section 16)."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from linsight import mixers, optim

FORMS = ("naive", "chunk", "recurrent", "auto")


def built(**options) -> mixers.Mixer:
    torch.manual_seed(0)
    return mixers.build("lru", **{"dim": 6, "states": 5, **options}).double()


def defined(mixer: mixers.Mixer, x: Tensor) -> Tensor:
    """Token by token in numpy; no factor 2, for the states are no pairs."""
    w = {name: parameter.detach().numpy() for name, parameter in mixer.named_parameters()}
    decay = np.exp(-np.exp(w["nu_log"]) + 1j * np.exp(w["theta_log"]))
    B, C = w["B_re"] + 1j * w["B_im"], w["C_re"] + 1j * w["C_im"]
    rows = []
    for tokens in x.numpy():
        h, row = np.zeros(len(decay), complex), []
        for token in tokens:
            h = decay * h + np.exp(w["gamma_log"]) * (B @ token)
            row.append((C @ h).real + w["D"] * token)
        rows.append(row)
    z = torch.tensor(np.array(rows))
    z = z * (1 + torch.erf(z / math.sqrt(2))) / 2
    value, gate = (z @ torch.tensor(w["out.weight"]).T + torch.tensor(w["out.bias"])).chunk(2, -1)
    return value / (1 + (-gate).exp())


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 105])
def test_every_form_is_the_loop(length, trial, signal):
    mixer, x = built(r_min=0.8), signal(2, length, 6)
    want = defined(mixer, x)
    for mixer.form in FORMS:
        with torch.no_grad():
            trial.close(mixer(x)[0], want, 1e-11, mixer.form)


@pytest.mark.parametrize(("r_min", "r_max"), [(0.0, 1.0), (0.5, 0.6), (0.99, 1.0)])
def test_eigenvalues_begin_in_the_ring(r_min, r_max):
    mixer = mixers.build("lru", dim=2, states=3000, r_min=r_min, r_max=r_max, max_phase=0.5)
    decay = mixer.log_decay().exp()
    assert r_min - 1e-6 <= decay.abs().min()
    assert decay.abs().max() < 1
    assert decay.abs().max() <= r_max + 1e-6
    # By area: half of them outside the radius that halves it.
    middle = math.sqrt((r_min**2 + r_max**2) / 2)
    assert (decay.abs() > middle).double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert 0 < decay.angle().min() < 0.01
    assert 0.49 < decay.angle().max() < 0.5 + 1e-6


def test_draws_of_0_and_of_1_leave_finite_logarithms(monkeypatch):
    """u = 0 would be an angle's log 0, and a modulus of 0; u = 1 a modulus of 1, and gamma's log 0."""
    for draw in (torch.zeros, torch.ones):
        with monkeypatch.context() as patched:
            patched.setattr(torch, "rand", draw)
            mixer = mixers.build("lru", dim=2, states=3)
        for name in ("nu_log", "theta_log", "gamma_log"):
            assert mixer.get_parameter(name).isfinite().all(), name
        assert (mixer.log_decay().real < 0).all()


def test_white_tokens_give_every_state_the_same_variance():
    """gamma = sqrt(1 - |lambda|^2) takes out what 1 / (1 - |lambda|^2) puts in; B has rows of norm 1."""
    torch.manual_seed(0)
    mixer = mixers.build("lru", dim=64, states=40, r_min=0.3, r_max=0.95)
    x = torch.randn(400, 150, 64)
    with torch.no_grad():
        state = mixer(x)[1]
    variance = state.h.square().sum(-1).mean(0)
    assert variance.mean().item() == pytest.approx(1, abs=0.1)
    assert variance.std() < 0.25


def test_no_state_can_grow_whatever_the_parameters():
    mixer = built()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(3 * torch.randn_like(parameter))
    assert (mixer.log_decay().real < 0).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_long_memories_keep_their_phase(dtype, tolerance):
    """|lambda| = 0.9999: after 3,000 tokens the first is still there, at its angle, in every form.

    In float32 an angle of 2.5 is rounded by 2^-24 of it, and 3,000 of them turn by 4e-4.
    """
    mixer = built(states=1, dim=1)
    with torch.no_grad():
        mixer.get_parameter("nu_log").fill_(math.log(1e-4))
        mixer.get_parameter("theta_log").fill_(math.log(2.5))
    mixer.to(dtype)
    x = torch.zeros(1, 3000, 1, dtype=dtype)
    x[0, 0] = 1
    first = mixer(x[:, :1])[1].h[0, 0]
    want = complex(*first.tolist()) * np.exp((-1e-4 + 2.5j) * 2999)
    for mixer.form in FORMS:
        with torch.no_grad():
            h = mixer(x)[1].h[0, 0]
        assert complex(*h.tolist()) == pytest.approx(want, rel=tolerance), mixer.form


def test_the_dynamics_learn_slowly_and_without_decay():
    mixer = mixers.build("lru", dim=4, states=4)
    of = {
        name: group
        for group in optim.param_groups(mixer, lr=0.1, weight_decay=0.5)
        for name in group["param_names"]
    }
    for name in ("nu_log", "theta_log", "gamma_log"):
        assert (of[name]["lr"], of[name]["weight_decay"]) == (1e-3, 0), name
    for name in ("B_re", "B_im", "C_re", "C_im"):
        assert (of[name]["lr"], of[name]["weight_decay"]) == (0.1, 0.5), name


def test_what_is_no_ring_is_refused():
    for options, words in (
        ({"states": 0}, "mixer 'lru': expected at least one state, got states 0"),
        ({"r_min": -0.1}, "mixer 'lru': expected 0 <= r_min < r_max <= 1, got -0.1 and 1.0"),
        ({"r_max": 1.1}, "got 0.0 and 1.1"),
        ({"r_min": 0.5, "r_max": 0.5}, "got 0.5 and 0.5"),
        ({"max_phase": 0.0}, r"mixer 'lru': expected max_phase in \(0, 2 pi\], got 0.0"),
        ({"causal": False}, "mixer 'lru' sees the past alone"),
    ):
        with pytest.raises(ValueError, match=words):
            mixers.build("lru", dim=4, **options)
