"""Mamba-2 against its equations, its parameters against the authors', and its traps (spec/mixers.md, 19)."""

import literal
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from linsight import mixers
from linsight.optim import param_groups

FORMS = ("naive", "parallel", "chunk", "recurrent", "auto")
SIZES = {"states": 5, "head_dim": 4}


def built(dim: int = 8, **options) -> mixers.Mixer:
    """A float64 mixer, every parameter moved off its initial value."""
    torch.manual_seed(0)
    mixer = mixers.build("mamba2", dim=dim, **{**SIZES, **options}).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return mixer


def written(mixer, x) -> torch.Tensor:
    weights = {name: value.double().numpy() for name, value in mixer.state_dict().items()}
    options = {
        "head_dim": mixer.head_dim,
        "state_dim": mixer.config.states,
        "groups": mixer.config.groups,
        "norm_before_gate": mixer.config.norm_before_gate,
        "limits": mixer.config.step_limits or (0.0, np.inf),
    }
    return torch.from_numpy(np.stack([literal.mamba2(weights, row, **options) for row in x.numpy()]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"groups": 2},
        {"groups": 2, "norm_before_gate": True},
        {"step_limits": (0.01, 0.02)},
        {"expansion": 3, "taps": 2, "head_dim": 2, "groups": 3},
        {"taps": 1, "head_dim": 64},
    ],
    ids=str,
)
def test_every_form_is_the_block_as_written(options, trial, signal):
    """Groups, the gate before the norm and the norm before the gate, limits, and one head of all channels."""
    for length in (1, 3, 70):
        mixer, x = built(**options), signal(2, length, 8)
        want = written(mixer, x)
        for mixer.form in FORMS:
            with torch.no_grad():
                trial.close(mixer(x)[0], want, 1e-11, f"length {length} {mixer.form}")


def test_parameters_have_the_authors_names_and_shapes():
    """d_inner = 2 d, N = 128, P = 64, one group, H = d_inner / P; in_proj is z, x, B, C, dt."""
    mixer = mixers.build("mamba2", dim=96)
    assert {name: tuple(value.shape) for name, value in mixer.state_dict().items()} == {
        "in_proj.weight": (2 * 192 + 2 * 128 + 3, 96),
        "conv1d.weight": (192 + 2 * 128, 1, 4),
        "conv1d.bias": (192 + 2 * 128,),
        "dt_bias": (3,),
        "A_log": (3,),
        "D": (3,),
        "norm.weight": (192,),
        "out_proj.weight": (96, 192),
    }
    assert mixer.out is mixer.out_proj


def test_initial_values_are_the_authors():
    torch.manual_seed(0)
    mixer = mixers.build("mamba2", dim=256, head_dim=1)
    rates, steps = mixer.A_log.exp(), F.softplus(mixer.dt_bias)
    assert 1 <= rates.min() < 1.2
    assert 15.8 < rates.max() <= 16
    assert rates.mean().item() == pytest.approx(8.5, abs=0.5)  # uniform
    assert 0.001 <= steps.min() < 0.0012
    assert 0.08 < steps.max() <= 0.1001
    assert (mixer.D == 1).all()
    assert (mixer.norm.weight == 1).all()


def test_a_step_of_the_optimiser_decays_matrices_and_neither_rates_nor_steps():
    mixer = built()
    before = {name: value.clone() for name, value in mixer.state_dict().items()}
    optimizer = torch.optim.AdamW(param_groups(mixer, lr=0.1, weight_decay=0.5))
    for parameter in mixer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    kept = {name for name, value in mixer.state_dict().items() if torch.equal(value, before[name])}
    assert kept == {"A_log", "D", "dt_bias", "conv1d.bias", "norm.weight"}
    assert mixer.no_weight_decay() == {"A_log", "D", "dt_bias"}


def test_the_state_holds_inputs_of_the_convolution_and_not_its_outputs(signal, trial):
    mixer, x = built(), signal(2, 9, 8)
    _, state = mixer(x)
    projected = x @ mixer.in_proj.weight.T
    trial.close(state.inputs, projected[:, -3:, 16 : 16 + 16 + 10], 1e-15, "inputs")


@pytest.mark.parametrize("limits", [None, (0.01, 0.02)])
def test_padding_takes_no_time_even_where_steps_have_a_least_one(limits, signal, trial):
    mixer, x = built(step_limits=limits), signal(2, 9, 8)
    _, state = mixer(x, None, torch.tensor([9, 4]))
    _, alone = mixer(x[1:, :4])
    trial.close(state.memory[1:], alone.memory, 1e-14, "memory")
    trial.close(state.inputs[1:], alone.inputs, 1e-14, "inputs")


def test_rates_are_float32_in_a_float16_module(signal):
    """exp(A_log) passes float16's largest number, 65504, from A_log = 11.1 on: a rate of -inf times 0."""
    mixer = mixers.build("mamba2", dim=8, **SIZES).half()
    with torch.no_grad():
        mixer.A_log.fill_(12)
    y, state = mixer(signal(1, 5, 8).half(), None, torch.tensor([3]))
    assert y.isfinite().all()
    assert state.memory.isfinite().all()
    assert state.memory.dtype is torch.float32
    assert state.inputs.dtype is torch.float16


def test_extreme_rates_and_steps_have_finite_gradients(signal):
    """NaN in the gradient of the steps' bias is a known defect elsewhere."""
    for rate, bias in ((-200.0, 0.0), (88.0, 0.0), (0.0, -1000.0), (80.0, 50.0)):
        mixer = mixers.build("mamba2", dim=8, **SIZES)
        with torch.no_grad():
            mixer.A_log.fill_(rate)
            mixer.dt_bias.fill_(bias)
        for mixer.form in FORMS:
            mixer.zero_grad()
            y, state = mixer(signal(2, 70, 8).float())
            (y.sum() + state.memory.sum()).backward()
            assert y.isfinite().all()
            assert all(p.grad.isfinite().all() for p in mixer.parameters()), (rate, bias, mixer.form)


def test_any_width_of_whole_heads_is_taken(signal):
    """Not multiples of 8 or 16 alone, as a kernel elsewhere demands."""
    y, _ = mixers.build("mamba2", dim=7, head_dim=2)(signal(1, 5, 7).float())
    assert y.shape == (1, 5, 7)


def test_refusals():
    with pytest.raises(ValueError, match="causal: mixer 'mamba2' sees the past alone"):
        mixers.build("mamba2", dim=8, causal=False)
    with pytest.raises(ValueError, match="dim 9 x expansion 2 are 18 channels; expected whole heads of 4"):
        mixers.build("mamba2", dim=9, head_dim=4)
    with pytest.raises(ValueError, match="whole heads of 4, in 3 equal groups"):
        mixers.build("mamba2", dim=8, head_dim=4, groups=3)
    for name in ("expansion", "states", "head_dim", "groups", "taps"):
        with pytest.raises(ValueError, match=f"mixer 'mamba2': expected {name} of at least 1, got 0"):
            mixers.config("mamba2", **{name: 0})
    with pytest.raises(ValueError, match=r"step_limits: expected 0 <= least <= largest, got \(0\.2, 0\.1\)"):
        mixers.config("mamba2", step_limits=(0.2, 0.1))
