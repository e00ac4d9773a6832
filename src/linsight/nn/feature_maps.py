"""Feature maps phi: the similarity of linear attention is phi(q) . phi(k)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from linsight.ops import elu1

__all__ = ["FeatureMap", "feature_map", "feature_maps"]


@dataclass(frozen=True)
class FeatureMap:
    """A map applied to the last axis of queries and keys.

    `positive` says that phi(q) . phi(k) >= 0 always, so that dividing by the sum of similarities is safe.
    `num_features(dim)` is the size of the last axis after the map.
    """

    apply: Callable[[Float[Tensor, "*axes dim"]], Float[Tensor, "*axes features"]]
    num_features: Callable[[int], int]
    positive: bool


def feature_map(kind: str) -> FeatureMap:
    """The feature map of this name; see `feature_maps` for the names.

    With K the size of x's last axis:

    * `elu1`: elu(x) + 1. Katharopoulos et al. 2020, arXiv 2006.16236.
    * `relu`, `relu2`: max(x, 0), and its square. Kasai et al. 2021, arXiv 2103.13076 (relu).
    * `softmax`: exp(x) / sum exp(x) over the features. Shen et al. 2018, arXiv 1812.01243.
    * `identity`: x itself, the associative law alone; signed, so it cannot be normalised.
    * `taylor2`: [1, x / K^(1/4), vec(x x^T) / sqrt(2 K)], 1 + K + K^2 features. With s = q . k / sqrt K,
      phi(q) . phi(k) = 1 + s + s^2 / 2 >= 1/2, the second-order expansion of exp(s).
    * `dpfp`: r_i r_(i+m) for m = 1, 2, 3, cyclic, with r = relu([x, -x]), 6 K features. Schlag et al. 2021,
      arXiv 2102.11174.

    Raises:
        ValueError: An unknown name.
    """
    if kind not in _MAPS:
        raise ValueError(f"feature_map {kind!r} is not known; choose one of {', '.join(_MAPS)}")
    return _MAPS[kind]


def feature_maps() -> tuple[str, ...]:
    """The names of all feature maps."""
    return tuple(_MAPS)


def _taylor2(x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes features"]:
    dim = x.shape[-1]
    pairs = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2) / (2 * dim) ** 0.5
    return torch.cat([torch.ones_like(x[..., :1]), x / dim**0.25, pairs], dim=-1)


def _dpfp(x: Float[Tensor, "*axes dim"], num_shifts: int) -> Float[Tensor, "*axes features"]:
    r = torch.cat([x, -x], dim=-1).relu()
    return torch.cat([r * r.roll(-shift, dims=-1) for shift in range(1, num_shifts + 1)], dim=-1)


_DPFP_SHIFTS = 3

# Functions with names: a module that holds a map can be pickled.


def _relu2(x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
    return x.relu().square()


def _softmax(x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
    return x.softmax(dim=-1)


def _identity(x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
    return x


def _as_many(dim: int) -> int:
    return dim


def _taylor2_size(dim: int) -> int:
    return 1 + dim + dim * dim


def _dpfp_size(dim: int) -> int:
    return 2 * dim * _DPFP_SHIFTS


_MAPS = {
    "elu1": FeatureMap(elu1, _as_many, positive=True),
    "relu": FeatureMap(torch.relu, _as_many, positive=True),
    "relu2": FeatureMap(_relu2, _as_many, positive=True),
    "softmax": FeatureMap(_softmax, _as_many, positive=True),
    "identity": FeatureMap(_identity, _as_many, positive=False),
    "taylor2": FeatureMap(_taylor2, _taylor2_size, positive=True),
    "dpfp": FeatureMap(partial(_dpfp, num_shifts=_DPFP_SHIFTS), _dpfp_size, positive=True),
}
