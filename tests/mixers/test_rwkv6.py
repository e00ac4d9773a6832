"""RWKV-6 against the original's equations (spec/mixers.md, section 17)."""

import numpy as np
import pytest
import torch
from rwkv_original import attention6

from linsight import mixers, optim

FORMS = ("naive", "parallel", "chunk", "recurrent", "auto")


def built(dim: int = 12, heads: int = 3, **options) -> mixers.Mixer:
    torch.manual_seed(0)
    mixer = mixers.build("rwkv6", dim=dim, heads=heads, mix_rank=5, decay_rank=7, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


@pytest.mark.parametrize("length", [1, 2, 33, 67])
def test_the_output_is_the_originals(length, trial, signal):
    """Read before the update, the decay exclusive, the bonus on the token's own key and value."""
    mixer, x = built(), signal(2, length, 12)
    with torch.no_grad():
        mixer.time_decay.add_(5)  # decays that are felt within a few tokens
    weights = {name: tensor.numpy() for name, tensor in mixer.state_dict().items()}
    want = np.stack([attention6(weights, row.numpy(), 3) for row in x])
    for mixer.form in FORMS:
        with torch.no_grad():
            trial.close(mixer(x)[0], torch.from_numpy(want), 1e-11, mixer.form)


def test_names_and_shapes_are_the_originals():
    assert {
        name: tuple(x.shape) for name, x in mixers.build("rwkv6", dim=128, heads=2).state_dict().items()
    } == {
        **{f"time_maa_{name}": (1, 1, 128) for name in "xwkvrg"},
        "time_maa_w1": (128, 160),
        "time_maa_w2": (5, 32, 128),
        "time_decay": (1, 1, 128),
        "time_decay_w1": (128, 64),
        "time_decay_w2": (64, 128),
        "time_faaaa": (2, 64),
        **{f"{name}.weight": (128, 128) for name in ("receptance", "key", "value", "gate", "output")},
        "ln_x.weight": (128,),
        "ln_x.bias": (128,),
    }


@pytest.mark.parametrize(("layer", "num_layers"), [(0, 1), (0, 4), (2, 4), (3, 4)])
def test_initial_values(layer, num_layers):
    mixer = mixers.build("rwkv6", dim=8, heads=2, layer=layer, num_layers=num_layers)
    depth = layer / (num_layers - 1) if num_layers > 1 else 0
    for n in range(8):
        height = 1 - layer / num_layers
        want = 1 - (n / 8) ** height
        for name in "xwk":
            assert mixer.get_parameter(f"time_maa_{name}")[0, 0, n].item() == pytest.approx(want, abs=1e-6)
        assert mixer.time_maa_v[0, 0, n].item() == pytest.approx(want - 0.3 * depth, abs=1e-6)
        for name in "rg":
            half = 1 - (n / 8) ** (0.5 * height)
            assert mixer.get_parameter(f"time_maa_{name}")[0, 0, n].item() == pytest.approx(half, abs=1e-6)
        decay = -6 + 5 * (n / 7) ** (0.7 + 1.3 * depth)
        assert mixer.time_decay[0, 0, n].item() == pytest.approx(decay, abs=1e-5)
        bonus = depth * (1 - n / 7) + 0.1 * ((n + 1) % 3 - 1)
        assert mixer.time_faaaa.flatten()[n].item() == pytest.approx(bonus, abs=1e-6)
    assert mixer.ln_x.weight.tolist() == pytest.approx([((layer + 1) / num_layers) ** 0.7] * 8)
    assert not mixer.time_maa_w1.any()
    assert not mixer.time_decay_w1.any()
    for second in (mixer.time_maa_w2, mixer.time_decay_w2):
        assert 0.005 < second.abs().max() <= 0.01


def test_hints_reach_the_optimiser():
    """Weight decay on the matrices of linear maps alone; the decay learns twice as fast."""
    groups = optim.param_groups(mixers.build("rwkv6", dim=8, heads=2), lr=1e-3, weight_decay=0.1)
    decayed = {name for group in groups if group["weight_decay"] for name in group["param_names"]}
    assert decayed == {f"{name}.weight" for name in ("receptance", "key", "value", "gate", "output")}
    fast = {name for group in groups if group["lr"] == 2e-3 for name in group["param_names"]}
    assert fast == {"time_decay"}


def test_places_that_do_not_exist_are_refused():
    for layer, num_layers in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match=f"layer: expected 0 to num_layers - 1, got layer {layer}"):
            mixers.build("rwkv6", dim=8, layer=layer, num_layers=num_layers)
    with pytest.raises(ValueError, match="mix_rank: expected at least 1, got 0"):
        mixers.build("rwkv6", dim=8, mix_rank=0)
    with pytest.raises(ValueError, match="causal: mixer 'rwkv6' sees the past alone"):
        mixers.build("rwkv6", dim=8, causal=False)


def test_padding_neither_decays_nor_writes(trial, signal):
    """Behind its last token a row holds zeros, but the shift makes keys of them."""
    mixer, x = built(), signal(2, 20, 12)
    _, state = mixer(x, None, torch.tensor([20, 7]))
    _, solo = mixer(x[1:, :7])
    for name, tensor in state._asdict().items():
        trial.close(tensor[1], getattr(solo, name)[0], 1e-12, name)


def test_a_decay_of_any_size_is_finite(signal):
    """exp(-exp(w)): at w = 100 the inner one overflows float32, at w = -100 it is 0."""
    for size in (100.0, -100.0):
        mixer = built().float()
        with torch.no_grad():
            mixer.time_decay.fill_(size)
        for mixer.form in FORMS:
            y, state = mixer(signal(1, 40, 12).float())
            gradients = torch.autograd.grad(y.square().sum() + state.memory.sum(), list(mixer.parameters()))
            assert all(tensor.isfinite().all() for tensor in (y, *state, *gradients))
