"""RWKV-7 against the original's equations (spec/mixers.md, section 17)."""

import math

import numpy as np
import pytest
import torch
from rwkv_original import attention7

from linsight import mixers, optim

FORMS = ("naive", "chunk", "recurrent", "auto")
RANKS = {"decay_rank": 5, "rate_rank": 6, "value_rank": 3, "gate_rank": 7}


def built(**options) -> mixers.Mixer:
    torch.manual_seed(0)
    mixer = mixers.build("rwkv7", dim=12, heads=3, **RANKS, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("length", [1, 2, 33, 67])
def test_the_output_is_the_originals(length, layer, trial, signal):
    """With the first layer's values in a later one; the state V x K is ours transposed."""
    mixer, x = built(layer=layer, num_layers=3), signal(2, length, 12)
    v_first = None if layer == 0 else signal(2, length, 12, seed=1)
    weights = {name: tensor.numpy() for name, tensor in mixer.state_dict().items()}
    rows = [
        attention7(weights, row.numpy(), 3, layer, None if layer == 0 else v_first[i].numpy())
        for i, row in enumerate(x)
    ]
    for mixer.form in FORMS:
        with torch.no_grad():
            y, _, relayed = mixer.relay(x, v_first=v_first)
        trial.close(y, torch.from_numpy(np.stack([row[0] for row in rows])), 1e-11, mixer.form)
        trial.close(relayed, torch.from_numpy(np.stack([row[1] for row in rows])), 1e-12, mixer.form)


def test_names_and_shapes_are_the_originals():
    """Ranks at width 768 are those of the published model of that width."""
    found = mixers.build("rwkv7", dim=768, heads=12, layer=1, num_layers=12).state_dict()
    assert {name: tuple(x.shape) for name, x in found.items()} == {
        **{name: (1, 1, 768) for name in ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g")},
        **{name: (1, 1, 768) for name in ("w0", "a0", "v0", "k_k", "k_a")},
        "r_k": (12, 64),
        **{f"{name}1": (768, rank) for name, rank in (("w", 64), ("a", 64), ("v", 32), ("g", 128))},
        **{f"{name}2": (rank, 768) for name, rank in (("w", 64), ("a", 64), ("v", 32), ("g", 128))},
        **{f"{name}.weight": (768, 768) for name in ("receptance", "key", "value", "output")},
        "ln_x.weight": (768,),
        "ln_x.bias": (768,),
    }


def test_a_first_layer_takes_checkpoints_with_and_without_what_it_does_not_use():
    first, later = built(), built(layer=1, num_layers=2)
    assert set(later.state_dict()) - set(first.state_dict()) == {"v0", "v1", "v2"}
    first.load_state_dict(first.state_dict(), strict=True)
    first.load_state_dict(later.state_dict(), strict=True)
    assert torch.equal(first.w1, later.w1)
    with pytest.raises(RuntimeError, match="v0"):
        later.load_state_dict(first.state_dict(), strict=True)


def test_a_later_layer_without_the_first_values_is_refused(signal):
    mixer, x = built(layer=1, num_layers=2), signal(2, 5, 12)
    for call in (lambda: mixer(x), lambda: mixer.relay(x)):
        with pytest.raises(
            ValueError, match="v_first: layer 1 of mixer 'rwkv7' needs the first layer's values"
        ):
            call()
    with pytest.raises(ValueError, match=r"v_first: expected x's shape \(2, 5, 12\), got \(2, 4, 12\)"):
        mixer.relay(x, v_first=x[:, :4])


def test_a_later_layer_under_the_split_law_with_padding(trial, signal):
    """v_first is of the same tokens as x, and cut as x is; at padded places it is not looked at."""
    mixer, x, v_first = built(layer=1, num_layers=2), signal(2, 40, 12), signal(2, 40, 12, seed=1)
    y, final, _ = mixer.relay(x, v_first=v_first)
    first, state, _ = mixer.relay(x[:, :33], v_first=v_first[:, :33])
    rest, state, _ = mixer.relay(x[:, 33:], state, v_first=v_first[:, 33:])
    trial.close(torch.cat([first, rest], dim=1), y, 1e-11, "y in pieces")
    trial.states(state._asdict(), final._asdict(), 1e-11, "final")
    v_first[1, 33:] = float("nan")
    padded, state, _ = mixer.relay(x, None, torch.tensor([40, 33]), v_first=v_first)
    trial.close(padded[1, :33], first[1], 1e-11, "a padded row")
    assert not padded[1, 33:].any()
    solo = mixer.relay(x[1:, :33], v_first=v_first[1:, :33])[1]
    trial.close(state.memory[1], solo.memory[0], 1e-11, "its state")


@pytest.mark.parametrize(("layer", "num_layers"), [(0, 1), (0, 4), (2, 4), (3, 4)])
def test_initial_values(layer, num_layers):
    dim, width = 8, 4
    mixer = mixers.build("rwkv7", dim=dim, heads=2, layer=layer, num_layers=num_layers)
    ratio = layer / (num_layers - 1) if num_layers > 1 else 0
    for n in range(dim):
        line = n / (dim - 1) - 0.5
        s = (n % width - (width - 1) / 2) / ((width - 1) / 2)
        zigzag = math.copysign(s * s, s)
        want = {
            **{
                f"x_{name}": 1 - (n / dim) ** (power * (1 - layer / num_layers))
                for name, power in zip("rgwakv", (0.2, 0.2, 0.9, 0.9, 0.7, 0.7), strict=True)
            },
            "w0": -6 + 6 * (n / (dim - 1)) ** (1 + ratio**0.3) + 0.5 + 2.5 * zigzag,
            "a0": -0.19 + 0.3 * zigzag + 0.4 * line,
            "k_k": 0.71 - 0.1 * line,
            "k_a": 1.02,
            **({"v0": 0.73 - 0.4 * line} if layer else {}),
        }
        for name, value in want.items():
            assert mixer.get_parameter(name)[0, 0, n].item() == pytest.approx(value, abs=1e-5), name
    assert mixer.ln_x.weight.tolist() == pytest.approx([((layer + 1) / num_layers) ** 0.7] * 8)
    assert (mixer.r_k == -0.04).all()
    assert not mixer.output.weight.any()
    for name in "wag" + "v" * bool(layer):
        second = mixer.get_parameter(f"{name}2")
        rank = len(second)  # 32, more than the width: columns are orthogonal, of length 0.1 sqrt(rank / dim)
        torch.testing.assert_close(second.T @ second, 0.01 * rank / dim * torch.eye(dim))
        assert not mixer.get_parameter(f"{name}1").any()
    for linear, size in ((mixer.receptance, 0.5), (mixer.key, 0.05), (mixer.value, 0.5)):
        bound = size / dim**0.5
        assert 0.8 * bound < linear.weight.abs().max() <= bound


def test_hints_reach_the_optimiser():
    """Weight decay on the matrices of linear maps alone; w0 learns twice as fast."""
    mixer = mixers.build("rwkv7", dim=8, heads=2, layer=1, num_layers=2)
    groups = optim.param_groups(mixer, lr=1e-3, weight_decay=0.1)
    decayed = {name for group in groups if group["weight_decay"] for name in group["param_names"]}
    assert decayed == {f"{name}.weight" for name in ("receptance", "key", "value", "output")}
    fast = {name for group in groups if group["lr"] == 2e-3 for name in group["param_names"]}
    assert fast == {"w0"}


def test_padding_neither_decays_nor_writes(trial, signal):
    """Behind its last token a row holds zeros, but the shift makes keys of them."""
    mixer, x = built(), signal(2, 20, 12)
    _, state = mixer(x, None, torch.tensor([20, 7]))
    _, solo = mixer(x[1:, :7])
    for name, tensor in state._asdict().items():
        trial.close(tensor[1], getattr(solo, name)[0], 1e-12, name)


def test_refusals():
    with pytest.raises(ValueError, match="layer: expected 0 to num_layers - 1, got layer 2 and num_layers 2"):
        mixers.build("rwkv7", dim=8, layer=2, num_layers=2)
    with pytest.raises(ValueError, match="gate_rank: expected at least 1, got 0"):
        mixers.build("rwkv7", dim=8, gate_rank=0)
    with pytest.raises(ValueError, match="causal: mixer 'rwkv7' sees the past alone"):
        mixers.build("rwkv7", dim=8, causal=False)
