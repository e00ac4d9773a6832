"""Linformer against its definition, softmax attention, and what it refuses (spec/mixers.md, section 12)."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from linsight import mixers
from linsight.optim import param_groups


def built(sharing: str = "headwise", n_max: int = 40, num_projected: int = 5, **options) -> mixers.Mixer:
    torch.manual_seed(0)
    options = {"dim": 12, "heads": 3, "causal": False, **options}
    return mixers.build(
        "linformer", sharing=sharing, n_max=n_max, num_projected=num_projected, **options
    ).double()


def defined(mixer: mixers.Mixer, x: Tensor) -> Tensor:
    """softmax(Q (E K)^T / sqrt K) (F V), head by head."""
    weights = dict(mixer.named_parameters())
    batch, length, dim = x.shape
    q, k, v = (x @ weights["qkv.weight"].T).reshape(batch, length, 3, mixer.heads, -1).unbind(2)
    heads = []
    for head in range(mixer.heads):
        e = weights["project_keys"][:, :, :length]
        f = weights.get("project_values", weights["project_keys"])[:, :, :length]
        e, f = e[head % len(e)], f[head % len(f)]
        scores = q[:, :, head] @ (e @ k[:, :, head]).mT / (dim // mixer.heads) ** 0.5
        heads.append(scores.softmax(-1) @ (f @ v[:, :, head]))
    return torch.cat(heads, -1) @ weights["out.weight"].T


@pytest.mark.parametrize("sharing", ["none", "headwise", "kv"])
@pytest.mark.parametrize("length", [1, 2, 7, 39, 40])
def test_every_form_is_the_definition(sharing, length, trial, signal):
    mixer, x = built(sharing), signal(2, length, 12)
    for mixer.form in ("naive", "parallel", "auto"):
        trial.close(mixer(x)[0], defined(mixer, x), 1e-12, mixer.form)


@pytest.mark.parametrize(("sharing", "matrices"), [("none", 6), ("headwise", 2), ("kv", 1)])
def test_sharing_counts(sharing, matrices):
    mixer = built(sharing)
    own = sum(p.numel() for name, p in mixer.named_parameters() if name.startswith("project_"))
    assert own == matrices * 5 * 40
    groups = param_groups(mixer, lr=1e-3, weight_decay=0.1)
    assert sum(len(group["params"]) for group in groups) == len(list(mixer.parameters()))


def test_identities_give_softmax_attention(trial, signal):
    mixer, x = built(num_projected=40), signal(2, 40, 12)
    with torch.no_grad():
        for name in ("project_keys", "project_values"):
            mixer.get_parameter(name).copy_(torch.eye(40))
    softmax = mixers.build("softmax", dim=12, heads=3, causal=False).double()
    softmax.load_state_dict({name: mixer.state_dict()[name] for name in softmax.state_dict()})
    for mixer.form in ("naive", "parallel"):
        trial.close(mixer(x)[0], softmax(x)[0], 1e-12, mixer.form)


def test_the_error_to_softmax_falls_with_the_projected_keys():
    """Keys and values that change slowly along the row, E and F means over pieces of it."""
    time = torch.linspace(0, 1, 64, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    turns = torch.randn(6, generator=generator, dtype=torch.float64) * 6
    x = (turns * time[:, None] + torch.arange(6)).sin()[None]
    errors = []
    for k in (4, 8, 16, 32, 64):
        mixer = built(n_max=64, num_projected=k, dim=6, heads=1)
        with torch.no_grad():
            pieces = torch.eye(k, dtype=torch.float64).repeat_interleave(64 // k, 1) * (k / 64)
            for name in ("project_keys", "project_values"):
                mixer.get_parameter(name).copy_(pieces)
            mixer.get_parameter("out.weight").copy_(torch.eye(6))
            mixer.get_parameter("qkv.weight").copy_(torch.eye(6).repeat(3, 1) * 2)
            exact = F.scaled_dot_product_attention(2 * x, 2 * x, 2 * x)
            errors.append(((mixer(x)[0] - exact).norm() / exact.norm()).item())
    assert all(later < earlier / 2 for earlier, later in pairwise(errors)), errors
    assert errors[-1] < 1e-12


@pytest.mark.parametrize("matrix", ["project_keys", "project_values"])
def test_the_initial_size_of_projected_tokens_is_that_of_tokens(matrix):
    torch.manual_seed(0)
    mixer = mixers.build("linformer", dim=8, heads=2, causal=False, n_max=2000, num_projected=50)
    projected = mixer.get_parameter(matrix)[0] @ torch.randn(2000, 64)
    assert projected.std().item() == pytest.approx(1, abs=0.05)


def test_padding_has_no_part_in_the_projections(trial, signal):
    mixer, x = built(), signal(3, 40, 12)
    x[1, 6:] = float("nan")
    y, state = mixer(x, None, torch.tensor([40, 6, 0]))
    assert state is None
    trial.close(y[1:2, :6], mixer(x[1:2, :6])[0], 1e-12, "a padded row")
    assert not y[1, 6:].any()
    assert not y[2].any()


def test_refusals(signal):
    with pytest.raises(ValueError, match=r"causal:.*each projected key mixes all positions"):
        mixers.build("linformer", dim=8)
    with pytest.raises(ValueError, match="x: expected at most n_max 40 tokens, got 41"):
        built()(signal(1, 41, 12))
    with pytest.raises(ValueError, match="state: Linformer built with causal=False"):
        built()(signal(1, 4, 12), (torch.zeros(1),))
    with pytest.raises(ValueError, match="num_projected: expected 1 to n_max 40, got 41"):
        built(num_projected=41)
    with pytest.raises(NotImplementedError, match="no form 'recurrent'; it has auto, naive, parallel"):
        built(form="recurrent")


def test_the_words_of_a_causal_linformer_on_the_command_line():
    from linsight.cli.subjects import subject_named

    with pytest.raises(ValueError, match="each projected key mixes all positions"):
        subject_named("linformer")
    assert not subject_named("linformer bidirectional").build().causal
