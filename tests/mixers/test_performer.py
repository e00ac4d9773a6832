"""The Performer against its definition, and against the softmax it estimates (spec/mixers.md, section 6)."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from linsight import mixers

FORMS = ("naive", "parallel", "chunk", "recurrent", "auto")


def built(causal: bool = True, dim: int = 12, heads: int = 2, seed: int = 0, **options) -> mixers.Mixer:
    torch.manual_seed(seed)
    return mixers.build("performer", dim=dim, heads=heads, causal=causal, **options).double().eval()


def bare(dim: int, seed: int = 0, **options) -> mixers.Mixer:
    """One head that takes x = [q, k, v] apart, each of width dim / 3, and shows o in the first third."""
    mixer = built(dim=dim, heads=1, seed=seed, **options)
    with torch.no_grad():
        width = dim // 3
        mixer.get_parameter("qkv.weight").zero_()
        for part in range(3):
            rows = slice(part * dim, part * dim + width)
            mixer.get_parameter("qkv.weight")[rows, part * width : (part + 1) * width] = torch.eye(width)
        mixer.get_parameter("out.weight").copy_(torch.eye(dim))
    return mixer


def defined(mixer: mixers.Mixer, x: Tensor) -> Tensor:
    """Every similarity explicit, phi as the paper writes it, without any stabiliser."""
    weights = dict(mixer.named_parameters())
    batch, length, dim = x.shape
    q, k, v = (x @ weights["qkv.weight"].T).reshape(batch, length, 3, mixer.heads, -1).unbind(2)
    projection, width = mixer.get_buffer("projection.weight"), dim // mixer.heads

    def phi(x: Tensor) -> Tensor:
        x = x * width**-0.25
        u = x @ projection.T
        if mixer.config.kernel == "relu":
            return u.clamp(min=0) + 1e-3
        half = (x * x).sum(-1, keepdim=True) / 2
        if mixer.config.kernel == "hyperbolic":
            return torch.cat([(u - half).exp(), (-u - half).exp()], -1) / (2 * len(projection)) ** 0.5
        return (u - half).exp() / len(projection) ** 0.5

    similarity = torch.einsum("bihm,bjhm->bhij", phi(q), phi(k))
    similarity = similarity.tril() if mixer.causal else similarity
    similarity = similarity / similarity.sum(-1, keepdim=True)
    o = torch.einsum("bhij,bjhk->bihk", similarity, v).reshape(batch, length, dim)
    return o @ weights["out.weight"].T


@pytest.mark.parametrize("kernel", ["exp", "hyperbolic", "relu"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 2, 7, 63, 64, 65, 131])
def test_every_form_is_the_definition(kernel, causal, length, trial, signal):
    mixer, x = built(causal, kernel=kernel), signal(2, length, 12)
    want = defined(mixer, x)
    for mixer.form in FORMS if causal else ("naive", "parallel", "auto"):
        with torch.no_grad():
            trial.close(mixer(x)[0], want, 1e-10, mixer.form)


def test_several_blocks_carry_the_stabiliser(trial, signal):
    """Keys that grow and shrink over the blocks: the running maximum moves in some and rests in others."""
    mixer, x = built(), signal(1, 200, 12)
    x = x * torch.linspace(0, 12, 200, dtype=torch.float64).sin()[:, None] * 4
    mixer.form = "naive"
    want = mixer(x)[0]
    trial.close(want, defined(mixer, x), 1e-9, "the definition")
    for mixer.form in FORMS[1:]:
        trial.close(mixer(x)[0], want, 1e-10, mixer.form)


def test_the_default_number_of_features():
    assert built(dim=128, heads=2).num_features == 266
    assert built(dim=128, heads=2, kernel="hyperbolic").num_features == 266
    assert built(dim=6, heads=2, kernel="hyperbolic").num_features == 4
    assert built(dim=12, heads=2, num_features=5).num_features == 5


@pytest.mark.parametrize("factor", [5, 20])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_larger_keys_in_the_future_change_no_bit_of_the_past(factor, dtype, signal):
    """The maximum of the whole sequence changes 14.8 % of the past (spec/mixers.md, section 21)."""
    mixer, x = built().to(dtype), signal(2, 200, 12).to(dtype)
    for mixer.form in FORMS:
        want = mixer(x)[0]
        for start in (1, 40, 130):
            other = torch.cat([x[:, :start], factor * x[:, start:]], 1)
            assert torch.equal(mixer(other)[0][:, :start], want[:, :start]), f"{mixer.form} {start}"


def test_large_inputs_are_finite_and_close_in_float32(signal):
    """Logarithms of features reach 8^2 sqrt(64) / 2 = 256 and cancel: an error of 256 eps each, 4e-5."""
    mixer, x = bare(192, num_features=266), 8 * signal(1, 150, 192).float()
    want = mixer(x.double())[0]
    mixer = mixer.float()
    for mixer.form in FORMS:
        y, state = mixer(x)
        assert all(torch.isfinite(tensor).all() for tensor in (y, state.memory, state.peak))
        error = (y - want).square().mean().sqrt() / want.square().mean().sqrt()
        assert error < 2e-4, mixer.form


def test_no_floor_and_no_epsilon_changes_the_ratio():
    """Query and keys whose features hardly meet: the denominator is e^-36, and o still the mean of v."""
    mixer = bare(3, num_features=2)
    with torch.no_grad():
        mixer.get_buffer("projection.weight").copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.tensor([[18.0, -18.0, 3.0]], dtype=torch.float64).expand(1, 9, 3)
    for mixer.form in FORMS:
        assert mixer(x)[0][0, :, 0].tolist() == pytest.approx([3.0] * 9, rel=1e-12)
        assert mixer.float()(x.float())[0][0, :, 0].tolist() == pytest.approx([3.0] * 9, rel=1e-5)
        mixer.double()


def test_features_that_do_not_meet_read_zero_with_a_finite_gradient():
    mixer = bare(3, num_features=2).float()
    with torch.no_grad():
        mixer.get_buffer("projection.weight").copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.tensor([[60.0, -60.0, 3.0]]).expand(1, 9, 3).clone().requires_grad_()
    y = mixer(x)[0]
    y.sum().backward()
    assert not y.any()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def errors_against_softmax(features: int, seeds: int, **options) -> Tensor:
    """Relative RMS error to exact causal softmax attention, one for each draw of the features."""
    generator = torch.Generator().manual_seed(5)
    q, k, v = torch.randn(3, 1, 24, 8, generator=generator, dtype=torch.float64).mul(0.5).unbind(0)
    # The head of `bare` is as wide as q, k and v together.
    exact = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=24**-0.5)
    x, found = torch.cat([q, k, v], -1), []
    for seed in range(seeds):
        y = bare(24, seed, num_features=features, **options)(x)[0][..., :8]
        found.append((y - exact).square().mean().sqrt() / exact.square().mean().sqrt())
    return torch.stack(found)


@pytest.mark.parametrize("kernel", ["exp", "hyperbolic"])
def test_the_error_falls_as_one_over_the_root_of_the_features(kernel):
    """Slope -1/2 of log error against log m, within 3 standard errors of the fit and 0.02 for finite m."""
    sizes = (32, 128, 512, 2048)
    logs = torch.stack([errors_against_softmax(m, 12, kernel=kernel).log() for m in sizes])
    x = torch.tensor(sizes, dtype=torch.float64).log()
    x = x - x.mean()
    slope = ((x[:, None] * logs).sum() / x.square().sum() / logs.shape[1]).item()
    spread = (logs.var(1).mean() / logs.shape[1]).sqrt()
    error = (spread / x.square().sum().sqrt()).item()
    assert abs(slope + 0.5) < 3 * error + 0.02, f"slope {slope:.3f} ± {error:.3f}"
    assert logs[-1].mean() < math.log(0.2)


def test_hyperbolic_features_have_less_variance():
    one, other = (errors_against_softmax(128, 24, kernel=kernel).mean() for kernel in ("exp", "hyperbolic"))
    assert other < one


def test_a_state_does_not_survive_a_redraw(signal):
    mixer, x = built(), signal(2, 5, 12)
    _, state = mixer(x)
    mixer(x, state)
    mixer.projection.redraw()
    with pytest.raises(ValueError, match=r"state\.draw.*another draw.*state=None"):
        mixer(x, state)
    mixer(x, mixer.initial_state(2))


def test_a_state_of_another_layer_is_refused(signal):
    with pytest.raises(ValueError, match="another draw"):
        built(seed=1)(signal(2, 5, 12), built(seed=0)(signal(2, 5, 12))[1])


def test_rows_without_tokens_belong_to_no_draw(signal):
    mixer, x = built(), signal(2, 5, 12)
    _, state = mixer(x, None, torch.tensor([3, 0]))
    assert state.draw.tolist() == [mixer.projection.draw.item(), 0]
    assert not state.memory[1].any()
    mixer.projection.redraw()
    mixer(x[:1], type(state)(*(tensor[1:] for tensor in state)))


def test_training_redraws_between_sequences_and_never_inside_one(signal):
    mixer, x = built(redraw_every=2).train(), signal(1, 4, 12)
    draws, state = [], None
    for _ in range(3):
        _, state = mixer(x)
        draws.append(state.draw.item())
    assert draws[0] == draws[1] != draws[2]
    for _ in range(5):
        _, state = mixer(x, state)
        assert state.draw.item() == draws[2]
    mixer.eval()
    for _ in range(5):
        assert mixer(x)[1].draw.item() == draws[2]


def test_training_redraws_where_there_is_no_state_too(signal):
    mixer, x = built(causal=False, redraw_every=2).train(), signal(1, 4, 12)
    outputs = [mixer(x)[0] for _ in range(4)]
    same = [torch.equal(one, other) for one, other in pairwise(outputs)]
    assert same == [True, False, True]


def test_padding_does_not_raise_the_maximum(trial, signal):
    """A zero key has log feature 0, above those of large keys: as a maximum it would drown them."""
    mixer, x = built(), 30 * signal(2, 20, 12)
    y, state = mixer(x, None, torch.tensor([20, 6]))
    alone, final = mixer(x[1:, :6])
    trial.close(y[1:, :6], alone, 1e-10, "y")
    trial.close(state.peak[1:], final.peak, 1e-12, "peak")
    both = built(causal=False)
    trial.close(both(x, None, torch.tensor([20, 6]))[0][1:, :6], both(x[1:, :6])[0], 1e-10, "bidirectional")


def test_refusals():
    with pytest.raises(ValueError, match=r"num_features: expected an even number.*'hyperbolic', got 5"):
        mixers.config("performer", kernel="hyperbolic", num_features=5)
    with pytest.raises(ValueError, match="num_features: expected at least 1, got 0"):
        mixers.config("performer", num_features=0)
    with pytest.raises(ValueError, match="redraw_every: expected at least 1 or None, got 0"):
        mixers.build("performer", dim=8, redraw_every=0)
