"""Every feature map is its definition, in as many features as it says, and signed only where it says so."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from linsight.nn import feature_map, feature_maps

Numbers = list[float]


def _elu1(x: Numbers) -> Numbers:
    return [value + 1 if value > 0 else math.exp(value) for value in x]


def _softmax(x: Numbers) -> Numbers:
    total = sum(math.exp(value) for value in x)
    return [math.exp(value) / total for value in x]


def _taylor2(x: Numbers) -> Numbers:
    dim = len(x)
    pairs = [a * b / math.sqrt(2 * dim) for a in x for b in x]
    return [1.0, *(value / dim**0.25 for value in x), *pairs]


def _dpfp(x: Numbers) -> Numbers:
    r = [max(value, 0.0) for value in x] + [max(-value, 0.0) for value in x]
    return [r[i] * r[(i + shift) % len(r)] for shift in (1, 2, 3) for i in range(len(r))]


DEFINITIONS: dict[str, Callable[[Numbers], Numbers]] = {
    "elu1": _elu1,
    "relu": lambda x: [max(value, 0.0) for value in x],
    "relu2": lambda x: [max(value, 0.0) ** 2 for value in x],
    "softmax": _softmax,
    "identity": lambda x: x,
    "taylor2": _taylor2,
    "dpfp": _dpfp,
}


def test_every_map_has_a_definition_here() -> None:
    assert set(feature_maps()) == set(DEFINITIONS)


@pytest.mark.parametrize("dim", [1, 2, 5, 8])
@pytest.mark.parametrize("kind", feature_maps())
def test_a_map_is_its_definition_on_the_last_axis(kind: str, dim: int) -> None:
    x = 3 * torch.randn(2, 3, 4, dim, dtype=torch.float64)
    x[0, 0, 0] = 0
    found = feature_map(kind).apply(x)
    expected = torch.tensor([DEFINITIONS[kind](row) for row in x.flatten(0, 2).tolist()], dtype=x.dtype)
    torch.testing.assert_close(found.flatten(0, 2), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dim", [1, 2, 3, 16])
@pytest.mark.parametrize("kind", feature_maps())
def test_num_features_is_the_size_of_the_last_axis(kind: str, dim: int) -> None:
    phi = feature_map(kind)
    assert phi.apply(torch.randn(2, 3, dim)).shape == (2, 3, phi.num_features(dim))


def test_taylor2_is_the_second_order_of_the_exponential() -> None:
    q, k = torch.randn(2, 200, 7, dtype=torch.float64)
    s = (q * k).sum(-1) / math.sqrt(7)
    phi = feature_map("taylor2").apply
    found = (phi(q) * phi(k)).sum(-1)
    torch.testing.assert_close(found, 1 + s + s.square() / 2, rtol=1e-13, atol=1e-13)
    assert found.min() >= 0.5


@pytest.mark.parametrize("kind", feature_maps())
def test_similarities_are_negative_exactly_where_the_flag_allows_it(kind: str) -> None:
    """Opposite vectors give the most negative similarities that a map can have."""
    q = torch.randn(500, 4, dtype=torch.float64)
    phi = feature_map(kind)
    pairs = [(q, k) for k in (-q, q.flip(0), torch.randn_like(q))]
    lowest = min((phi.apply(q) * phi.apply(k)).sum(-1).min().item() for q, k in pairs)
    assert (lowest >= 0) == phi.positive


@pytest.mark.parametrize("kind", feature_maps())
def test_values_and_gradients_stay_finite_far_out_and_at_zero(kind: str) -> None:
    x = torch.tensor([[0.0, 1e4, -1e4, 1.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    features = feature_map(kind).apply(x)
    features.sum().backward()
    assert features.isfinite().all()
    assert isinstance(x.grad, Tensor)
    assert x.grad.isfinite().all()


def test_an_unknown_map_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="feature_map 'exp' is not known; choose one of elu1, relu, relu2"):
        feature_map("exp")
