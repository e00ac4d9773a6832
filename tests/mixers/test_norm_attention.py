"""NormAttention against its quadratic definition (spec/mixers.md, section 7)."""

import pytest
import torch
from torch import Tensor

from linsight import mixers

FORMS = ("naive", "parallel", "chunk", "recurrent", "auto")
ACTIVATIONS = {
    "t1": lambda x: torch.where(x > 0, x, x.clamp(max=0).exp() - 1),
    "t2": lambda x: torch.where(x > 0, 1 + x, x.clamp(max=0).exp()),
}


def defined(mixer: mixers.Mixer, x: Tensor, variant: str) -> Tensor:
    """Every similarity explicit; one norm over all heads."""
    weights = dict(mixer.named_parameters())
    batch, length, dim = x.shape
    q, k, v = (x @ weights["qkv.weight"].T).reshape(batch, length, 3, mixer.heads, -1).unbind(2)
    activate = ACTIVATIONS[variant]
    similarity = torch.einsum("bihk,bjhk->bhij", activate(q), activate(k))
    similarity = similarity.tril() if mixer.causal else similarity
    o = torch.einsum("bhij,bjhk->bihk", similarity, v).reshape(batch, length, dim)
    o = o / ((o * o).sum(-1, keepdim=True) / dim + 1e-6) ** 0.5
    return o @ weights["out.weight"].T


def built(variant: str = "t2", *, causal: bool = True, **options) -> mixers.Mixer:
    torch.manual_seed(0)
    options = {"dim": 12, "heads": 3, **options}
    return mixers.build("norm_attention", variant=variant, causal=causal, **options).double()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("variant", ["t1", "t2"])
@pytest.mark.parametrize("length", [1, 2, 7, 63, 64, 65, 131])
def test_every_form_is_the_quadratic_definition(causal, variant, length, trial, signal):
    mixer, x = built(variant, causal=causal), signal(2, length, 12)
    want = defined(mixer, x, variant)
    for mixer.form in FORMS if causal else ("naive", "parallel", "auto"):
        with torch.no_grad():
            trial.close(mixer(x)[0], want, 1e-11, mixer.form)


def test_the_norm_runs_over_all_heads_together(signal):
    """Per head, as in RetNet, a head of small values would come out as large as the others."""
    mixer = built()
    with torch.no_grad():
        mixer.get_parameter("qkv.weight")[24:28] *= 1e-3
        mixer.get_parameter("out.weight").copy_(torch.eye(12))
    y = mixer(signal(1, 9, 12))[0]
    heads = y.unflatten(-1, (3, 4)).square().mean((0, 1, 3)).sqrt()
    assert heads[0] < 0.01
    assert y[0].square().mean(-1).sqrt().tolist() == pytest.approx([1.0] * 9, abs=1e-4)


def test_the_output_keeps_its_size_whatever_the_length(signal):
    """No denominator, and no 1 / n: the norm alone."""
    y = built()(torch.ones(1, 500, 12, dtype=torch.float64))[0]
    assert (y[0, -1] / y[0, 0]).tolist() == pytest.approx([1.0] * 12, abs=1e-4)


def test_t1_similarities_may_be_negative(signal):
    """elu, and not 1 + elu: a query of -1 and a key of 1 have a negative similarity."""
    mixer = built("t1", dim=1, heads=1)
    with torch.no_grad():
        mixer.get_parameter("qkv.weight").copy_(torch.tensor([[-1.0], [1.0], [1.0]]))
        mixer.get_parameter("out.weight").fill_(1)
    y, state = mixer(torch.ones(1, 1, 1, dtype=torch.float64))
    assert y.item() == pytest.approx(-1, abs=1e-5)
    assert state.memory.item() == 1


def test_sums_beyond_float16(signal):
    """Without a denominator 1,000 tokens of size 100 pass 65,504."""
    mixer = built().half()
    y, state = mixer(100 * signal(1, 1, 12).half().expand(1, 1000, 12))
    assert state.memory.abs().max() > 65_504
    assert torch.isfinite(y).all()


def test_zeros_are_zeros_with_a_finite_gradient():
    x = torch.zeros(1, 4, 12, dtype=torch.float64, requires_grad=True)
    y = built()(x)[0]
    y.sum().backward()
    assert not y.any()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_an_eps_of_zero_is_refused():
    with pytest.raises(ValueError, match="eps: expected above 0, got 0"):
        mixers.config("norm_attention", eps=0.0)
