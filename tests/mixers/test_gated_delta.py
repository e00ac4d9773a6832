"""Gated DeltaNet against its equations, token by token in numpy (spec/mixers.md, section 20)."""

import numpy as np
import pytest
import torch

from linsight import mixers, optim

FORMS = ("naive", "chunk", "recurrent", "auto")


def built(**options) -> mixers.Mixer:
    torch.manual_seed(0)
    mixer = mixers.build("gated_delta", dim=12, heads=3, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def silu(x):
    return x / (1 + np.exp(-x))


def defined(mixer: mixers.Mixer, x: torch.Tensor, doubled: bool = False) -> np.ndarray:
    """One row, by the equations of the paper: nothing of torch, the state V x K as the authors'."""
    weights = {name: tensor.detach().numpy() for name, tensor in mixer.named_parameters()}
    x = x.numpy()

    def convolved(name):
        u, taps = x @ weights[f"{name}_proj.weight"].T, weights[f"{name}_conv1d.weight"][:, 0]
        u = np.concatenate([np.zeros((taps.shape[1] - 1, u.shape[1])), u])
        out = [np.einsum("tc,ct->c", u[t : t + taps.shape[1]], taps) for t in range(len(x))]
        return silu(np.stack(out)).reshape(len(x), 3, -1)

    q, k, v = (convolved(name) for name in "qkv")
    q, k = (u / np.sqrt((u**2).sum(-1, keepdims=True) + 1e-6) for u in (q, k))
    g = -np.exp(weights["A_log"]) * np.log1p(np.exp(x @ weights["a_proj.weight"].T + weights["dt_bias"]))
    beta = (1 + doubled) / (1 + np.exp(-x @ weights["b_proj.weight"].T))
    gate = silu(x @ weights["g_proj.weight"].T).reshape(len(x), 3, -1)
    outputs = []
    memory = np.zeros((3, v.shape[-1], k.shape[-1]))
    for t in range(len(x)):
        heads = []
        for h in range(3):
            key, b = k[t, h], beta[t, h]
            memory[h] = np.exp(g[t, h]) * memory[h] @ (np.eye(len(key)) - b * np.outer(key, key))
            memory[h] += b * np.outer(v[t, h], key)
            o = memory[h] @ q[t, h] / np.sqrt(len(key))
            o = o / np.sqrt((o**2).mean() + 1e-5) * weights["o_norm.weight"]
            heads.append(o * gate[t, h])
        outputs.append(np.concatenate(heads) @ weights["o_proj.weight"].T)
    return np.stack(outputs)


@pytest.mark.parametrize(
    "options", [{}, {"allow_neg_eigval": True}, {"head_dim": 5, "expand": 1, "taps": 2}], ids=str
)
@pytest.mark.parametrize("length", [1, 2, 3, 31, 33, 67])
def test_the_output_is_the_equations(length, options, trial, signal):
    mixer, x = built(**options), signal(2, length, 12)
    want = np.stack([defined(mixer, row, options.get("allow_neg_eigval", False)) for row in x])
    for mixer.form in FORMS:
        with torch.no_grad():
            trial.close(mixer(x)[0], torch.from_numpy(want), 1e-11, mixer.form)


def test_names_and_shapes_are_the_public_layers():
    """flash-linear-attention's GatedDeltaNet(hidden_size=12, head_dim=5, num_heads=3)."""
    mixer = mixers.build("gated_delta", dim=12, heads=3, head_dim=5)
    assert {name: tuple(x.shape) for name, x in mixer.state_dict().items()} == {
        "q_proj.weight": (15, 12),
        "k_proj.weight": (15, 12),
        "v_proj.weight": (30, 12),
        "a_proj.weight": (3, 12),
        "b_proj.weight": (3, 12),
        "g_proj.weight": (30, 12),
        "q_conv1d.weight": (15, 1, 4),
        "k_conv1d.weight": (15, 1, 4),
        "v_conv1d.weight": (30, 1, 4),
        "A_log": (3,),
        "dt_bias": (3,),
        "o_norm.weight": (10,),
        "o_proj.weight": (12, 30),
    }


def test_initial_decays():
    """exp(A_log) is uniform in 0..16 and never 0; softplus(dt_bias) is log-uniform in 0.001..0.1."""
    torch.manual_seed(0)
    mixer = mixers.build("gated_delta", dim=8, heads=4000, head_dim=1)
    rates, steps = mixer.A_log.exp(), torch.nn.functional.softplus(mixer.dt_bias)
    assert rates.min() >= 0.99e-3
    assert rates.max() < 16.01
    assert rates.mean().item() == pytest.approx(8, abs=4 * 16 / 12**0.5 / 4000**0.5)
    assert steps.min() >= 0.99e-3
    assert steps.max() <= 0.101
    logs = steps.log()
    width = np.log(100)
    assert logs.mean().item() == pytest.approx(np.log(1e-2), abs=4 * width / 12**0.5 / 4000**0.5)


def test_a_rate_that_is_drawn_as_0_has_a_finite_logarithm(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, *_, **__: self.zero_())
    assert mixers.build("gated_delta", dim=8, heads=2).A_log.isfinite().all()


def test_hints_reach_the_optimiser():
    mixer = mixers.build("gated_delta", dim=8, heads=2)
    groups = optim.param_groups(mixer, lr=1e-3, weight_decay=0.1)
    undecayed = {name for group in groups if group["weight_decay"] == 0 for name in group["param_names"]}
    assert undecayed == {"A_log", "dt_bias", "o_norm.weight"}


def test_padding_neither_decays_nor_writes(trial, signal):
    """At a padded place x is 0, but beta would be a half and the convolutions still see the last tokens."""
    mixer, x = built(), signal(2, 20, 12)
    _, state = mixer(x, None, torch.tensor([20, 7]))
    _, solo = mixer(x[1:, :7])
    for name, tensor in state._asdict().items():
        trial.close(tensor[1], getattr(solo, name)[0], 1e-12, name)


def test_the_state_keeps_inputs_before_convolution_and_activation(signal):
    mixer, x = built(), signal(1, 9, 12)
    _, state = mixer(x)
    torch.testing.assert_close(state.k, mixer.k_proj(x)[:, -3:])


def test_state_bytes(signal):
    mixer = mixers.build("gated_delta", dim=12, heads=3)
    _, state = mixer(signal(1, 5, 12).float())
    assert mixer.state_size(5) == sum(t.numel() * t.element_size() for t in state) == 4 * (3 * 4 * 8 + 3 * 48)


@pytest.mark.parametrize("name", ["heads", "head_dim", "expand", "taps"])
def test_widths_below_1_are_refused(name):
    with pytest.raises(ValueError, match=f"'gated_delta': expected {name} of at least 1, got 0"):
        mixers.build("gated_delta", dim=8, **{name: 0})


def test_it_is_causal():
    with pytest.raises(ValueError, match="causal: mixer 'gated_delta' sees the past alone"):
        mixers.build("gated_delta", dim=8, causal=False)
