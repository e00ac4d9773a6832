"""S4 against the dense LegS system of all its states (spec/mixers.md, section 15)."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from linsight import mixers, nn, optim

FORMS = ("naive", "parallel", "chunk", "recurrent", "auto")


def built(**options) -> mixers.Mixer:
    torch.manual_seed(0)
    return mixers.build("s4", **{"dim": 5, "states": 8, **options}).double()


def defined(mixer: mixers.Mixer, x: Tensor) -> Tensor:
    """Both halves of every pair, the bilinear step by scipy's solve, and one real part at the end."""
    w = {name: parameter.detach().numpy() for name, parameter in mixer.named_parameters()}

    def whole(name):
        half = w[name][..., 0] + 1j * w[name][..., 1]
        return np.concatenate([half, half.conj()], -1)

    half = -np.exp(w["log_A_real"]) + 1j * w["A_imag"]
    values, y = np.concatenate([half, half.conj()], -1), np.zeros(x.shape)
    for d, (P, B, C) in enumerate(zip(whole("P"), whole("B"), whole("C"), strict=True)):
        half_step = np.exp(w["log_dt"][d]) / 2 * (np.diag(values[d]) - np.outer(P, P.conj()))
        eye = np.eye(len(P))
        A = scipy.linalg.solve(eye - half_step, eye + half_step)
        B = scipy.linalg.solve(eye - half_step, np.exp(w["log_dt"][d]) * B)
        for b in range(x.shape[0]):
            h = np.zeros(len(P), complex)
            for t, u in enumerate(x[b, :, d].tolist()):
                h = A @ h + B * u
                y[b, t, d] = (C @ h).real
    z = torch.from_numpy(y + w["D"] * x.numpy())
    z = z * (1 + torch.erf(z / math.sqrt(2))) / 2
    value, gate = (z @ torch.tensor(w["out.weight"]).T + torch.tensor(w["out.bias"])).chunk(2, -1)
    return value / (1 + (-gate).exp())


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("length", [1, 2, 17, 70])
def test_every_form_is_the_dense_system(length, moved, trial, signal):
    mixer, x = built(), signal(2, length, 5)
    if moved:
        with torch.no_grad():
            for parameter in mixer.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    want = defined(mixer, x)
    for mixer.form in FORMS:
        with torch.no_grad():
            trial.close(mixer(x)[0], want, 1e-10, mixer.form)


def test_it_begins_as_legs():
    """V (Lambda - P P^*) V^* is LegS; every channel has the same."""
    mixer = mixers.build("s4", dim=3, states=16)
    system, V = mixer.system(), nn.normal_low_rank("legs", 16).V[:, :8]
    A, B = nn.hippo("legs", 16)
    x = torch.randn(16, dtype=torch.float64)
    for d in range(3):
        z = V.mH @ x.to(V.dtype)
        inner = 2 * (system.P[d].conj() @ z).real
        moved = 2 * (V @ (system.values[d] * z - system.P[d] * inner)).real
        torch.testing.assert_close(moved, A @ x, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(2 * (V @ system.B[d]).real, B, rtol=1e-5, atol=1e-5)
    assert (system.values.real + 0.5).abs().max() < 1e-6


def test_c_is_the_same_function_at_every_length(signal, trial):
    """A kernel built for one length and cut for another is not: C' = C (1 - A_bar^L) is made anew."""
    mixer, x = built(form="parallel"), signal(1, 90, 5)
    whole = mixer(x)[0]
    for length in (1, 2, 31, 64):
        trial.close(mixer(x[:, :length])[0], whole[:, :length], 1e-11, str(length))


def test_the_dynamics_learn_slowly_and_without_decay():
    mixer = mixers.build("s4", dim=4, states=4)
    groups = optim.param_groups(mixer, lr=0.1, weight_decay=0.5)
    of = {name: group for group in groups for name in group["param_names"]}
    for name in ("log_A_real", "A_imag", "P", "B", "log_dt"):
        assert (of[name]["lr"], of[name]["weight_decay"]) == (1e-3, 0), name
    assert of["C"]["lr"] == of["D"]["lr"] == 0.1


def test_no_state_can_grow_whatever_the_parameters():
    """P stands on both sides: A + A^* is negative wherever the parameters are."""
    mixer = built()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(3 * torch.randn_like(parameter))
    state = mixer(torch.randn(1, 3, 5, dtype=torch.float64))[1]
    later = mixer(torch.zeros(1, 200, 5, dtype=torch.float64), state)[1]
    assert (later.h.square().sum((-1, -2)) <= state.h.square().sum((-1, -2))).all()


def test_it_shares_the_layer_with_s4d(signal, trial):
    """Without P, S4 is S4D by bilinear steps: the same parameters, names and layer."""
    s4, s4d = built(), mixers.build("s4d", dim=5, states=8, discretisation="bilinear").double()
    with torch.no_grad():
        s4.get_parameter("P").zero_()
        s4d.load_state_dict({name: w for name, w in s4.state_dict().items() if name != "P"})
    x = signal(2, 40, 5)
    trial.close(s4(x)[0], s4d(x)[0], 1e-11, "without P")


def test_what_does_not_exist_is_refused():
    for options, words in (
        ({"states": 7}, "mixer 's4': expected an even number of states, .* got states 7"),
        ({"dt_max": 1e-4}, "mixer 's4': expected 0 < dt_min <= dt_max, got 0.001 and 0.0001"),
        ({"causal": False}, "mixer 's4' sees the past alone"),
    ):
        with pytest.raises(ValueError, match=words):
            mixers.build("s4", dim=4, **options)
