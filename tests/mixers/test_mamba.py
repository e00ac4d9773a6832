"""Mamba against its equations, its parameters against the authors', and its traps (spec/mixers.md, 18)."""

import math

import literal
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from linsight import mixers
from linsight.optim import param_groups

FORMS = ("naive", "chunk", "recurrent", "auto")


def built(dim: int = 8, **options) -> mixers.Mixer:
    """A float64 mixer, every parameter moved off its initial value."""
    torch.manual_seed(0)
    mixer = mixers.build("mamba", dim=dim, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return mixer


def arrays(mixer) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in mixer.state_dict().items()}


@pytest.mark.parametrize("length", [1, 3, 40])
def test_every_form_is_the_block_as_written(length, trial, signal):
    for options in ({}, {"states": 3, "taps": 2, "expansion": 3, "step_rank": 5}, {"taps": 1}):
        mixer, x = built(**options), signal(2, length, 8)
        want = torch.from_numpy(np.stack([literal.mamba(arrays(mixer), row) for row in x.numpy()]))
        for mixer.form in FORMS:
            with torch.no_grad():
                trial.close(mixer(x)[0], want, 1e-12, f"{options} {mixer.form}")


def test_parameters_have_the_authors_names_and_shapes():
    """d_inner = 2 d, N = 16, R = ceil(d / 16), d_conv = 4."""
    shapes = {name: tuple(value.shape) for name, value in built(40).state_dict().items()}
    assert shapes == {
        "in_proj.weight": (160, 40),
        "conv1d.weight": (80, 1, 4),
        "conv1d.bias": (80,),
        "x_proj.weight": (3 + 16 + 16, 80),
        "dt_proj.weight": (80, 3),
        "dt_proj.bias": (80,),
        "A_log": (80, 16),
        "D": (80,),
        "out_proj.weight": (40, 80),
    }


def test_the_last_projection_has_one_more_name_and_no_more_parameters():
    mixer = built()
    assert mixer.out is mixer.out_proj
    assert "out.weight" not in mixer.state_dict()
    assert len(list(mixer.parameters())) == 9


def test_initial_values_are_the_authors():
    """A_log = log 1..N, D = 1, and steps from 0.001 to 0.1 whatever the input's projection says."""
    torch.manual_seed(0)
    mixer = mixers.build("mamba", dim=256)
    assert mixer.A_log.exp().tolist() == 512 * [pytest.approx(list(range(1, 17)))]
    assert (mixer.D == 1).all()
    steps = F.softplus(mixer.dt_proj.bias)
    assert 0.001 <= steps.min() < 0.0012
    assert 0.08 < steps.max() <= 0.1001
    assert steps.log().mean().item() == pytest.approx(math.log(0.01), abs=0.2)  # log-uniform
    assert mixer.dt_proj.weight.abs().max().item() == pytest.approx(16**-0.5, rel=0.01)


def test_a_step_of_the_optimiser_decays_matrices_and_neither_rates_nor_steps():
    mixer = built()
    before = {name: value.clone() for name, value in mixer.state_dict().items()}
    optimizer = torch.optim.AdamW(param_groups(mixer, lr=0.1, weight_decay=0.5))
    for parameter in mixer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    kept = {name for name, value in mixer.state_dict().items() if torch.equal(value, before[name])}
    assert kept == {"A_log", "D", "dt_proj.bias", "conv1d.bias"}


def test_the_state_holds_inputs_of_the_convolution_and_not_its_outputs(signal, trial):
    mixer, x = built(), signal(2, 9, 8)
    _, state = mixer(x)
    projected = x @ mixer.in_proj.weight.T
    trial.close(state.inputs, projected[:, -3:, :16], 1e-15, "inputs")


def test_padding_takes_no_time(signal, trial):
    """The convolution makes something of padding, from the tokens before it; its step must be 0."""
    mixer, x = built(), signal(2, 9, 8)
    _, state = mixer(x, None, torch.tensor([9, 4]))
    _, alone = mixer(x[1:, :4])
    trial.close(state.memory[1:], alone.memory, 1e-14, "memory")
    trial.close(state.inputs[1:], alone.inputs, 1e-14, "inputs")


def test_states_are_float32_in_a_bfloat16_module(signal):
    mixer = built().bfloat16()
    _, state = mixer(signal(1, 5, 8).bfloat16())
    assert state.memory.dtype is torch.float32
    assert state.inputs.dtype is torch.bfloat16
    assert mixer.state_size(5) == 16 * (3 * 2 + 16 * 4)


def test_rates_are_float32_in_a_float16_module(signal):
    """exp(A_log) passes float16's largest number, 65504, from A_log = 11.1 on: a rate of -inf times 0."""
    mixer = mixers.build("mamba", dim=8).half()
    with torch.no_grad():
        mixer.A_log.fill_(12)
    y, state = mixer(signal(1, 5, 8).half(), None, torch.tensor([3]))
    assert y.isfinite().all()
    assert state.memory.isfinite().all()


def test_extreme_rates_and_steps_are_finite(signal):
    """Exponents from 0 to below float32's range, in every form."""
    for rate, bias in ((-200.0, 0.0), (88.0, 0.0), (0.0, -1000.0), (80.0, 50.0)):
        mixer = mixers.build("mamba", dim=8)
        with torch.no_grad():
            mixer.A_log.fill_(rate)
            mixer.dt_proj.bias.fill_(bias)
        for mixer.form in FORMS:
            mixer.zero_grad()
            y, state = mixer(signal(2, 40, 8).float())
            (y.sum() + state.memory.sum()).backward()
            assert y.isfinite().all()
            assert all(p.grad.isfinite().all() for p in mixer.parameters()), (rate, bias, mixer.form)


def test_refusals():
    with pytest.raises(ValueError, match="causal: mixer 'mamba' sees the past alone"):
        mixers.build("mamba", dim=8, causal=False)
    for name in ("expansion", "states", "step_rank", "taps"):
        with pytest.raises(ValueError, match=f"mixer 'mamba': expected {name} of at least 1, got 0"):
            mixers.config("mamba", **{name: 0})
