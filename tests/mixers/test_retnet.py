"""Retention against its definition, its decays and its norm (spec/mixers.md, section 13)."""

import math

import pytest
import torch
from torch import Tensor

from linsight import mixers, ops

FORMS = ("naive", "parallel", "chunk", "recurrent", "auto")


def built(**options) -> mixers.Mixer:
    torch.manual_seed(0)
    return mixers.build("retnet", **{"dim": 12, "heads": 3, **options}).double()


def turned(x: Tensor, t: int) -> Tensor:
    """x `(batch, K)` as K / 2 complex numbers, times e^(i t theta)."""
    half = x.shape[-1] // 2
    angle = t * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    z = torch.complex(x[:, :half], x[:, half:]) * torch.exp(1j * angle)
    return torch.cat([z.real, z.imag], -1)


def defined(mixer: mixers.Mixer, x: Tensor, eps: float = 1e-6) -> Tensor:
    """One head and one token after another, by the equations."""
    weights = dict(mixer.named_parameters())
    _, length, dim = x.shape
    width, wide = dim // mixer.heads, 2 * dim // mixer.heads
    projected = x @ weights["project.weight"].T
    q, k, v, gate = projected.split([dim, dim, 2 * dim, 2 * dim], dim=-1)
    heads = []
    for h in range(mixer.heads):
        memory, rows = 0, []
        for t in range(length):
            query = turned(q[:, t, h * width : (h + 1) * width], t)
            key = turned(k[:, t, h * width : (h + 1) * width], t)
            value = v[:, t, h * wide : (h + 1) * wide]
            memory = (1 - 2 ** (-5 - h)) * memory + key[:, :, None] * value[:, None, :]
            o = (query[:, :, None] * memory).sum(1) / math.sqrt(width)
            rows.append(o / (o.square().mean(-1, keepdim=True) + eps).sqrt())
        heads.append(torch.stack(rows, 1))
    o = torch.cat(heads, -1)
    return (gate / (1 + (-gate).exp()) * o) @ weights["out.weight"].T


@pytest.mark.parametrize("length", [1, 2, 7, 63, 64, 65, 131])
def test_every_form_is_the_definition(length, trial, signal):
    """Fails with one decay for all heads, a norm over all heads, or positions that do not turn."""
    mixer, x = built(), signal(2, length, 12)
    want = defined(mixer, x)
    for mixer.form in FORMS:
        with torch.no_grad():
            trial.close(mixer(x)[0], want, 1e-11, mixer.form)


def test_the_worked_example():
    """gamma = 1/2, scale 1, no rotary: o = 0, 1.5, 2.25."""
    q = torch.tensor([[1.0, 0], [0, -1], [-1, 1]]).double()[None, :, None]
    k = torch.tensor([[0.0, 1], [1, -1], [-1, 0]]).double()[None, :, None]
    v = torch.tensor([1.0, 2, 4]).double()[None, :, None, None]
    o, _ = ops.linear_attention(q, k, v, torch.tensor([0.5]).double().log())
    # By hand: S = (0, 1), then (2, -2 + 1/2), then (1 - 4, -3/4).
    assert o.flatten().tolist() == pytest.approx([0, 1.5, 2.25], abs=1e-12)


def test_decays_are_distinct_and_kept_in_float32_whatever_the_weights():
    """In bfloat16 gamma rounds to 1 from the fifth head on, and nothing is ever forgotten."""
    mixer = built(dim=32, heads=8).bfloat16()
    decay = mixer.log_decay(torch.float32)
    assert decay.dtype == torch.float32
    exact = [math.log1p(-(2.0 ** -(5 + h))) for h in range(8)]
    assert decay.tolist() == pytest.approx(exact, rel=1e-6)
    assert decay[:4].tolist() == pytest.approx([-0.031749, -0.015748, -0.0078432, -0.0039139], rel=1e-4)
    x = torch.zeros(1, 65, 32, dtype=torch.bfloat16)
    x[:, 0] = torch.randn(32)
    _, state = mixer(x[:, :1])
    _, later = mixer(x[:, 1:], state)
    kept = (later.memory / state.memory).flatten(2).median(-1).values[0]
    assert kept.log().tolist() == pytest.approx([64 * g for g in exact], rel=1e-3)


def test_the_norm_is_of_each_head_by_itself(signal):
    """Over all heads together, as in TransNormer, a head of small values would come out small."""
    mixer = built(eps=1e-12)
    with torch.no_grad():
        mixer.get_parameter("project.weight")[24:32] *= 1e-3  # the values of the first head
        mixer.get_parameter("project.weight")[48:] = 0
        mixer.get_parameter("project.weight")[48:, 0] = 1  # gates of one size
        mixer.get_parameter("out.weight").copy_(torch.eye(12, 24))
    x = signal(1, 9, 12)
    x[..., 0] = 1
    heads = mixer(x)[0].unflatten(-1, (3, 4))[:, :, :2].square().mean((0, 1, 3)).sqrt()
    assert (heads[0] / heads[1]).item() == pytest.approx(1, abs=0.5)


def test_padding_does_not_decay_the_state(trial, signal):
    mixer, x = built(), signal(2, 9, 12)
    _, state = mixer(x, None, torch.tensor([9, 4]))
    _, alone = mixer(x[1:, :4])
    trial.close(state.memory[1:], alone.memory, 1e-14, "memory")
    assert state.position.tolist() == [9, 4]


def test_refusals():
    with pytest.raises(ValueError, match="mixer 'retnet' sees the past alone, expected True, got False"):
        mixers.build("retnet", dim=12, heads=3, causal=False)
    with pytest.raises(ValueError, match="rotary positions need an even head dimension, got 9 / 3"):
        mixers.build("retnet", dim=9, heads=3)
    with pytest.raises(ValueError, match="expansion: expected at least 1, got 0"):
        mixers.config("retnet", expansion=0)
    with pytest.raises(ValueError, match="eps: expected above 0, got 0"):
        mixers.config("retnet", eps=0.0)
