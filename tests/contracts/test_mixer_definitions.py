"""What linear and softmax attention compute, against quadratic definitions (spec/mixers.md, 2: 11, 3, 4)."""

import pytest
import torch
from torch import Tensor

from linsight import mixers


def dpfp(x: Tensor) -> Tensor:
    """r_i r_(i+m) of r = relu([x, -x]), m = 1, 2, 3."""
    r = torch.cat([x, -x], dim=-1).clamp(min=0)
    return torch.cat([r * r.roll(-shift, dims=-1) for shift in (1, 2, 3)], dim=-1)


def taylor2(x: Tensor) -> Tensor:
    """phi(q) . phi(k) = 1 + s + s^2 / 2, s = q . k / sqrt(K)."""
    width = x.shape[-1]
    square = (x[..., :, None] * x[..., None, :]).flatten(-2) / (2 * width) ** 0.5
    return torch.cat([torch.ones_like(x[..., :1]), x / width**0.25, square], dim=-1)


FEATURES = {
    "elu1": lambda x: torch.where(x > 0, x + 1, x.clamp(max=0).exp()),
    "relu": lambda x: x.clamp(min=0),
    "relu2": lambda x: x.clamp(min=0) ** 2,
    "identity": lambda x: x,
    "softmax": lambda x: x.softmax(-1),
    "taylor2": taylor2,
    "dpfp": dpfp,
}


def rotated(x: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021, half-split layout): (i, i + K/2) turns by t 10000^(-2i/K)."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-3])[:, None] * 10000.0 ** (-torch.arange(half).double() / half)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)[:, None]
    return torch.cat([turned.real, turned.imag], dim=-1)


@pytest.fixture
def case(case):
    """The kinds that are defined here; others are in tests/mixers, a file each."""
    if case.kind not in ("linear", "softmax"):
        pytest.skip("defined in tests/mixers")
    return case


def defined(mixer: mixers.Mixer, x: Tensor, options: dict) -> Tensor:
    """Row by row and head by head, every weight w_ij explicit."""
    weights = dict(mixer.named_parameters())
    batch, length, dim = x.shape
    q, k, v = (x @ weights["qkv.weight"].T).reshape(batch, length, 3, mixer.heads, -1).unbind(2)
    if options.get("positions") == "rotary":
        q, k = rotated(q), rotated(k)
    if mixer.config.kind == "softmax":
        similarity = (torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5).exp()
    else:
        phi = FEATURES[options.get("feature_map", "elu1")]
        similarity = torch.einsum("bihk,bjhk->bhij", phi(q), phi(k))
    if mixer.causal:
        similarity = similarity.tril()
    if options.get("normalise", options.get("feature_map") != "identity"):
        total = similarity.sum(-1, keepdim=True)
        similarity = torch.where(total > 1e-6, similarity / total.clamp(min=1e-6), 0.0)
    o = torch.einsum("bhij,bjhk->bihk", similarity, v)
    return o.reshape(batch, length, dim) @ weights["out.weight"].T


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("heads", "length"), [(1, 1), (2, 7), (5, 63)])
def test_every_form_is_the_quadratic_definition(defined_case, signal, trial, causal, heads, length):
    """Also catches a normaliser cumulated over heads instead of positions (densities.md, section 17)."""
    mixer, x = defined_case(dim=20, heads=heads, causal=causal), signal(2, length, 20)
    want = defined(mixer, x, defined_case.options)
    for form in (*mixer.forms, "auto"):
        mixer.form = form
        with torch.no_grad():
            trial.close(
                mixer(x)[0],
                want,
                1e-5 if defined_case.options.get("feature_map") in ("relu", "relu2", "dpfp") else 1e-10,
                f"form {form}",
            )


def test_bidirectional_is_causal_with_the_token_moved_last(causal_case, signal, trial):
    """A token that sees all others once: the diagonal is counted once, and nothing is left out."""
    if causal_case.sees_order:
        pytest.skip("moving a token changes its position")
    x = signal(1, 9)
    both, causal = causal_case(causal=False), causal_case()
    y = both(x)[0]
    for t in range(9):
        moved = torch.cat([x[:, :t], x[:, t + 1 :], x[:, t : t + 1]], dim=1)
        trial.close(y[:, t], causal(moved)[0][:, -1], 1e-10, f"token {t}")


def test_bidirectional_commutes_with_permutations(case, signal, trial):
    if case.sees_order:
        pytest.skip("positions break the symmetry, as they must")
    mixer, x = case(causal=False), signal(2, 30)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    for form in mixer.forms:
        mixer.form = form
        trial.close(mixer(x[:, order])[0], mixer(x)[0][:, order], 1e-10, f"form {form}")


def test_a_constant_sequence_gives_a_constant_output(defined_case, trial):
    """Normalised weights sum to 1: o = v where v is constant; without the normaliser it grows as t."""
    token = torch.randn(8, dtype=torch.float64)
    mixer = defined_case()
    y = mixer(token.expand(1, 50, 8))[0]
    time = torch.arange(1.0, 51, dtype=torch.float64)[:, None]
    grows = (
        defined_case.options.get("normalise") is False
        or defined_case.options.get("feature_map") == "identity"
    )
    trial.close(y[0], (time if grows else torch.ones_like(time)) * y[0, :1], 1e-9, "constant input")


@pytest.mark.parametrize("feature_map", ["relu", "relu2", "dpfp"])
@pytest.mark.parametrize("form", ["naive", "parallel", "chunk", "recurrent"])
def test_a_query_without_features_reads_zero_not_nan(feature_map, form):
    mixer = mixers.build("linear", dim=8, heads=2, feature_map=feature_map, form=form).double()
    with torch.no_grad():
        mixer.get_parameter("qkv.weight")[:8].zero_()
    y, _ = mixer(torch.ones(1, 5, 8, dtype=torch.float64))
    assert not y.any()
    y.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in mixer.parameters())
