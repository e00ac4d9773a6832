"""Efficient attention against its definition, run again on every prefix (spec/mixers.md, section 5)."""

import pytest
import torch
from torch import Tensor

from linsight import mixers

FORMS = ("naive", "parallel", "chunk", "recurrent", "auto")


def defined(mixer: mixers.Mixer, x: Tensor) -> Tensor:
    """softmax_features(Q) (softmax_positions(K)^T V) of the whole of x, head by head, in float64."""
    weights = {name: tensor.double() for name, tensor in mixer.named_parameters()}
    batch, length, dim = x.shape
    q, k, v = (x.double() @ weights["qkv.weight"].T).reshape(batch, length, 3, mixer.heads, -1).unbind(2)
    q, k = q.softmax(-1), k.softmax(1)
    o = torch.einsum("bihk,bjhk,bjhv->bihv", q, k, v)
    return o.reshape(batch, length, dim) @ weights["out.weight"].T


def built(causal: bool = True, dim: int = 12, heads: int = 2) -> mixers.Mixer:
    torch.manual_seed(0)
    return mixers.build("efficient", dim=dim, heads=heads, causal=causal).double()


@pytest.mark.parametrize("length", [1, 2, 7, 63, 64, 65, 131])
def test_a_causal_output_is_the_definition_on_its_prefix(length, trial, signal):
    """Every length runs, and the first tokens see the tokens before them: there is no blind bucket."""
    mixer, x = built(), signal(2, length, 12)
    want = torch.stack([defined(mixer, x[:, : t + 1])[:, t] for t in range(length)], dim=1)
    for mixer.form in FORMS:
        with torch.no_grad():
            trial.close(mixer(x)[0], want, 1e-12, mixer.form)


@pytest.mark.parametrize("length", [1, 7, 65])
def test_the_bidirectional_output_is_the_definition(length, trial, signal):
    mixer, x = built(causal=False), signal(2, length, 12)
    for mixer.form in ("naive", "parallel", "auto"):
        trial.close(mixer(x)[0], defined(mixer, x), 1e-12, mixer.form)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_has_no_weight_in_the_softmax_over_positions(causal, trial, signal):
    mixer, x = built(causal), signal(3, 20, 12)
    y, state = mixer(x, None, torch.tensor([20, 6, 0]))
    trial.close(y[1, :6], mixer(x[1:2, :6])[0][0], 1e-12, "a padded row")
    assert not y[1, 6:].any()
    assert not y[2].any()
    if causal:
        assert not any(tensor[2].any() for tensor in state)


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_huge_keys_are_finite_and_exact(size, trial, signal):
    """Keys that pass 88 overflow a bare exp; keys of -1e4 underflow it, and their sum is 0."""
    mixer, x = built(), signal(1, 150, 12)
    with torch.no_grad():
        mixer.get_parameter("qkv.weight")[12:24].zero_()
        mixer.get_parameter("qkv.weight")[12:24, 0] = size
    x[..., 0] = 1 + 1e-4 * x[..., 0]  # keys of `size`, one or so apart
    want = torch.stack([defined(mixer, x[:, : t + 1])[:, t] for t in range(150)], dim=1)
    for mixer.form in FORMS:
        leaf = x.clone().requires_grad_()
        y, state = mixer(leaf)
        trial.close(y, want, 1e-10, mixer.form)
        y.square().sum().backward()
        assert all(torch.isfinite(tensor).all() for tensor in (leaf.grad, *state))


def test_keys_beyond_the_range_of_exp_in_float32(signal):
    mixer = built().float()
    for scale in (1e2, 1e4):
        y, state = mixer(scale * signal(2, 70, 12).float())
        assert all(torch.isfinite(tensor).all() for tensor in (y, *state))


def test_sums_go_on_counting_where_keys_are_large(signal):
    """log t grows by 1 / t a token, which in float32 is nothing beside a key of 1000 after 16,384 tokens."""
    mixer = built(dim=2, heads=1).float()
    with torch.no_grad():
        mixer.get_parameter("qkv.weight").copy_(
            torch.tensor([[0.0, 0.0], [0.0, 0.0], [1e3, 0.0], [1e3, 0.0], [0.0, 1.0], [0.0, 1.0]])
        )
        mixer.get_parameter("out.weight").copy_(torch.eye(2))
        length = 50_000
        x = torch.ones(1, length, 2)
        x[0, : length // 2, 1] = 0  # equal weights: the last output is the mean of the values, a half
        y, state = mixer(x)
    assert y[0, -1].tolist() == pytest.approx([0.5, 0.5], rel=1e-4)
    assert state.memory[0, 0, :, -1].tolist() == pytest.approx([length, length], rel=1e-5)


def test_weights_of_every_prefix_sum_to_one(trial):
    """A constant value comes out as it is, whatever the keys."""
    mixer = built()
    with torch.no_grad():
        mixer.get_parameter("qkv.weight")[24:].zero_()
        mixer.get_parameter("qkv.weight")[24:, 0] = 1
        mixer.get_parameter("out.weight").copy_(torch.eye(12))
    x = torch.randn(1, 90, 12, dtype=torch.float64)
    x[..., 0] = 1
    for mixer.form in FORMS:
        trial.close(mixer(x)[0], torch.ones_like(x), 1e-12, mixer.form)


def test_state_bytes(signal):
    mixer = mixers.build("efficient", dim=12, heads=3)
    _, state = mixer(signal(1, 5, 12).float())
    assert mixer.state_size(5) == sum(t.numel() * t.element_size() for t in state) == 4 * 12 * 6
