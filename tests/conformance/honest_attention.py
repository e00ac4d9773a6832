"""Correct attention with positive features, written for reading: plain sums, and sums under a peak."""

from typing import NamedTuple

import torch
from plain import Plain
from torch import Tensor, nn


class Sums(NamedTuple):
    """Sums of phi(k) v^T `(batch, dim, dim)` and of phi(k) `(batch, dim)`, and the position `(batch,)`."""

    total: Tensor
    weight: Tensor
    position: Tensor


def phi(x: Tensor) -> Tensor:
    """elu(x) + 1."""
    return nn.functional.elu(x) + 1


class Honest(Plain):
    """One-head linear attention with absolute positions (Katharopoulos et al. 2020, arXiv 2006.16236).

    S_t = S_(t-1) + phi(k_t) v_t^T, z_t = z_(t-1) + phi(k_t), y_t = phi(q_t) S_t / (phi(q_t) . z_t)
    """

    forms = ("naive", "parallel", "recurrent")
    usual = "parallel"

    def __init__(self, dim: int = 8, frequency: float = 0.9) -> None:
        super().__init__(dim)
        self.frequency = frequency
        self.qkv = nn.Parameter(torch.randn(dim, 3 * dim) / dim**0.5)

    def initial_state(self, batch: int) -> Sums:
        dim = self.dim
        position = torch.zeros(batch, dtype=torch.int64)
        return Sums(self.zeros(batch, dim, dim), self.zeros(batch, dim), position)

    def mix(self, x: Tensor, valid: Tensor, state: Sums) -> tuple[Tensor, Sums]:
        q, k, v = self.project(x, self.place(state.position, x.shape[1]))
        k = self.keys(k, valid)
        y = self.run(q, k, v, state)
        return y, self.finish(self.advance(k, v, state), valid)

    def place(self, position: Tensor, length: int) -> Tensor:
        return position[:, None] + torch.arange(length)

    def wave(self, place: Tensor) -> Tensor:
        """Phases in float64: in float32 those of token 200 would be the largest rounding of all."""
        return torch.sin(place.double()[..., None] * self.frequency + torch.arange(self.dim))

    def project(self, x: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        return ((x + self.wave(place).to(x.dtype)) @ self.qkv).to(self.wide).chunk(3, dim=-1)

    def keys(self, k: Tensor, valid: Tensor) -> Tensor:
        return phi(k) * valid[..., None]

    def run_naive(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        outputs = []
        for t in range(q.shape[1]):
            known = self.advance(k[:, : t + 1], v[:, : t + 1], state)
            outputs.append(self.read(q[:, t : t + 1], known))
        return torch.cat(outputs, dim=1)

    def run_parallel(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        weights = (phi(q) @ k.transpose(1, 2)).tril()
        above = weights @ v + phi(q) @ state.total
        return self.divide(above, weights.sum(-1, keepdim=True) + phi(q) @ state.weight[..., None])

    def run_recurrent(self, q: Tensor, k: Tensor, v: Tensor, state: Sums) -> Tensor:
        outputs = []
        for t in range(q.shape[1]):
            now = slice(t, t + 1)
            state = self.advance(k[:, now], v[:, now], state)
            outputs.append(self.read(q[:, now], state))
        return torch.cat(outputs, dim=1)

    def read(self, q: Tensor, state: Sums) -> Tensor:
        return self.divide(phi(q) @ state.total, phi(q) @ state.weight[..., None])

    def divide(self, above: Tensor, below: Tensor) -> Tensor:
        return above / (below + 1e-6)

    def advance(self, k: Tensor, v: Tensor, state: Sums) -> Sums:
        return Sums(state.total + k.transpose(1, 2) @ v, state.weight + k.sum(1), state.position)

    def finish(self, state: Sums, valid: Tensor) -> Sums:
        return state._replace(position=state.position + valid.sum(1))


class Peaked(NamedTuple):
    """Sums of exp(a - peak) v^T `(batch, features, dim)` and of exp(a - peak), and the peaks of a so far."""

    total: Tensor
    weight: Tensor
    peak: Tensor


def orthogonal_features(features: int, width: int) -> Tensor:
    """Random features `(features, width)`: blocks of orthogonal rows with the norms of normal vectors.

    A QR decomposition is Haar distributed only after its signs are fixed (Mezzadri 2007, math-ph/0609050).
    """
    rows = []
    for _ in range(-(-features // width)):
        q, r = torch.linalg.qr(torch.randn(width, width))
        rows.append(((q * r.diagonal().sign()).mT) * torch.randn(width, width).norm(dim=1, keepdim=True))
    return torch.cat(rows)[:features]


class Stabilised(Plain):
    """Attention with positive random features (Performer, arXiv 2009.14794) and a running maximum.

    a_t = W k_t - |k_t|^2 / 2 is the log of a key's features. Each feature's sums are kept relative to its own
    largest a so far: nothing overflows, a later key changes no earlier output, and a normaliser needs no eps,
    since its largest term is 1 or more.
    """

    forms = ("naive", "recurrent")
    usual = "recurrent"
    features = 16

    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        self.qkv = nn.Parameter(torch.randn(dim, 3 * dim) / dim**0.5)
        self.register_buffer("projection", orthogonal_features(self.features, dim))

    def initial_state(self, batch: int) -> Peaked:
        sums, weights = self.zeros(batch, self.features, self.dim), self.zeros(batch, self.features)
        return Peaked(sums, weights, weights - 1e30)

    def mix(self, x: Tensor, valid: Tensor, state: Peaked) -> tuple[Tensor, Peaked]:
        q, k, v = (x @ self.qkv).to(self.wide).chunk(3, dim=-1)
        a = torch.where(valid[..., None], self.log_features(k), -torch.inf)
        return self.run(self.log_features(q), a, v, state)

    def log_features(self, x: Tensor) -> Tensor:
        x = x / self.dim**0.25
        return x @ self.projection.to(self.wide).mT - x.square().sum(-1, keepdim=True) / 2

    def run_naive(self, b: Tensor, a: Tensor, v: Tensor, state: Peaked) -> tuple[Tensor, Peaked]:
        """All pairs of tokens, relative to the largest exponent that the query can see."""
        later = ~torch.ones(a.shape[1], a.shape[1], dtype=torch.bool).tril()[..., None]
        pairs = (b[:, :, None] + a[:, None]).masked_fill(later, -torch.inf)
        known = b + state.peak[:, None]
        peak = torch.maximum(pairs.amax((2, 3)), known.amax(2))[..., None]
        pairs, known = (pairs - peak[..., None]).exp().sum(-1), (known - peak).exp()
        above = pairs @ v + known @ state.total
        below = pairs.sum(-1, keepdim=True) + known @ state.weight[..., None]
        return self.divide(above, below), self.advance(a, v, state)

    def run_recurrent(self, b: Tensor, a: Tensor, v: Tensor, state: Peaked) -> tuple[Tensor, Peaked]:
        outputs = []
        for t in range(a.shape[1]):
            now = slice(t, t + 1)
            state = self.advance(a[:, now], v[:, now], state)
            seen = (b[:, now] + state.peak[:, None]).softmax(-1)
            outputs.append(self.divide(seen @ state.total, seen @ state.weight[..., None]))
        return torch.cat(outputs, dim=1), state

    def divide(self, above: Tensor, below: Tensor) -> Tensor:
        """Nothing was seen only where all is padding."""
        return above / torch.where(below > 0, below, 1.0)

    def advance(self, a: Tensor, v: Tensor, state: Peaked) -> Peaked:
        peak = torch.maximum(state.peak, a.amax(1))
        kept, phi = (state.peak - peak).exp(), (a - peak[:, None]).exp()
        total = kept[..., None] * state.total + phi.transpose(1, 2) @ v
        return Peaked(total, kept * state.weight + phi.sum(1), peak)
